"""Ends under load: SIGKILL of a process that computes, and SIGTERM of the server.

SIGTERM: every request that the server's log has must have reached its caller, and every photo with
a 200 there must have its answer. A request whose connection ends before the server has read it is
counted apart: it was not accepted.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mobilenetv2.progress import say
from serving.inputs import photo_files
from serving.load import BROKEN, LATE, REFUSED, Client, Load, Sample, closed_loop, named, post
from serving.servers import Running, children, ours, serving, start, state, stop

CLIENTS = 16
BACK_SECONDS = 60


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this measurement's options."""
    parser.add_argument("--times", type=int, default=20)


def run(options: argparse.Namespace, folder: Path) -> list[str]:
    """Return the lines of the section."""
    times = 2 if options.small else options.times
    files = [file.read_bytes() for file in photo_files(600)]
    return [
        *_killed(options.model, files, times), "", *_terminated(options.model, files, times)
    ]  # fmt: skip


def _class(sample: Sample) -> tuple[int, float]:
    best = json.loads(sample.body)["answers"][0]["predictions"][0]
    return best["index"], best["probability"]


def _killed(model: Path, files: Sequence[bytes], times: int) -> list[str]:
    with serving(ours(model)) as one:
        requests = [post(one.server.path, "image/jpeg", file) for file in files]
        alone = Client(one.port, requests, keep=True)
        right = {
            sample.number: _class(sample)[0]
            for sample in asyncio.run(closed_loop(alone, 1, times=len(requests))).of(200)
        }
        client = Client(one.port, requests, keep=True)
        back, at = asyncio.run(_kill(client, one, times))
        load, restarts = client.load, sum(p["restarts"] for p in state(one)["processes"])
    failed = [sample for sample in load.samples if sample.status != 200]
    each = [sum(moment <= one.done < moment + 1 for one in failed) for moment in at]
    wrong = sum(_class(sample)[0] != right[sample.number] for sample in load.of(200))
    between = sum(not any(moment <= one.done < moment + 1 for moment in at) for one in failed)
    return [
        f"### SIGKILL of a process that computes, {times} times", "",
        f"{CLIENTS} clients; the next kill is one second after all processes are back.", "",
        "| | |", "|---|---|",
        f"| answers | {named(load.statuses())} |",
        f"| failed requests within a second of a kill | {sum(each)}: {min(each)} to {max(each)} "
        "a kill |",
        f"| failed requests at other times | {between} |",
        f"| seconds until the server has all its processes again | {min(back):.2f} to "
        f"{max(back):.2f} |",
        f"| processes that the server has replaced | {restarts} |",
        f"| answers of another class than without kills | {wrong} |",
    ]  # fmt: skip


async def _kill(client: Client, one: Running, times: int) -> tuple[list[float], list[float]]:
    """Return the seconds until all processes were back, and the moments of the kills."""
    done = False
    task = asyncio.create_task(closed_loop(client, CLIENTS, stopped=lambda: done))
    choice, back, at = random.Random(0), list[float](), list[float]()
    await asyncio.sleep(1)
    for number in range(times):
        pids = children(one.process.pid)
        begin = time.perf_counter()
        os.kill(choice.choice(pids), signal.SIGKILL)
        at.append(begin)
        while time.perf_counter() < begin + BACK_SECONDS:
            await asyncio.sleep(0.02)
            found = await asyncio.to_thread(state, one)
            states = [process["state"] for process in found["processes"]]
            if sum(p["restarts"] for p in found["processes"]) > number and set(states) == {"ready"}:
                break
        back.append(time.perf_counter() - begin)
        say(f"SIGKILL {number + 1}: back in {back[-1]:.2f} s")
        await asyncio.sleep(1)
    done = True
    await task
    return back, at


def _terminated(model: Path, files: Sequence[bytes], times: int) -> list[str]:
    choice = random.Random(0)
    total: Counter[int] = Counter()
    lost = unlogged = endings = cut_new = 0
    took: list[float] = []
    for number in range(times):
        one = start(ours(model, log=True))
        try:
            one.wait()
            requests = [post(one.server.path, "image/jpeg", file) for file in files]
            client = Client(one.port, requests)
            load, seconds = asyncio.run(_terminate(client, one, choice.uniform(0.5, 1.5)))
            logged = _logged(one.written())
            endings += one.process.returncode == 0
        finally:
            stop(one)
        found = load.statuses()
        lost += sum(max(0, count - found[status]) for status, count in logged.items())
        unlogged += sum(max(0, found[status] - logged[status]) for status in found if status > 0)
        cut_new += sum(not sample.reused for sample in load.of(BROKEN))
        total += found
        took.append(seconds)
        say(f"SIGTERM {number + 1}: {named(found)}, ended in {seconds:.2f} s")
    return [
        f"### SIGTERM of the server, {times} times", "",
        f"{CLIENTS} clients, which send until nobody listens any more.", "",
        "| | |", "|---|---|",
        f"| answers | {named(Counter({s: n for s, n in total.items() if s > 0}))} |",
        f"| accepted by the server's log without an answer at the caller | {lost} |",
        f"| answers at the caller that the log does not have | {unlogged} |",
        f"| requests whose connection ended before the server read them | {total[BROKEN]}, of "
        f"them {cut_new} on a new connection |",
        f"| requests without any answer | {total[LATE]} |",
        f"| ends with status 0 | {endings} of {times} |",
        f"| seconds from the signal to the end | {min(took):.2f} to {max(took):.2f} |",
    ]  # fmt: skip


async def _terminate(client: Client, one: Running, after: float) -> tuple[Load, float]:
    done = False
    task = asyncio.create_task(closed_loop(client, CLIENTS, stopped=lambda: done))
    await asyncio.sleep(after)
    begin = time.perf_counter()
    one.process.send_signal(signal.SIGTERM)
    while one.process.poll() is None and time.perf_counter() < begin + BACK_SECONDS:
        await asyncio.sleep(0.005)
    seconds = time.perf_counter() - begin
    done = True
    load = await task
    load.samples = [sample for sample in load.samples if sample.status != REFUSED]
    return load, seconds


def _logged(text: str) -> Counter[int]:
    """Return the number of photos' requests by status, as the access log has them."""
    found: Counter[int] = Counter()
    for line in text.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            found[entry["status"]] += entry["path"] == "/predict"
    return found
