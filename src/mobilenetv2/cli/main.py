"""Entry point, which turns errors into one sentence and an exit status, and output functions."""

import argparse
import errno
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mobilenetv2.cli.parser import make_parser, unquoted
from mobilenetv2.errors import MobileNetV2Error, OptionsInMessages
from mobilenetv2.progress import say
from mobilenetv2.text import json_text, listed, visible

MISTAKE, PARTLY_FAILED, INTERRUPTED = 2, 1, 130
"""Exit statuses: wrong use, partial failure, Ctrl-C."""

ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "; free some space or choose another folder"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "; choose a folder that you may write to"
    ),
}
"""Advice by error number of the operating system."""
MOST_ROWS = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        parser = make_parser()
        if "_ARGCOMPLETE" in os.environ:  # a shell asks for completions
            importlib.import_module("mobilenetv2.cli.completion").complete(parser)
        if not words:
            parser.print_help()
            return 0
        parsed = parser.parse_args(words)
        parsed.command = shlex.join(["mobilenetv2", *words])  # for records of the run
        verb = importlib.import_module(f"mobilenetv2.cli.{parsed.verb}")
        with OptionsInMessages():
            status: int = verb.run(parsed)
        sys.stdout.flush()
        return status
    except MobileNetV2Error as error:
        return _fail(f"{error}{unquoted(words)}")
    except BrokenPipeError:
        # The reader of a pipe (head, less) has ended; Python would print an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror}{ADVICE.get(error.errno, '')}")
    except KeyboardInterrupt:
        print("mobilenetv2: stopped", file=sys.stderr)
        return INTERRUPTED


def _fail(message: str) -> int:
    print(f"mobilenetv2: error: {message}", file=sys.stderr)
    return MISTAKE


def choose_model(arguments: argparse.Namespace) -> Callable[[], None]:
    """Set a missing ``--model`` to the embedded model.

    Returns:
        A function that tells on stderr which model it is, to be called when the inputs were found.
    """
    from mobilenetv2.hub.catalogue import DEFAULT, EMBEDDED

    missing = arguments.model is None
    arguments.model = EMBEDDED if missing else arguments.model

    def announce() -> None:
        if not missing:
            return
        from mobilenetv2.hub.models import embedded_folder
        from mobilenetv2.model.store import load_config

        names = load_config(embedded_folder()).labels.names
        say(
            f"no --model given, so the embedded model answers, which knows only "
            f"{listed(names, len(names))}; for ImageNet's 1,000 classes, add --model {DEFAULT}"
        )

    return announce


def json_line(value: object) -> str:
    """Return one line of JSON, with non-ASCII letters if stdout can encode them."""
    line = json_text(value, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # such as a file name that is not UTF-8
        return json_text(value)
    return line


def table(
    title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]],
    texts: Sequence[int] = (0,), rest: str = "",
) -> None:  # fmt: skip
    """Print a table on stdout; control characters are replaced.

    Args:
        title: title above the table, or None.
        columns: names of the columns.
        rows: cells of each row.
        texts: indices of left-aligned columns, whose cells may wrap.
        rest: noun for rows beyond :data:`MOST_ROWS`, which are left out. Default: all rows shown.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    made = Table(
        title=visible(title) if title else title, title_justify="left", box=box.SIMPLE_HEAD
    )
    for index, column in enumerate(columns):
        # In a narrow terminal, texts wrap and numbers do not.
        text = index in texts
        made.add_column(
            column, justify="left" if text else "right", no_wrap=not text, overflow="fold"
        )
    for row in rows[:MOST_ROWS] if rest else rows:
        made.add_row(*(visible(str(cell)) for cell in row))
    # Without a terminal there is no width limit, and a long path must not be cut off.
    width = None if sys.stdout.isatty() else 100_000
    Console(width=width, highlight=False, markup=False).print(made)
    if rest and len(rows) > MOST_ROWS:
        print(f"({len(rows) - MOST_ROWS} {rest} are not shown; --json has all)")
