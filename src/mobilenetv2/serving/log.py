"""Access log: a line of JSON for each request, written by a thread of its own."""

import contextlib
import json
import queue
import sys
import threading
import time
from typing import IO, Any

WAITING = 10_000
"""Most lines that wait to be written; further ones are counted and left out."""


class AccessLog:
    """Writer of lines, which never makes the caller wait.

    A line has the time, the method, the path without its query, the status, the seconds and the
    announced bytes of a request, null without a number. It has no contents of photos, no names of
    files, no token and no address of a caller's.

    Args:
        stream: where lines go; None for stderr.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._left_out = 0
        self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
        self._thread.start()

    def add(self, **facts: Any) -> None:
        """Add a line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        try:
            self._lines.put_nowait({"time": f"{moment}Z", **facts})
        except queue.Full:
            self._left_out += 1

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with contextlib.suppress(queue.Full):  # nobody reads the stream
            self._lines.put(None, timeout=1)
            self._thread.join(timeout=5)

    def _write(self) -> None:
        while (facts := self._lines.get()) is not None:
            if self._left_out:
                facts["left_out_before"], self._left_out = self._left_out, 0
            stream = self._stream or sys.stderr
            # A stream that nobody reads any more ends neither the thread nor the server.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.write(json.dumps(facts) + "\n")
                stream.flush()
