"""The parent's end of a contestant's process."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from mobilenetv2.errors import ArtifactError

MODULE = "mobilenetv2.benchmark.child"
LONGEST = 300.0
"""Seconds that an answer may take."""
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
)  # fmt: skip
"""For what a runtime's own setting does not reach."""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_minloglevel": "3"}


class Process:
    """One child. To be closed; a ``with`` block does it.

    Args:
        name: what it is called in errors.
        log: a file for what it writes to stderr.
        threads: that its libraries may use.
    """

    def __init__(self, name: str, log: Path, threads: int) -> None:
        self.name, self.log = name, log
        environment = {**os.environ, **QUIET, **{key: str(threads) for key in THREADS}}
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-m", MODULE], env=environment, text=True, encoding="utf-8",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, args=(self._child.stdout,), daemon=True).start()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def ask(self, request: Mapping[str, Any], longest: float = LONGEST) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            ArtifactError: it failed, with its own sentence; it ended, or it did not answer within
                ``longest`` seconds.
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
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ArtifactError(answer["error"])
        return answer

    def _end(self) -> str:
        """How it ended, in words."""
        status = self._child.wait()
        how = f"with status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = f"by {signal.Signals(-status).name}"
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return f"its process ended {how}" + (f" ({lines[-1][:300]})" if lines else "")

    def close(self) -> None:
        """End it, whatever it is doing."""
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
