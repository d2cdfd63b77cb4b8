"""The table that ``benchmark`` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from mobilenetv2.benchmark.machine import sentence
from mobilenetv2.benchmark.results import Row
from mobilenetv2.cli.evaluate import interval
from mobilenetv2.cli.main import table
from mobilenetv2.evaluate.metrics import wilson


def show(rows: Sequence[Row], facts: Mapping[str, Any], batches: Sequence[int]) -> None:
    """One line for each candidate, the quickest first."""
    first = batches[0]
    labelled = any(row.agreement and row.agreement.right is not None for row in rows)
    named = any(row.candidate.path for row in rows)
    columns = ["runtime", "precision", f"ms at {first}", "p95"]
    columns += [f"/s at {batch}" for batch in batches]
    columns += ["same answer", "difference"]
    columns += ["top-1", "95% interval"] if labelled else []
    columns += ["size", "memory", "load", *(["file"] if named else [])]
    table(
        f"{facts['model']} on {facts['photos_from']}, {facts['threads']} threads",
        columns,
        [cells(row, batches, labelled, named) for row in rows],
        texts=(0, 1, len(columns) - 1) if named else (0, 1),
    )
    print(f"measured on {sentence(facts['machine'])}")
    print(
        "ms: median of a batch; /s: pictures a second; same answer, "
        f"difference: against {facts['reference']}; memory: peak of the process; load: until it "
        "is ready to run"
    )
    if facts["calibrated_on"]:
        print(f"int8: calibrated on {facts['calibrated_on']}")


def cells(row: Row, batches: Sequence[int], labelled: bool, named: bool) -> list[str]:
    """A row of the table; a failed one says so, and why is told below."""
    who, speed, found = row.candidate, row.speed(batches[0]), row.agreement
    start, file = [who.runtime, who.precision], [who.path.name if who.path else "made here"]
    end = file if named else []
    if row.error or speed is None or found is None:
        gap = 2 + len(batches) + 2 + 2 * labelled + 3
        return [*start, "failed", *["-"] * (gap - 1), *end]
    line = [*start, f"{1e3 * speed.median:.2f}", f"{1e3 * speed.p95:.2f}"]
    for batch in batches:
        each = row.speed(batch)
        line.append(f"{each.throughput:.1f}" if each else "-")
    line += [f"{found.same / found.photos:.1%}", f"{found.difference:.1e}"]
    if labelled:
        right = found.right or 0
        line += [f"{right / found.photos:.1%}", interval(wilson(right, found.photos))]
    line += [
        f"{(row.bytes or 0) / 1e6:.1f} MB", f"{(row.memory or 0) / 1e6:.0f} MB",
        f"{row.load or 0:.2f} s",
    ]  # fmt: skip
    return [*line, *end]
