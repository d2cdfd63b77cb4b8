"""The entry point, which turns errors into one sentence and a status; and what verbs print."""

import argparse
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
from mobilenetv2.progress import say
from mobilenetv2.text import listed, visible

MISTAKE, PARTLY_FAILED, INTERRUPTED = 2, 1, 130
"""Exit statuses: a user's mistake; part of the work failed; Ctrl-C."""

ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "; free some space or choose another place"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "; choose a place that you may write to"
    ),
}
"""Kind of the system's error -> what to do."""
MOST_ROWS = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        parser = make_parser()
        if "_ARGCOMPLETE" in os.environ:  # a shell asks how the line may go on
            importlib.import_module("mobilenetv2.cli.completion").complete(parser)
        if not words:
            parser.print_help()
            return 0
        parsed = parser.parse_args(words)
        parsed.command = shlex.join(["mobilenetv2", *words])  # for records of what was done
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
        return _fail(f"{place}{error.strerror}{ADVICE.get(error.errno, '')}")
    except KeyboardInterrupt:
        print("mobilenetv2: stopped", file=sys.stderr)
        return INTERRUPTED


def _fail(message: str) -> int:
    print(f"mobilenetv2: error: {message}", file=sys.stderr)
    return MISTAKE


def choose_model(arguments: argparse.Namespace) -> None:
    """Set ``--model`` to the embedded one where nobody gave any, and say what that one knows."""
    if arguments.model is not None:
        return
    from mobilenetv2.hub.catalogue import DEFAULT, EMBEDDED
    from mobilenetv2.hub.models import embedded_folder
    from mobilenetv2.model.store import load_config

    arguments.model = EMBEDDED
    config = load_config(embedded_folder())
    names, (height, width) = config.labels.names, config.spec.size
    say(
        f"no --model was given, so the embedded model answers: it sees {height} x {width} pixels "
        f"and knows only {listed(names, len(names))}. For ImageNet's 1,000 classes add --model "
        f"{DEFAULT}; for classes of your own train one and add --model RUN/best"
    )


def json_line(value: object) -> str:
    """Return one line of JSON for stdout, in letters as they are where it can hold them."""
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # such as the name of a file that is no UTF-8
        return json.dumps(value)
    return line


def table(
    title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]],
    texts: Sequence[int] = (0,), rest: str = "",
) -> None:  # fmt: skip
    """Print a table on stdout. What a terminal cannot show, or would obey, is replaced.

    Args:
        texts: the columns that are left-aligned.
        rest: what rows beyond :data:`MOST_ROWS` are called, which are then not shown.
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
    for row in rows[:MOST_ROWS] if rest else rows:
        made.add_row(*(visible(str(cell)) for cell in row))
    # Off a terminal there is no width to fold to, and a long path must not be cut off.
    width = None if sys.stdout.isatty() else 100_000
    Console(width=width, highlight=False, markup=False).print(made)
    if rest and len(rows) > MOST_ROWS:
        print(f"({len(rows) - MOST_ROWS} {rest} are not shown; --json has all)")
