"""Everything that keeps a set of arrays from being a network, at once and by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from mobilenetv2.errors import WeightsError

Shape = tuple[int, ...]
MOST_LINES = 350
"""Of a report: MobileNetV2 has 314 tensors."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is missing, what is too much, and what has another shape (expected, found)."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: dict[str, tuple[Shape, Shape]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)

    @property
    def size(self) -> int:
        """How many tensors differ."""
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)

    def __str__(self) -> str:
        """One line for each tensor: '-' missing, '+' unexpected, '!' of another shape.

        A foreign file may list millions: only the first ``MOST_LINES`` are written out.
        """
        lines = [f"- {name}" for name in self.missing]
        lines += [f"+ {name}" for name in self.unexpected]
        lines += [
            f"! {name}: expected {list(expected)}, found {list(found)}"
            for name, (expected, found) in self.reshaped.items()
        ]
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [f"... and {len(lines) - MOST_LINES:,} more"]
        return "\n".join(lines)

    def summary(self) -> str:
        """How many of each kind, with the first of each by name."""
        parts = []
        if self.missing:
            parts.append(f"{len(self.missing)} missing (first: {self.missing[0]})")
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} unexpected (first: {self.unexpected[0]})")
        if self.reshaped:
            name, (expected, found) = next(iter(self.reshaped.items()))
            parts.append(
                f"{len(self.reshaped)} of another shape (first: {name}, "
                f"expected {list(expected)}, found {list(found)})"
            )
        return "; ".join(parts)


def compare(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> Difference:
    """Compare two tables of names and shapes."""
    return Difference(
        missing=tuple(name for name in expected if name not in found),
        unexpected=tuple(name for name in found if name not in expected),
        reshaped={
            name: (tuple(shape), tuple(found[name]))
            for name, shape in expected.items()
            if name in found and tuple(found[name]) != tuple(shape)
        },
    )


def require_same(expected: Mapping[str, Shape], found: Mapping[str, Shape], where: str) -> None:
    """Raise with the whole difference unless the two tables are the same.

    Raises:
        WeightsError: one sentence with ``where`` in front, then a line for each tensor.
    """
    difference = compare(expected, found)
    if difference:
        raise WeightsError(
            f"{where}: the tensors do not fit the network: {difference.summary()}\n{difference}"
        )
