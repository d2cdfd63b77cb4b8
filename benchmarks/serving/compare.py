"""Photos a second and latency against FastAPI, LitServe and bulk prediction, in turns.

All servers run the whole time; those that are not measured are stopped (SIGSTOP). In each round
every server answers the same photos in forms, one a request, by N clients, each of which sends its
next photo when it has its answer; then all answer photos that come at a fixed rate. Bulk prediction
is ``mn.predict`` of a folder with the same photos, without its start. All answers are compared.

A load beside which other programs take more than 0.2 cores is repeated, up to ``--patience``.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mobilenetv2 as mn
from mobilenetv2.progress import say
from mobilenetv2.text import counted
from serving.inputs import photo_files
from serving.load import Client, Load, closed_loop, form, open_loop, percentile, post
from serving.servers import (
    Running,
    Server,
    ours,
    pause,
    peers,
    start,
    stop,
    used,
    used_by_all,
    versions,
)

MOST_OTHERS = 0.2
"""Most cores that other programs may take beside a load that counts."""
PACKAGES = "fastapi", "uvicorn", "litserve", "onnxruntime", "pillow"
BULK = """
import sys, time
import mobilenetv2 as mn
answers = mn.predict(sys.argv[1], sys.argv[2])
for _ in zip(range(20), answers): pass  # without the start
begin, count = time.perf_counter(), sum(1 for _ in answers)
print(count / (time.perf_counter() - begin))
"""


@dataclass(slots=True)
class Measured:
    """Loads of a server, one for each round."""

    loads: list[Load] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)
    """Cores that the load generator took."""
    others: list[float] = field(default_factory=list)
    """Cores that other programs took."""
    repeated: int = 0
    """Number of loads that were not counted, as other programs took too much."""

    def rates(self) -> list[float]:
        """Return the photos a second of each round."""
        return [load.rate() for load in self.loads]

    def milliseconds(self, share: float) -> float:
        """Return a percentile of the time of all answered photos."""
        found = [one.seconds for load in self.loads for one in load.of(200)]
        return 1e3 * percentile(found, share)


Results = dict[str, dict[str, Measured]]
"""By load ('8 clients'), then by server."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this measurement's options."""
    parser.add_argument("--peers", type=Path, help="virtual environment of the other servers")
    parser.add_argument("--every", action="store_true", help="slower variants of them, too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rate", type=float, default=50.0, help="photos a second that come")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument(
        "--patience", type=float, default=900.0,
        help="seconds in which a load beside other work is repeated",
    )  # fmt: skip


def run(options: argparse.Namespace, folder: Path) -> list[str]:
    """Return the lines of the section."""
    if options.small:
        options.rounds, options.seconds, options.photos, options.clients = 1, 2.0, 200, [8]
    files = photo_files(options.photos)
    place = folder / "photos"
    place.mkdir()
    for number, file in enumerate(files):
        (place / f"{number:05}.jpg").symlink_to(file)
    servers = [ours(options.model)]
    about = ""
    if options.peers:
        python, graph = options.peers / "bin" / "python", folder / "network.onnx"
        mn.export(options.model, graph)
        if options.every:
            mn.export(options.model, graph.with_suffix(".pt2"))
        servers += peers(python, graph, options.every)
        about = versions(python, [*PACKAGES, *(["torch"] if options.every else [])])
    data = [file.read_bytes() for file in files]
    forms = [form(one) for one in data]
    requests = {one.name: [post(one.path, *each) for each in forms] for one in servers}
    results: Results = {}
    bulk: list[float] = []
    running: list[Running] = []
    end = time.monotonic() + options.patience
    try:
        for server in servers:
            running.append(start(server))
            running[-1].wait()
            pause(running[-1], True)
        for number in range(options.rounds):
            turn = number % len(running)
            for clients in [*options.clients, 0]:
                for one in running[turn:] + running[:turn]:
                    pause(one, False)
                    try:
                        _measure(one, requests[one.server.name], clients, options, results, end)
                    finally:
                        pause(one, True)
            bulk.append(_bulk(place, options.model, end))
            say(f"round {number + 1}: {results_line(results, servers[0])}, bulk {bulk[-1]:.1f}")
        answers = {one.server.name: _answers(one, requests[one.server.name]) for one in running}
    finally:
        for one in running:
            pause(one, False)
            stop(one)
    return [
        f"{len(files):,} photos, {sum(map(len, data)) / len(data) / 1e3:.0f} kB each in the mean; "
        f"{options.rounds} rounds in turns, {options.seconds:g} s each. Peers: {about}.",
        "", *_tables(results, servers, bulk), "", *_same(answers, servers),
    ]  # fmt: skip


def _measure(
    one: Running, requests: Sequence[bytes], clients: int, options: argparse.Namespace,
    results: Results, end: float,
) -> None:  # fmt: skip
    """Load a server by some clients, or with 0 at the rate; again beside much other work."""
    asyncio.run(closed_loop(Client(one.port, requests), 4, 0.5))  # it has been stopped
    name = counted(clients, "client") if clients else f"{options.rate:g} photos a second"
    measured = results.setdefault(name, {}).setdefault(one.server.name, Measured())
    pids = [*one.pids(), os.getpid()]
    while True:
        client = Client(one.port, requests)
        every, own, generator = used_by_all(), used(pids), used(pids[-1:])
        begin = time.perf_counter()
        if clients:
            load = asyncio.run(closed_loop(client, clients, options.seconds))
        else:
            load = asyncio.run(open_loop(client, options.rate, options.seconds))
        seconds = time.perf_counter() - begin
        generator = (used(pids[-1:]) - generator) / seconds
        others = (used_by_all() - every - used(pids) + own) / seconds
        if others <= MOST_OTHERS or time.monotonic() > end:
            break
        measured.repeated += 1
    measured.loads.append(load)
    measured.generator.append(generator)
    measured.others.append(others)


def results_line(results: Results, server: Server) -> str:
    """Return the last rates of a server."""
    rates = (f"{name}: {found[server.name].rates()[-1]:.1f}" for name, found in results.items())
    return f"{server.name}, {', '.join(rates)}"


def _bulk(photos: Path, model: Path, end: float) -> float:
    """Return the photos a second of bulk prediction; again beside much other work."""
    words = [sys.executable, "-c", BULK, str(photos), str(model)]
    while True:
        every, own, begin = used_by_all(), os.times(), time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True)
        seconds = time.perf_counter() - begin
        if done.returncode:
            sys.exit(done.stderr)
        mine = sum(now - before for now, before in zip(os.times()[:4], own[:4], strict=True))
        others = (used_by_all() - every - mine) / seconds
        if others <= MOST_OTHERS or time.monotonic() > end:
            return float(done.stdout)


def _answers(one: Running, requests: Sequence[bytes]) -> list[tuple[int, float]]:
    """Return class and probability of each photo; -1 for one without an answer."""
    pause(one, False)
    client = Client(one.port, requests, keep=True)
    load = asyncio.run(closed_loop(client, 4, times=len(requests)))
    pause(one, True)
    found = [(-1, 0.0)] * len(requests)
    for sample in load.of(200):
        answer = json.loads(sample.body)
        best = answer.get("answers", [answer])[0]["predictions"][0]
        found[sample.number] = best["index"], best["probability"]
    return found


def _tables(results: Results, servers: Sequence[Server], bulk: Sequence[float]) -> list[str]:
    lines = []
    first = servers[0].name
    for name, found in results.items():
        lines += [
            f"### {name[0].upper()}{name[1:]}", "",
            "| server | photos a second (median; from, to) | ratio, round by round "
            "| p50, ms | p99, ms | other answers |",
            "|---|---|---|---|---|---|",
        ]  # fmt: skip
        for server in servers:
            measured = found[server.name]
            rates = measured.rates()
            ratios = [a / b for a, b in zip(found[first].rates(), rates, strict=True)]
            other = sum(len(load.samples) - len(load.of(200)) for load in measured.loads)
            lines.append(
                f"| {server.name} | {_range(rates, 1)} | {_range(ratios, 2)} "
                f"| {measured.milliseconds(0.5):.1f} | {measured.milliseconds(0.99):.1f} "
                f"| {other} |"
            )
        cores = statistics.mean(found[first].generator)
        every = [one for server in servers for one in found[server.name].others]
        again = sum(found[server.name].repeated for server in servers)
        lines += [
            "",
            f"Beside {first} the load generator took {cores:.2f} cores; other programs took "
            f"{_range(every, 2)}. Repeated beside more than {MOST_OTHERS:g}: {again}.", "",
        ]  # fmt: skip
    lines += ["### Bulk prediction", "", f"{_range(bulk, 1)} photos a second. The server's share:"]
    for name, found in results.items():
        if "client" in name:
            shares = [a / b for a, b in zip(found[first].rates(), bulk, strict=True)]
            lines.append(f"- {name}: {_range(shares, 2)}")
    return lines


def _same(answers: dict[str, list[tuple[int, float]]], servers: Sequence[Server]) -> list[str]:
    first = answers[servers[0].name]
    lines = ["### Answers", "", "| server | same class | largest difference of its probability |",
             "|---|---|---|"]  # fmt: skip
    for server in servers:
        pairs = list(zip(first, answers[server.name], strict=True))
        same = sum(a[0] == b[0] >= 0 for a, b in pairs)
        off = max((abs(a[1] - b[1]) for a, b in pairs if a[0] == b[0]), default=float("nan"))
        lines.append(f"| {server.name} | {same:,} of {len(pairs):,} | {off:.1e} |")
    return lines


def _range(values: Sequence[float], digits: int) -> str:
    """Return '1.50 (1.40 to 1.60)'."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
