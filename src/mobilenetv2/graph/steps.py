"""Steps of a converted file, held against those that its converter makes of the lowered graph.

MNN and ncnn have their own formats, which their own converters write, and runtimes that check
neither structure nor numbers: a padding of 2**31 - 1 ends the process. So a file's every number is
read here first, and has to be the one that the network asks for. Only names and weights are free.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mobilenetv2.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Step:
    """One operator of a file; its output has the operator's number in the file."""

    kind: str
    inputs: tuple[int, ...]
    """Numbers of the operators whose outputs it takes."""
    numbers: dict[str, Any]
    """Every other field of the operator, weights as their number."""


@contextmanager
def held_against_config(where: str) -> Iterator[None]:
    """Name the file in an error about its steps.

    Args:
        where: name of the file in error messages.
    """
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(
            f"{where}: its config describes another network than the graph ({error}); it was "
            "changed or damaged: export it again"
        ) from None


def require_equal(found: Sequence[Step], expected: Sequence[Step]) -> None:
    """Raise unless two lists of steps compute the same, in any order that leads to the last one.

    Args:
        found: steps of a file.
        expected: steps for the file's config.

    Raises:
        ArtifactError: a step differs, is missing or too many, or runs before its inputs.
    """
    if len(found) != len(expected):
        raise ArtifactError(f"it has {len(found)} operators instead of {len(expected)}")
    if any(number not in range(at) for at, step in enumerate(found) for number in step.inputs):
        raise ArtifactError("an operator runs before its inputs")
    ordered, wanted = _by_inputs(found), _by_inputs(expected)
    for at, (one, other) in enumerate(zip(ordered, wanted, strict=False)):
        if one != other:
            raise ArtifactError(f"operator {at} is not {_difference(one, other)}")
    if len(ordered) != len(wanted):
        raise ArtifactError("an operator leads to no output")


def _difference(one: Step, other: Step) -> str:
    """Return what is expected in place of the first difference."""
    if one.kind != other.kind or one.inputs != other.inputs:
        return f"{other.kind} of {', '.join(map(str, other.inputs)) or 'nothing'}"
    names = [*other.numbers, *one.numbers]
    name = next(n for n in names if one.numbers.get(n) != other.numbers.get(n))
    return f"{other.kind} with {name} {other.numbers.get(name)}"


def _by_inputs(steps: Sequence[Step]) -> list[Step]:
    """Return the steps that the last one needs, each behind its inputs in their order."""
    numbers: dict[int, int] = {}
    ordered: list[Step] = []
    waiting = [len(steps) - 1]
    while waiting:
        step = steps[waiting[-1]]
        first = next((number for number in step.inputs if number not in numbers), None)
        if first is not None:
            waiting.append(first)
            continue
        at = waiting.pop()
        if at not in numbers:
            numbers[at] = len(ordered)
            inputs = tuple(numbers[number] for number in step.inputs)
            ordered.append(Step(step.kind, inputs, step.numbers))
    return ordered
