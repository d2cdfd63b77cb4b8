"""Libraries in C++ that write to the process's stderr, kept from doing so for a moment."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

STDERR = 2
_lock = Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """What native code writes to file descriptor 2 inside is lost.

    The descriptor is the whole process's: keep it short, and let errors come as exceptions.
    """
    with _lock:
        sys.stderr.flush()
        try:
            kept = os.dup(STDERR)
        except OSError:  # there is none: nothing to keep quiet
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, STDERR)
            yield
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
            os.close(nowhere)
