"""Records of a study: what it runs, what it measures, and what it finds.

A study is a grid of cases. The harness runs every case once for each seed, keeps what each one
measured, and hands the whole table to the study, which judges its claims and draws a picture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Factor = str | int | float
"""Value of a factor: what differs between the cases of a study, such as a width."""
Verdict = Literal["held", "did not hold", "cannot be told"]
"""Verdict on a claim, for the networks and photos of this study."""
Unit = Literal["", "points", "share", "%", "MB"]
"""Unit of an estimate: percentage points, a share of 1, percent, megabytes, or a plain number."""
SUFFIXES: Mapping[Unit, str] = {"": "", "points": " points", "share": "%", "%": "%", "MB": " MB"}
"""Text behind a number, by its unit; a share is written in percent."""


@dataclass(frozen=True, slots=True)
class Options:
    """Choices of a person for a study."""

    quick: bool = False
    """True for a grid and training of a minute or two, which shows that the study works."""
    seeds: int = 3
    """Number of runs of each case; a study without chance has one."""
    first_seed: int = 0
    """Seed of the first run; the others count up from it."""
    epochs: int | None = None
    """Passes over the training photos; None for the study's own number."""
    photos: int | None = None
    """Number of training photos; None for the study's own number, 0 for all."""
    device: str = "cpu"
    data: Path | None = None
    """Folder with ``cifar10/`` and ``published/``; None for the place that public_data names."""


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a study: its factors and its seed."""

    factors: Mapping[str, Factor]
    seed: int = 0

    @property
    def key(self) -> str:
        """Name of the case, which is unique within its study: 'width=0.5 rate=6 seed=0'."""
        words = [f"{name}={value}" for name, value in self.factors.items()]
        return " ".join([*words, f"seed={self.seed}"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """Measures of one case."""

    values: Mapping[str, float]
    """Measures that the case determines: the same numbers on every run, such as 'top1'."""
    timed: Mapping[str, float] = field(default_factory=dict)
    """Measures of this machine, such as 'milliseconds'; they differ from run to run."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of results: one measure of one case."""

    case: Case
    measure: str
    value: float


class Table(tuple[Row, ...]):
    """All measures of a study, in the order of its cases."""

    def where(self, **factors: Factor) -> "Table":
        """Return the rows whose cases have these factors."""
        return Table(
            row for row in self
            if all(row.case.factors.get(name) == value for name, value in factors.items())
        )  # fmt: skip

    def by_seed(self, measure: str, **factors: Factor) -> dict[int, float]:
        """Return a measure's value for each seed, of the one case with these factors.

        Raises:
            ValueError: several cases have these factors.
        """
        found: dict[int, float] = {}
        for row in self.where(**factors):
            if row.measure == measure:
                if row.case.seed in found:
                    raise ValueError(f"several cases have {factors}")
                found[row.case.seed] = row.value
        return found

    def levels(self, factor: str) -> list[Factor]:
        """Return the different values of a factor, in the order of the cases."""
        return list(dict.fromkeys(
            row.case.factors[factor] for row in self if factor in row.case.factors
        ))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a study on one claim."""

    claim: str
    """The claim in one sentence with its source, such as 'A linear projection is better than ReLU
    (paper, section 3.2)'."""
    verdict: Verdict
    found: str
    """Result in one sentence, with numbers and the 95% interval."""
    estimate: float
    """Estimated size of the effect."""
    interval: tuple[float, float]
    """Ends of the 95% interval; both are the estimate where nothing is random."""
    n: int
    """Number of independent runs behind the estimate; 1 where nothing is random."""
    unit: Unit = ""
    """Unit of the estimate; a 'share' is of 1."""


@dataclass(frozen=True, slots=True)
class Study:
    """One study. Its module is ``studies/NAME.py`` with '_' for '-', and offers it as ``STUDY``."""

    name: str
    """Name on the command line, such as 'linear-bottleneck'."""
    title: str
    """Title of its page, a question such as 'Does ReLU after the projection lose information?'."""
    about: str
    """One paragraph: what is claimed, and what is measured how."""
    limits: str
    """Claims that the sample cannot show, in one or two sentences."""
    grid: Callable[[Options], Sequence[Mapping[str, Factor]]]
    """Return the factors of every case, without seeds."""
    measure: Callable[[Case, Options], Outcome]
    """Run one case. It is called in a process of its own with one thread; the same case gives the
    same ``values`` on every call."""
    judge: Callable[[Table], Sequence[Finding]]
    """Return the findings of the whole table, the most important one first."""
    draw: Callable[[Table, Path], None]
    """Draw the table as a picture, a PNG."""
    random: bool = True
    """False if no seed changes a result, so that each case is run once."""
    alone: bool = False
    """True if cases are timed, so that they run one after the other."""
    packages: tuple[str, ...] = ()
    """Packages that it needs, such as 'torch'."""
