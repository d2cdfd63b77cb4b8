"""The entry point: parse, run the verb, turn errors into one sentence and an exit status."""

import errno
import importlib
import os
import shlex
import sys
from collections.abc import Sequence

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
    try:
        parsed = make_parser().parse_args(words)
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
        advice = ADVICE.get(error.errno, "")
        return _fail(f"{place}{error.strerror}" + (f"; {advice}" if advice else ""))
    except KeyboardInterrupt:
        print("mobilenetv2: stopped", file=sys.stderr)
        return INTERRUPTED


def _fail(message: str) -> int:
    print(f"mobilenetv2: error: {message}", file=sys.stderr)
    return MISTAKE
