"""Entry point, which turns errors into one sentence and an exit status, and output functions."""

import argparse
import contextlib
import importlib
import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mobilenetv2.cli.parser import make_parser, unquoted
from mobilenetv2.errors import MobileNetV2Error, OptionsInMessages, Stopped, disk_sentence
from mobilenetv2.progress import say
from mobilenetv2.streams import prepare_streams
from mobilenetv2.text import json_text, line, listed, message

MISTAKE, PARTLY_FAILED, INTERRUPTED = 2, 1, 130
"""Exit statuses: wrong use, partial failure, Ctrl-C."""
MOST_ROWS = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    prepare_streams()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        try:
            return _run(words)
        except Exception as error:
            if getattr(error, "told", False):  # by another process of the same training
                return MISTAKE
            if interrupted(error):
                raise KeyboardInterrupt from error
            raise
        finally:
            sys.stdout.flush()  # Python's own, at the end, would print its error as a traceback
    except MobileNetV2Error as error:
        return _fail(f"{error}{unquoted(words)}")
    except OSError as error:
        if error.errno is None:
            raise
        return _fail(disk_sentence(error))
    # Readers bound what they read; these two are for what no reader has thought of.
    except RecursionError:
        return _fail("the input is nested too deeply; give a file that is not damaged")
    except MemoryError:
        return _fail("the memory does not suffice; give smaller files, photos or batches")
    except Stopped:
        say(f"stopped; continue with: {resumed(words)}")
        return INTERRUPTED
    except KeyboardInterrupt:
        print("mobilenetv2: stopped", file=sys.stderr)
        return INTERRUPTED


def resumed(words: Sequence[str]) -> str:
    """Return the command line that goes on with what a command line began."""
    kept = [word for word in words if word not in ("--resume", "--overwrite")]
    return shlex.join(["mobilenetv2", *kept, "--resume"])


def interrupted(error: BaseException | None) -> bool:
    """Return True if Ctrl-C is behind an error; some native modules raise others for it."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.append(error)  # a chain may lead back
        error = error.__cause__ or error.__context__
    return False


def _run(words: Sequence[str]) -> int:
    """Parse the command line and call its verb."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks for completions
        importlib.import_module("mobilenetv2.cli.completion").complete(parser)
    if not words:
        parser.print_help()
        return 0
    # Of the processes that torchrun started, the first one says what is wrong with the options.
    follows = words[0] == "train" and os.environ.get("RANK", "0") != "0"
    with contextlib.redirect_stderr(io.StringIO()) if follows else contextlib.nullcontext():
        parsed = parser.parse_args(words)
    parsed.command = shlex.join(["mobilenetv2", *words])  # for records of the run
    _settle()
    verb = importlib.import_module(f"mobilenetv2.cli.{parsed.verb}")
    with OptionsInMessages():
        status: int = verb.run(parsed)
    return status


def _settle() -> None:
    from mobilenetv2.hub.cache import cache_folder
    from mobilenetv2.process import settle_dependencies

    with contextlib.suppress(RuntimeError):  # no home folder: the packages know what to do
        settle_dependencies(cache_folder())


def _fail(reason: str) -> int:
    print(f"mobilenetv2: error: {message(reason)}", file=sys.stderr)
    return MISTAKE


def choose_model(arguments: argparse.Namespace) -> Callable[[], None]:
    """Set a missing ``--model`` to the embedded model.

    Returns:
        A function that tells on stderr which model it is, to be called when the inputs were found.
    """
    from mobilenetv2.spec.standard import DEFAULT, EMBEDDED

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
    dumped = json_text(value, ensure_ascii=False)
    try:
        dumped.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json_text(value)
    return dumped


def tell(sentence: str) -> None:
    """Print one line on stdout; what a terminal would obey is replaced."""
    print(line(sentence))


def table(
    title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]],
    texts: Sequence[int] = (0,), rest: str = "",
) -> None:  # fmt: skip
    """Print a table on stdout; what a terminal would obey is replaced.

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

    made = Table(title=line(title) if title else title, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        # In a narrow terminal, texts wrap and numbers do not.
        text = index in texts
        made.add_column(
            line(column), justify="left" if text else "right", no_wrap=not text, overflow="fold"
        )
    for row in rows[:MOST_ROWS] if rest else rows:
        made.add_row(*(line(str(cell)) for cell in row))
    # Without a terminal there is no width limit, and a long path must not be cut off.
    width = None if sys.stdout.isatty() else 100_000
    Console(width=width, highlight=False, markup=False, emoji=False).print(made)
    if rest and len(rows) > MOST_ROWS:
        print(f"({len(rows) - MOST_ROWS} {rest} are not shown; --json has all)")
