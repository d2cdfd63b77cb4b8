"""The entry point: parse, run the verb, turn errors into one sentence and an exit status."""

import errno
import importlib
import json
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from mobilenetv2.cli.parser import make_parser
from mobilenetv2.errors import MobileNetV2Error

MISTAKE, PARTLY_FAILED, INTERRUPTED = 2, 1, 130
"""Exit statuses: a user's mistake; part of the work failed; Ctrl-C."""

ADVICE = {
    errno.ENOSPC: "free some space or choose another place",
    errno.EDQUOT: "free some space or choose another place",
    errno.EACCES: "choose a place that you may write to",
    errno.EPERM: "choose a place that you may write to",
    errno.EROFS: "choose a place that you may write to",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    parsed = make_parser().parse_args(words)
    parsed.command = shlex.join(["mobilenetv2", *words])  # for records of what was done
    try:
        verb = importlib.import_module(f"mobilenetv2.cli.{parsed.verb}")
        status: int = verb.run(parsed)
        sys.stdout.flush()
        return status
    except MobileNetV2Error as error:
        return _fail(str(error))
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        advice = ADVICE.get(error.errno, "")
        return _fail(f"{place}{error.strerror}" + (f"; {advice}" if advice else ""))
    except KeyboardInterrupt:
        print("mobilenetv2: stopped", file=sys.stderr)
        return INTERRUPTED


def _fail(message: str) -> int:
    print(f"mobilenetv2: error: {message}", file=sys.stderr)
    return MISTAKE


def json_line(value: object) -> str:
    """One line of JSON for stdout, in letters as they are where it can hold them."""
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

    from mobilenetv2.text import visible

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
