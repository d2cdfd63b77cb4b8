"""What native libraries print where it is nobody's to read: greetings, progress, their errors."""

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STREAMS = (1, 2)
"""Descriptors of stdout and stderr."""
_one_at_a_time = threading.RLock()  # else one thread may restore what another has silenced


@contextmanager
def silence() -> Iterator[None]:
    """Whatever is written to stdout and stderr in the block is dropped, by all of the process.

    Some libraries have no switch for it. Short blocks only: starting a library, loading a graph.
    """
    with _one_at_a_time, contextlib.ExitStack() as stack:
        _flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nowhere)
        for stream in STREAMS:
            try:
                kept = os.dup(stream)
            except OSError:  # closed, as in a service: there is nothing to silence
                continue
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, stream)
            os.dup2(nowhere, stream)
        stack.callback(_flush)
        yield


def _flush() -> None:
    """Python's buffers, and those of C, which would else be written once the block is over."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ctypes.CDLL("ucrtbase" if os.name == "nt" else None).fflush(None)
