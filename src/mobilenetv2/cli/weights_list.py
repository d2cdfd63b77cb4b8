"""``mobilenetv2 weights list``: the published checkpoints as a table."""

import argparse
import json
import math
from collections.abc import Callable
from typing import Any

from mobilenetv2.cli.main import table
from mobilenetv2.errors import WeightsError
from mobilenetv2.hub import cache
from mobilenetv2.hub.catalogue import DEFAULT, EMBEDDED, Checkpoint, catalogue
from mobilenetv2.spec.mapping import suggestion

SORTS: dict[str, Callable[[Checkpoint], float]] = {
    "name": lambda entry: 0,  # the name alone
    "width": lambda entry: entry.width,
    "size": lambda entry: entry.size,
    "top1": lambda entry: math.inf if entry.top1 is None else -entry.top1,  # the best first
    "file_size": lambda entry: math.inf if entry.file_size is None else entry.file_size,
}
"""What is not known comes last."""


def run(arguments: argparse.Namespace) -> int:
    """Print the table; 0."""
    entries = chosen(arguments.dialect, arguments.width)
    entries.sort(key=lambda entry: (SORTS[arguments.sort or "name"](entry), entry.name))
    here = {entry.name for entry in entries if cache.is_cached(entry)}
    if arguments.json:
        print(json.dumps([facts(entry, entry.name in here) for entry in entries]))
    else:
        show(entries, here)
    return 0


def chosen(dialect: str | None, width: float | None) -> list[Checkpoint]:
    """Those of a dialect and a width.

    Raises:
        WeightsError: there are none; what there is is named.
    """
    entries = list(catalogue().values())
    dialects = {entry.dialect for entry in entries}
    if dialect is not None and dialect not in dialects:
        raise WeightsError(f"dialect {dialect!r}: none published; {suggestion(dialect, dialects)}")
    entries = [entry for entry in entries if dialect in (None, entry.dialect)]
    widths = sorted({entry.width for entry in entries})
    if width is not None and width not in widths:
        known = ", ".join(f"{one:g}" for one in widths)
        raise WeightsError(f"width {width:g}: none published; there are {known}")
    return [entry for entry in entries if width in (None, entry.width)]


def facts(entry: Checkpoint, here: bool) -> dict[str, Any]:
    """One checkpoint as plain values."""
    fields = (
        "name dialect width size classes background top1 licence file_size sha256 sha256_prefix "
        "preprocessing where file note"
    ).split()
    return {
        **{field: getattr(entry, field) for field in fields},
        "verified": entry.verified,
        "cached": here,
        "default": entry.name == DEFAULT,
    }


def show(entries: list[Checkpoint], here: set[str]) -> None:
    """The same as a table."""
    columns = (
        "name", "width", "size", "classes", "top-1", "MB", "licence", "checksum", "cached", "",
    )  # fmt: skip
    rows = [
        (
            entry.name, f"{entry.width:g}", entry.size, known(entry.classes),
            known(entry.top1, ".2f"),
            known(None if entry.file_size is None else entry.file_size / 1e6, ".1f"),
            known(entry.licence), checksum(entry), "yes" if entry.name in here else "",
            entry.note,
        )
        for entry in entries
    ]  # fmt: skip
    table(None, columns, rows, texts=(0, 6, 7, 8, 9))
    unverified = sum(not entry.verified for entry in entries)
    print(f"{len(entries)} checkpoints; training starts from {DEFAULT}")
    print(f"{EMBEDDED} is inside the package: CIFAR-10's ten classes at 32 x 32 pixels")
    if unverified:
        print(
            f"{unverified} are unverified: no checksum is published, and the first download "
            "records what it saw"
        )


def checksum(entry: Checkpoint) -> str:
    """How a download is verified, in a word."""
    if entry.sha256:
        return "SHA-256"
    return f"{len(entry.sha256_prefix)} digits" if entry.sha256_prefix else "unverified"


def known(value: Any, form: str = "") -> str:
    """A cell; '-' for what no publisher says."""
    return "-" if value is None else format(value, form)
