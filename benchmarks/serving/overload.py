"""Load at three times what the server can take: what is accepted, what is refused, and memory."""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from serving.inputs import photo_files
from serving.load import Client, Load, Sample, closed_loop, named, open_loop, percentile, post
from serving.servers import Running, ours, proportional_memory, serving

REFUSED_SECONDS = 0.05
"""Longest time for a 429."""
DEADLINE = 30.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this measurement's options."""
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=3.0, help="multiple of the capacity")


def run(options: argparse.Namespace, folder: Path) -> list[str]:
    """Return the lines of the section."""
    seconds = 6.0 if options.small else options.seconds
    files = [file.read_bytes() for file in photo_files(600)]
    with serving(ours(options.model, "--deadline", f"{DEADLINE:g}")) as one:
        requests = [post(one.server.path, "image/jpeg", file) for file in files]
        capacity = asyncio.run(closed_loop(Client(one.port, requests), 32, seconds / 6)).rate()
        right = _classes(one, requests)
        client = Client(one.port, requests, 2 * DEADLINE, keep=True)
        load, memory = asyncio.run(_loaded(client, one, options.times * capacity, seconds))
        wrong = sum(right[sample.number] != _class(sample) for sample in load.of(200))
        after = asyncio.run(closed_loop(Client(one.port, requests), 32, seconds / 6)).rate()
        restarts = json.loads(one.get("/health")[1])["processes"]
    return [
        f"{seconds:g} s of photos, {options.times:g} times as many a second as the server "
        "answered before. Times are from sending to the whole answer, in the load generator, "
        "which shares the cores with the server.",
        "",
        *_table(load, memory, capacity),
        f"| answers of another class than without load | {wrong} |",
        f"| photos a second afterwards | {after:.1f} |",
        f"| processes that died | {sum(one['restarts'] for one in restarts)} |",
    ]


async def _loaded(
    client: Client, one: Running, rate: float, seconds: float
) -> tuple[Load, list[tuple[float, int]]]:
    pids, memory = one.pids(), list[tuple[float, int]]()
    begin = time.perf_counter()

    async def watch() -> None:
        while True:
            found = await asyncio.to_thread(proportional_memory, pids)
            memory.append((time.perf_counter() - begin, found))
            await asyncio.sleep(0.5)

    watcher = asyncio.create_task(watch())
    try:
        return await open_loop(client, rate, seconds), memory
    finally:
        watcher.cancel()


def _classes(one: Running, requests: Sequence[bytes]) -> list[int]:
    load = asyncio.run(closed_loop(Client(one.port, requests, keep=True), 4, times=len(requests)))
    found = [-1] * len(requests)
    for sample in load.samples:
        if sample.status != 200:
            sys.exit(f"photo {sample.number} has no answer: {sample.status}")
        found[sample.number] = _class(sample)
    return found


def _class(sample: Sample) -> int:
    return int(json.loads(sample.body)["answers"][0]["predictions"][0]["index"])


def _table(load: Load, memory: Sequence[tuple[float, int]], capacity: float) -> list[str]:
    took = [sample.done - sample.sent for sample in load.of(200)]
    refused = [sample.done - sample.sent for sample in load.of(429)]
    other = {status: count for status, count in load.statuses().items() if status not in (200, 429)}
    in_time = sum(seconds <= REFUSED_SECONDS for seconds in refused)
    late = percentile([sample.sent - sample.due for sample in load.samples], 0.99)
    seconds = load.end - load.begin
    half = [size for at, size in memory if 0.5 * seconds <= at <= 0.6 * seconds]
    last = [size for at, size in memory if 0.9 * seconds <= at <= seconds]
    growth = statistics.mean(last) / statistics.mean(half) - 1 if half and last else float("nan")
    return [
        "| | |", "|---|---|",
        f"| photos a second before, 32 clients | {capacity:.1f} |",
        f"| photos a second that came | {len(load.samples) / seconds:.1f} |",
        f"| accepted and answered | {len(took):,} ({load.rate():.1f} a second) |",
        f"| their p50, p99, maximum | {_seconds(took)} |",
        f"| deadline | {DEADLINE:g} s |",
        f"| 429 | {len(refused):,} |",
        f"| their p50, p99, maximum | {_seconds(refused)} |",
        f"| of them within {1e3 * REFUSED_SECONDS:.0f} ms "
        f"| {in_time:,} ({100 * in_time / max(1, len(refused)):.2f}%) |",
        f"| anything else | {named(other)} |",
        f"| memory of all processes at half time, and at the end | "
        f"{statistics.mean(half or [0]) / 1e6:.0f} MB, {statistics.mean(last or [0]) / 1e6:.0f} MB "
        f"({100 * growth:+.1f}%) |",
        f"| load generator's own delay, p99 | {1e3 * late:.1f} ms |",
    ]  # fmt: skip


def _seconds(took: Sequence[float]) -> str:
    found = (percentile(took, 0.5), percentile(took, 0.99), max(took, default=float("nan")))
    return ", ".join(f"{1e3 * one:.1f} ms" for one in found)
