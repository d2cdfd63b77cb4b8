"""Start several trainings into one folder, and hold the run that succeeds against a clean one.

    python benchmarks/races.py [--rounds 20] [--processes 4] [--only new,overwrite,resume,mixed]

Each round starts the processes in another order, at once or one after the other. Exactly one must
end with status 0 and its run must be that of a training that nobody disturbed; the others must end
with status 2 and one sentence that names the folder. Prints a table in Markdown.
"""

import argparse
import csv
import itertools
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from kills import CHANGES, begin, models, photos
from machine import machine

NEW: tuple[str, ...] = ("--weights", "none", *(w for c in CHANGES for w in ("--set", c)))
OVERWRITE, RESUME = ("--overwrite", *NEW), ("--resume",)
KINDS = {
    "new": (NEW,),
    "overwrite": (OVERWRITE,),
    "resume": (RESUME,),
    "mixed": (NEW, OVERWRITE, RESUME, OVERWRITE),
}
"""Options of the processes, in turn; all but 'new' find a run that was stopped."""
STAGGERED = 1.5
"""Seconds within which the processes of every second round are started."""
TIMES = ("seconds", "images_per_second")


def outcome(run: Path) -> dict[str, object]:
    """Return what a finished run leaves, without times."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*"))
    return {**models(run), "rows": rows, "names": names, "split": (run / "split.csv").read_bytes()}


def compete(
    data: Path, run: Path, options: list[tuple[str, ...]], delays: list[float]
) -> tuple[int, list[str]]:
    """Return how many of the processes succeeded, and what is wrong with the others."""
    processes = []
    for each, delay in zip(options, delays, strict=True):
        time.sleep(delay)
        processes.append(begin(data, run, *each))
    succeeded, wrong = 0, []
    for process in processes:
        _, errors = process.communicate(timeout=600)
        last = errors.strip().rpartition("\n")[2]
        if process.returncode == 0:
            succeeded += 1
        elif process.returncode != 2 or not last.startswith(f"mobilenetv2: error: {run}: "):
            wrong.append(f"status {process.returncode}: {last}")
    return succeeded, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random_ = random.Random(arguments.seed)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        data, whole = photos(Path(name) / "data"), Path(name) / "whole"
        _, errors = begin(data, whole, *NEW).communicate()
        assert (whole / "summary.md").is_file(), errors
        expected = outcome(whole)
        stopped = Path(name) / "stopped"
        process = begin(data, stopped, *NEW)
        while not (stopped / "checkpoint.safetensors").is_file():
            time.sleep(0.01)
        process.terminate()  # saves and stops
        process.communicate()
        for kind in arguments.only.split(","):
            given = list(itertools.islice(itertools.cycle(KINDS[kind]), arguments.processes))
            orders = list(itertools.permutations(given))
            exactly, equal, problems = 0, 0, list[str]()
            for number in range(arguments.rounds):
                run = Path(name) / f"{kind}{number}"
                if kind != "new":
                    shutil.copytree(stopped, run)
                each = STAGGERED / arguments.processes if number % 2 else 0.0
                delays = [random_.uniform(0, 2 * each) for _ in given]
                order = list(orders[number % len(orders)])
                succeeded, wrong = compete(data, run, order, delays)
                exactly += succeeded == 1
                same = succeeded > 0 and outcome(run) == expected
                equal += same
                problems += wrong
                print(f"{kind} {number}: {succeeded} succeeded, {same=}", *wrong, file=sys.stderr)
                shutil.rmtree(run)
            rows.append((kind, arguments.rounds, exactly, equal, len(problems)))
    print(f"# {arguments.processes} trainings into one folder\n")
    print(f"`python benchmarks/races.py --rounds {arguments.rounds} --processes "
          f"{arguments.processes} --only {arguments.only} --seed {arguments.seed}`,")  # fmt: skip
    print(f"{machine('torch')}.\n")
    print("| started with | rounds | exactly one succeeded | its run equals a clean one "
          "| others without their sentence |\n|---|---|---|---|---|")  # fmt: skip
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
