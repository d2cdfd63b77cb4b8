"""Separate process for each candidate, both ends; requests and answers are lines of JSON.

``python -m mobilenetv2.benchmarking.process`` is the child's end. This module needs the standard
library only, so that a candidate's memory contains only what its runtime needs.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.text import first_line

MODULE = "mobilenetv2.benchmarking.process"
LONGEST = 300.0
"""Timeout of an answer in seconds."""
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
)  # fmt: skip
"""Environment variables for threads that a runtime's own setting does not control."""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_minloglevel": "3"}
REQUESTS = ("write", "load", "burst", "answer")
"""Methods of :class:`mobilenetv2.benchmarking.running.Runner`, which a request names as 'do'."""
Request = dict[str, Any]


class Process:
    """Parent's end of one child, to be closed or used in a ``with`` statement.

    Args:
        name: name for error messages.
        log: file for the child's stderr.
        threads: number of threads that its libraries may use.
        module: the module that is the child's end.
    """

    def __init__(self, name: str, log: Path, threads: int, module: str = MODULE) -> None:
        self.name, self.log = name, log
        environment = {**os.environ, **QUIET, **{key: str(threads) for key in THREADS}}
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-m", module], env=environment, text=True, encoding="utf-8",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, args=(self._child.stdout,), daemon=True).start()

    def _listen(self, stream: IO[str]) -> None:
        with contextlib.suppress(ValueError, OSError):  # closed here, before its end was read
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def ask(self, request: Request, longest: float | None = LONGEST) -> Request:
        """Send a request and return its answer.

        Args:
            request: plain values for JSON.
            longest: seconds to wait for the answer; None for any time.

        Raises:
            ArtifactError: the request failed (the message is the child's), the child ended, or it
                did not answer within ``longest`` seconds.
        """
        assert self._child.stdin is not None
        # A child that is gone is found by its missing answer.
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        try:
            line = self._lines.get(timeout=longest)
        except queue.Empty:
            self.close()
            raise ArtifactError(
                f"{self.name}: no answer within {longest:.0f} seconds, so it was stopped"
            ) from None
        if line is None:
            self._lines.put(None)  # for the next request
            raise ArtifactError(f"{self.name}: {self._end()}")
        answer: Request = json.loads(line)
        if "error" in answer:
            raise ArtifactError(answer["error"])
        return answer

    def _end(self) -> str:
        """Return a description of how the child ended."""
        status = self._child.wait()
        how = f"with status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = f"by {signal.Signals(-status).name}"
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return f"its process ended {how}" + (f" ({lines[-1][:300]})" if lines else "")

    def close(self) -> None:
        """Kill the child, even during a request."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was not read is not wanted
                    stream.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Child:
    """Child's end, in which at most one candidate is loaded."""

    def __init__(self) -> None:
        self.runner: Any = None

    def reply(self, line: str) -> Request:
        """Return the answer to a request; for any failure it is ``{"error": one sentence}``."""
        try:
            request = json.loads(line)
            if request["do"] not in REQUESTS:
                raise ArtifactError(f"{request['do']!r} is not one of {', '.join(REQUESTS)}")
            if self.runner is None:
                from mobilenetv2.benchmarking.running import Runner

                self.runner = Runner()
            answer: Request = getattr(self.runner, request["do"])(request)
            return answer
        except MobileNetV2Error as error:
            return {"error": str(error)}
        except Exception as error:  # a library's: one candidate's row says it, the others go on
            return {"error": f"{type(error).__name__}: {first_line(error)[:300]}"}


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries greet there
    child = Child()
    for line in sys.stdin:
        print(json.dumps(child.reply(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
