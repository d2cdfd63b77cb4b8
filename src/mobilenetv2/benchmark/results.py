"""What was found of each contestant: figures, and the plain values that go into JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.benchmark.contestant import Contestant
from mobilenetv2.evaluate.metrics import wilson


@dataclass(frozen=True, slots=True)
class Speed:
    """One size of batch."""

    batch: int
    seconds: tuple[float, ...]
    """Of every counted run."""
    first: float
    """Seconds of the very first run."""

    @property
    def median(self) -> float:
        """Seconds of a batch."""
        return float(np.median(self.seconds))

    @property
    def p95(self) -> float:
        """Seconds that 95% of the runs stay below."""
        return float(np.percentile(self.seconds, 95))

    @property
    def throughput(self) -> float:
        """Pictures a second, over all runs."""
        return self.batch * len(self.seconds) / sum(self.seconds)

    def to_dict(self, every: bool) -> dict[str, Any]:
        """For JSON, in milliseconds; with every run if asked for."""
        found: dict[str, Any] = {
            "batch": self.batch, "runs": len(self.seconds),
            "median_ms": 1e3 * self.median, "p95_ms": 1e3 * self.p95,
            "first_ms": 1e3 * self.first, "pictures_per_second": self.throughput,
        }  # fmt: skip
        if every:
            found["runs_ms"] = [round(1e3 * each, 4) for each in self.seconds]
        return found


@dataclass(frozen=True, slots=True)
class Agreement:
    """The answers, beside those of the float network and the truth."""

    photos: int
    same: int
    """How many have the float network's best class."""
    difference: float
    """Largest |difference| of any logit; infinite where one is not a number."""
    right: int | None = None
    """How many are answered right; None where the truth is not known."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: fractions with their 95% intervals."""
        found: dict[str, Any] = {
            "photos": self.photos, "agreement": self.same / self.photos,
            "agreement_interval": list(wilson(self.same, self.photos)),
            "max_abs_difference": self.difference if math.isfinite(self.difference) else None,
        }  # fmt: skip
        if self.right is not None:
            found["top1"] = self.right / self.photos
            found["top1_interval"] = list(wilson(self.right, self.photos))
        return found


def agree(found: NDArray, reference: NDArray, truth: NDArray | None) -> Agreement:
    """Logits against the float network's.

    Args:
        found, reference: float (photos, classes).
        truth: int (photos,).
    """
    difference = float(np.abs(found.astype(np.float64) - reference).max())
    answers = found.argmax(1)
    return Agreement(
        len(found), int((answers == reference.argmax(1)).sum()),
        difference if math.isfinite(difference) else math.inf,
        None if truth is None else int((answers == truth).sum()),
    )  # fmt: skip


@dataclass(slots=True)
class Row:
    """One contestant's; what is None was not reached."""

    contestant: Contestant
    bytes: int | None = None
    """Of all its files."""
    load: float | None = None
    """Seconds from the import of the runtime to a graph that is ready."""
    memory_after_load: int | None = None
    memory: int | None = None
    """Bytes resident at most, at the end of all runs."""
    speeds: list[Speed] = field(default_factory=list)
    agreement: Agreement | None = None
    busy: bool = False
    """Whether it went on computing between its turns, at the others' expense."""
    error: str = ""

    def speed(self, batch: int) -> Speed | None:
        """That of one size of batch."""
        return next((speed for speed in self.speeds if speed.batch == batch), None)

    def to_dict(self, every: bool = False) -> dict[str, Any]:
        """For JSON."""
        who = self.contestant
        found: dict[str, Any] = {
            "runtime": who.runtime, "format": who.format, "precision": who.precision,
            "file": str(who.path) if who.path else None,
        }  # fmt: skip
        if self.error:
            return found | {"error": self.error}
        return found | {
            "bytes": self.bytes, "load_s": self.load,
            "memory_after_load_bytes": self.memory_after_load, "memory_bytes": self.memory,
            "busy_when_idle": self.busy,
            "speed": [speed.to_dict(every) for speed in self.speeds],
            **(self.agreement.to_dict() if self.agreement else {}),
        }  # fmt: skip


def by_latency(rows: Sequence[Row], batch: int) -> list[Row]:
    """The quickest first; those that failed last."""

    def key(row: Row) -> float:
        speed = row.speed(batch)
        return speed.median if speed and not row.error else math.inf

    return sorted(rows, key=key)
