"""Photos a second and latency against FastAPI, LitServe and bulk prediction, in turns.

All servers run the whole time; those that are not measured are stopped (SIGSTOP). In each round
every server answers the same photos in forms, one a request, by N clients, each of which sends its
next photo when it has its answer; then all answer photos that come at a fixed rate. Bulk prediction
is ``mn.predict`` of a folder with the same photos, without its start. All answers are compared.

A round of a load in which other programs take more than 0.2 cores beside one of the servers is
not counted; rounds go on until there are as many as are wanted, or for ``--patience`` seconds.
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


@dataclass(frozen=True, slots=True)
class One:
    """A load of one server."""

    load: Load
    generator: float
    """Cores that the load generator took."""
    others: float
    """Cores that other programs took."""


@dataclass(slots=True)
class Measured:
    """Loads of a server, one for each round."""

    loads: list[Load] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    def add(self, one: One) -> None:
        """Add a load."""
        self.loads.append(one.load)
        self.generator.append(one.generator)
        self.others.append(one.others)

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
        help="most seconds of all rounds",
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
        loads = [*options.clients, 0]
        dropped = 0
        names = [_name(clients, options) for clients in loads]
        while time.monotonic() < end and (
            left := [n for n in names if _count(results, n, servers) < options.rounds]
        ):
            for name in left:
                clients = loads[names.index(name)]
                turn = _count(results, name, servers) % len(running)
                order = running[turn:] + running[:turn]
                rate = None
                found = _round(order, requests, clients, options, end)
                if found is not None and clients == max(options.clients):
                    rate = _bulk(place, options.model)
                    found = found if rate is not None else None
                if found is None:
                    dropped += 1
                    continue
                for title, measured in found.items():
                    results.setdefault(name, {}).setdefault(title, Measured()).add(measured)
                bulk += [rate] if rate is not None else []
                say(f"{name}: {found[servers[0].name].load.rate():.1f}, bulk {rate}")
        answers = {one.server.name: _answers(one, requests[one.server.name]) for one in running}
    finally:
        for one in running:
            pause(one, False)
            stop(one)
    return [
        f"{len(files):,} photos, {sum(map(len, data)) / len(data) / 1e3:.0f} kB each in the mean; "
        f"rounds in turns, {options.seconds:g} s each. Peers: {about}. Rounds that do not count, "
        f"as other programs took more than {MOST_OTHERS:g} cores: {dropped}.",
        "", *_tables(results, servers, bulk), "", *_same(answers, servers),
    ]  # fmt: skip


def _name(clients: int, options: argparse.Namespace) -> str:
    return counted(clients, "client") if clients else f"{options.rate:g} photos a second"


def _count(results: Results, name: str, servers: Sequence[Server]) -> int:
    """Return the number of rounds of a load."""
    found = results.get(name)
    return len(found[servers[0].name].loads) if found else 0


def _round(
    order: Sequence[Running], requests: dict[str, list[bytes]], clients: int,
    options: argparse.Namespace, end: float,
) -> dict[str, One] | None:  # fmt: skip
    """Return a load of each server by some clients, or with 0 at the rate; None beside others."""
    found: dict[str, One] = {}
    for one in order:
        _wait_for_quiet(end)
        pause(one, False)
        try:
            asyncio.run(closed_loop(Client(one.port, requests[one.server.name]), 4, 0.5))
            measured = _measure(one, requests[one.server.name], clients, options)
        finally:
            pause(one, True)
        if measured.others > MOST_OTHERS:
            return None
        found[one.server.name] = measured
    return found


def _wait_for_quiet(end: float) -> None:
    """Wait while other programs take the cores."""
    while time.monotonic() < end:
        every, begin = used_by_all(), time.perf_counter()
        time.sleep(0.5)
        if (used_by_all() - every) / (time.perf_counter() - begin) <= MOST_OTHERS:
            return


def _measure(
    one: Running, requests: Sequence[bytes], clients: int, options: argparse.Namespace
) -> One:
    pids = [*one.pids(), os.getpid()]
    client = Client(one.port, requests)
    every, own, generator = used_by_all(), used(pids), used(pids[-1:])
    begin = time.perf_counter()
    if clients:
        load = asyncio.run(closed_loop(client, clients, options.seconds))
    else:
        load = asyncio.run(open_loop(client, options.rate, options.seconds))
    seconds = time.perf_counter() - begin
    generator = (used(pids[-1:]) - generator) / seconds
    return One(load, generator, (used_by_all() - every - used(pids) + own) / seconds)


def _bulk(photos: Path, model: Path) -> float | None:
    """Return the photos a second of bulk prediction; None beside much other work."""
    words = [sys.executable, "-c", BULK, str(photos), str(model)]
    every, own, begin = used_by_all(), os.times(), time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(done.stderr)
    mine = sum(now - before for now, before in zip(os.times()[:4], own[:4], strict=True))
    others = (used_by_all() - every - mine) / seconds
    return float(done.stdout) if others <= MOST_OTHERS else None


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
            f"| server | photos a second (median of {len(found[first].loads)}) "
            "| ratio, round by round | p50, ms | p99, ms | other answers |",
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
        lines += [
            "",
            f"Beside {first} the load generator took {cores:.2f} cores; other programs took "
            f"{_range(every, 2)}.", "",
        ]  # fmt: skip
    if bulk:
        name = max((name for name in results if "client" in name), key=lambda n: int(n.split()[0]))
        shares = [a / b for a, b in zip(results[name][first].rates(), bulk, strict=True)]
        lines += [
            "### Bulk prediction", "",
            f"{_range(bulk, 1)} photos a second; with {name} the server reaches "
            f"{_range(shares, 2)} of it.",
        ]  # fmt: skip
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
