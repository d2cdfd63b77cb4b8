"""Tables of studies that train, with accuracies of known effects in the place of trained ones."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.studies.harness.results import cases_of, table_of
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table
from mobilenetv2.studies.training import costs

SEEDS = 5
SHARED, OWN = 0.03, 0.002
"""Deviations of top-1: what all cases of a seed share, and each case's own."""
More = Callable[[Case], tuple[Mapping[str, float], Mapping[str, float]]]


def nothing(case: Case) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return no further measures, neither values nor timed ones."""
    return {}, {}


def synthetic(
    study: Study, network: Callable[[Case], NetworkSpec], effect: Callable[[Mapping[str, Factor]],
    float], options: Options | None = None, more: More = nothing,
) -> Table:  # fmt: skip
    """Return a table with a planted effect on top-1.

    Args:
        study: the study, which gives the cases.
        network: network of a case, for its costs.
        effect: what the factors of a case add to a top-1 of 0.5.
        options: what a person chose.
        more: further values and timed measures of a case.
    """
    options = options or Options(seeds=SEEDS)
    cost = cache(costs)
    measured = []
    for number, case in enumerate(cases_of(study, study.grid(options), options)):
        shared = np.random.default_rng([case.seed, 10]).normal(0, SHARED)
        own = np.random.default_rng([case.seed, 11, number]).normal(0, OWN)
        top1 = float(0.5 + shared + own + effect(case.factors))
        values, timed = more(case)
        trained = {"top1": top1, "loss": 2 - top1, "train_loss": 1.9 - top1, **cost(network(case))}
        measured.append((case, Outcome({**trained, **values}, timed)))
    return table_of(measured)


def verdicts(findings: list[Finding]) -> list[str]:
    """Return the verdicts of findings, after checking that their texts are whole sentences."""
    for one in findings:
        for text in (one.claim, one.found):
            assert text[0].isupper() and text.endswith("."), text
            assert "nan" not in text and "inf" not in text.replace("infor", ""), text
        assert one.interval[0] <= one.estimate <= one.interval[1]
    return [one.verdict for one in findings]


def drawn(study: Study, table: Table, path: Path) -> None:
    """Draw a table, and check that the picture is not empty."""
    study.draw(table, path)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[0] > 300 and pixels.shape[1] > 500
    assert pixels.std() > 10
