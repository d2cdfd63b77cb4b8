"""A contestant's process: ``python -m mobilenetv2.benchmark.child``.

Requests come as lines of JSON on stdin, each has its answer as a line on stdout. What libraries
print goes to stderr.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mobilenetv2.errors import MobileNetV2Error

Request = dict[str, Any]


class Child:
    """Does what it is asked to; at most one contestant is loaded."""

    def __init__(self) -> None:
        self.runner: Any = None
        self.verbs: dict[str, Callable[[Request], Request]] = {
            "write": self.write, "load": self.load, "burst": self.burst, "answer": self.answer,
        }  # fmt: skip

    def write(self, request: Request) -> Request:
        """See :mod:`mobilenetv2.benchmark.writing`."""
        from mobilenetv2.benchmark.writing import write

        return write(request)

    def load(self, request: Request) -> Request:
        """See :class:`mobilenetv2.benchmark.running.Runner`."""
        from mobilenetv2.benchmark.running import Runner

        self.runner = Runner(request)
        loaded: Request = self.runner.loaded()
        return loaded

    def burst(self, request: Request) -> Request:
        """The same."""
        found: Request = self.runner.burst(
            Path(request["pictures"]), request["batch"], request["seconds"]
        )
        return found

    def answer(self, request: Request) -> Request:
        """The same."""
        found: Request = self.runner.answer(
            Path(request["pictures"]), Path(request["out"]), request["batch"]
        )
        return found

    def reply(self, line: str) -> Request:
        """Any failure is an answer, too: ``{"error": one sentence}``."""
        try:
            request = json.loads(line)
            return self.verbs[request["do"]](request)
        except MobileNetV2Error as error:
            return {"error": str(error)}
        except Exception as error:  # a library's: one contestant's row says it, the others go on
            reason = str(error).strip().partition("\n")[0][:300]
            return {"error": f"{type(error).__name__}: {reason}"}


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries greet there
    child = Child()
    for line in sys.stdin:
        print(json.dumps(child.reply(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
