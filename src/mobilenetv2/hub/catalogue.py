"""Search of the catalogue of published checkpoints, in an order or by name.

What is published is in :mod:`mobilenetv2.spec.catalogue`.
"""

import math
from collections.abc import Callable
from typing import Literal

from mobilenetv2.errors import WeightsError
from mobilenetv2.spec.aliases import aliases
from mobilenetv2.spec.catalogue import DEFAULT as DEFAULT
from mobilenetv2.spec.catalogue import EMBEDDED as EMBEDDED
from mobilenetv2.spec.catalogue import HUB as HUB
from mobilenetv2.spec.catalogue import Checkpoint as Checkpoint
from mobilenetv2.spec.catalogue import catalogue as catalogue
from mobilenetv2.spec.mapping import suggestion

Order = Literal["name", "width", "size", "top1", "file_size"]
ORDERS: dict[Order, Callable[[Checkpoint], float]] = {
    "name": lambda entry: 0,  # the name alone
    "width": lambda entry: entry.width,
    "size": lambda entry: entry.size,
    "top1": lambda entry: math.inf if entry.top1 is None else -entry.top1,  # the best first
    "file_size": lambda entry: math.inf if entry.file_size is None else entry.file_size,
}
"""Keys of an order; what is not known comes last, and equals are in the order of their names."""


def list_checkpoints(
    dialect: str | None = None, width: float | None = None, sort: Order = "name"
) -> list[Checkpoint]:
    """Return the published checkpoints, in an order.

    Args:
        dialect: only this publisher's.
        width: only this width multiplier.
        sort: the key of the order.

    Raises:
        WeightsError: none are published in that dialect or width.
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
    found = [entry for entry in entries if width in (None, entry.width)]
    return sorted(found, key=lambda entry: (ORDERS[sort](entry), entry.name))


def find(name: str) -> Checkpoint:
    """Return a checkpoint by name.

    Raises:
        WeightsError: the name is unknown; the nearest name is suggested.
    """
    entries = catalogue()
    if name not in entries:
        hint = suggestion(name, entries, near=aliases())
        raise WeightsError(
            f"checkpoint {name!r} is not in the catalogue; {hint} ('weights list' shows them all)"
        )
    return entries[name]
