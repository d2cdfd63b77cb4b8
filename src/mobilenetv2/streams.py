"""Standard streams of the command: none is missing, all text can be written, readers may leave."""

import codecs
import io
import os
import re
import sys
from typing import Any, TextIO

from mobilenetv2.text import escape_of

ESCAPE = "mobilenetv2.escape"
"""Name of the error handler that writes what an encoding lacks as an escape."""
STDIN, STDOUT, STDERR = 0, 1, 2


def prepare_streams() -> None:
    """Open the missing standard streams, and make stdout and stderr take any text.

    Streams that are not the interpreter's own, such as a notebook's or a test's, stay as they are.
    """
    open_missing()
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.FileIO(STDIN, closefd=False), "utf-8")
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = outlet(sys.stdout, STDOUT)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = outlet(sys.stderr, STDERR)


def open_missing() -> None:
    """Open the null device in place of each of stdin, stdout and stderr that is closed.

    Otherwise the next file that is opened takes the number of the missing stream, and whatever is
    printed is written into that file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def outlet(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a stream on a descriptor that replaces a standard stream of the interpreter.

    Args:
        stream: the interpreter's stream; None if it found none.
        descriptor: its number, :data:`STDOUT` or :data:`STDERR`.
    """
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(Outlet(descriptor)), "utf-8", ESCAPE)
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors=ESCAPE)
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if type(raw) is not io.FileIO:  # Windows' console has a class of its own
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(Outlet(descriptor)), stream.encoding, ESCAPE,
        line_buffering=stream.line_buffering, write_through=stream.write_through,
    )  # fmt: skip


def escape(error: UnicodeError) -> tuple[str, int]:
    r"""Return an escape of what cannot be encoded, and the position after it.

    A byte of a file's name that is no text is written as ``\xe9``, as in
    :func:`mobilenetv2.text.escaped`; a character that the encoding lacks as ``\u6f22`` or
    ``\U0001f600``. So the two are told apart.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return re.sub(".", escape_of, lost, flags=re.DOTALL), error.end


codecs.register_error(ESCAPE, escape)


class Outlet(io.FileIO):
    """File of stdout or stderr: after its reader has left, what is written goes nowhere.

    So work whose results are files is finished although nobody reads its messages. What cannot be
    written for another reason, such as a full disk, is an error on stdout. On stderr it is none:
    messages are lost before work is.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.left = False
        """Set when the reader has left."""

    def write(self, data: Any) -> int:
        """Write bytes; return how many were taken."""
        try:
            return super().write(data)
        except OSError as error:
            self.left = isinstance(error, BrokenPipeError)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # also for native libraries, and at the end of Python
            os.close(nowhere)
            if not self.left and self.fileno() == STDOUT:
                raise OSError(error.errno, error.strerror, "stdout") from None
        return memoryview(data).nbytes


def reader_left() -> bool:
    """Return True if stdout is a pipe that nobody reads any more."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, Outlet) and raw.left
