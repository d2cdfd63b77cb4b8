"""A study without a network, whose effects are known: what the tests of the harness run."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mobilenetv2.errors import DataError
from mobilenetv2.studies import statistics
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table

PLANTED = 0.5
"""Effect of the factor 'kind' on the score."""
SHARED, OWN = 1.0, 0.1
"""Deviations of the noise that cases of a seed share, and of each case's own."""


def grid(options: Options) -> Sequence[Mapping[str, Factor]]:
    return [
        {"kind": kind, "size": size}
        for kind in ("plain", "=better")
        for size in ((1,) if options.quick else (1, 2))
    ]


def measure(case: Case, options: Options) -> Outcome:
    """Return a score; a file in the folder of the data makes a case slow, or fail.

    The files are 'slow' (with seconds), and 'fail', 'crash' and 'unknown' (with a case).
    """
    told = {path.name: path.read_text() for path in options.data.iterdir()} if options.data else {}
    time.sleep(float(told.get("slow", 0)))
    if told.get("fail") == case.key:
        raise DataError("no photos here")
    if told.get("unknown") == case.key:
        raise RuntimeError("a defect\nwith details")
    if told.get("crash") == case.key:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
    better = case.factors["kind"] == "=better"
    common = np.random.default_rng([case.seed, 0]).normal(0, SHARED)
    own = np.random.default_rng([case.seed, 1, int(better), int(case.factors["size"])])
    score = common + PLANTED * better + own.normal(0, OWN)
    return Outcome({"score": score, "size²": float(case.factors["size"]) ** 2}, {"speed": 1.0})


def judge(table: Table) -> Sequence[Finding]:
    better, plain = (table.by_seed("score", kind=kind, size=1) for kind in ("=better", "plain"))
    effect = statistics.paired(better, plain)
    same = statistics.exact(0.0)
    return [
        effect.finding("Better is better | by far.", effect.text()),
        same.finding("Nothing is something.", "Nothing was measured.", smallest=0.1),
    ]


def draw(table: Table, path: Path) -> None:
    Image.new("RGB", (40, len(table))).save(path, "PNG")


STUDY = Study(
    "planted", "Is better better?", "One kind is better by 0.5.", "It shows nothing.", grid,
    measure, judge, draw,
)  # fmt: skip
