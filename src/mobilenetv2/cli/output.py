"""What verbs print on stdout: tables and lines of JSON."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from mobilenetv2.text import visible


def json_line(value: object) -> str:
    """Return one line of JSON for stdout, in letters as they are where it can hold them."""
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # such as the name of a file that is no UTF-8
        return json.dumps(value)
    return line


def table(
    title: str | None,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    texts: Sequence[int] = (0,),
) -> None:
    """Print a table on stdout; columns are right-aligned but for those in ``texts``.

    What a terminal cannot show, or would obey, is replaced.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    made = Table(
        title=visible(title) if title else title, title_justify="left", box=box.SIMPLE_HEAD
    )
    for index, column in enumerate(columns):
        # Where a terminal is too narrow, texts are folded and figures stay whole.
        text = index in texts
        made.add_column(
            column, justify="left" if text else "right", no_wrap=not text, overflow="fold"
        )
    for row in rows:
        made.add_row(*(visible(str(cell)) for cell in row))
    # Off a terminal there is no width to fold to, and a long path must not be cut off.
    width = None if sys.stdout.isatty() else 100_000
    Console(width=width, highlight=False, markup=False).print(made)
