"""Settings of the whole process: freed memory and waiting threads below PyTorch, native output."""

import contextlib
import ctypes
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
SPINS = "GOMP_SPINCOUNT"
"""An environment variable: how often a thread looks for work before it sleeps."""
POLICY = "OMP_WAIT_POLICY"
FEW_SPINS = "3000"
"""About 30 microseconds by its own reckoning; GNU OpenMP's number is 300,000. The fewest that cost
a training which is alone on the machine nearly nothing (benchmarks/company.md)."""
STREAMS = (1, 2)
"""Descriptors of stdout and stderr."""
_one_at_a_time = threading.RLock()  # else one thread may restore what another has silenced


def prepare_process() -> None:
    """Keep memory and share cores, in a process of our own and before PyTorch is imported."""
    keep_memory()
    share_cores()


def keep_memory() -> bool:
    """Keep freed memory instead of handing it back to the system after every layer.

    PyTorch's CPU tensors come from malloc. glibc gives each one above 32 MB fresh pages from the
    kernel, which zeroes them on first touch: measured here, a training step at 224 pixels and batch
    32 spent half its time in the kernel and ran 2.2 times as fast without that.

    Returns:
        Whether the C library took it; elsewhere than on Linux with glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, 2**30), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26))
    taken = [mallopt(key, value) == 1 for key, value in settings]  # each of them, always
    return all(taken)


def share_cores() -> bool:
    """Let threads that wait sleep soon, so that work beside this one does not stop it.

    At the end of every operation PyTorch's threads wait for the slowest in a loop that keeps its
    core. Where another process has that core, the slowest cannot even begin. GNU OpenMP, which
    PyTorch's Linux builds use, reads its settings once, when it is loaded.

    Returns:
        Whether it was done: not where PyTorch is there already, or a person set either variable.
    """
    if "torch" in sys.modules or SPINS in os.environ or POLICY in os.environ:
        return False
    os.environ[SPINS] = FEW_SPINS
    return True


@contextlib.contextmanager
def suppress_native_output() -> Iterator[None]:
    """Drop whatever the process writes to stdout and stderr in the block: a context manager.

    Some native libraries have no switch for their greetings and errors. Short blocks only: starting
    a library, loading a graph.
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


@contextlib.contextmanager
def suppress_greetings() -> Iterator[None]:
    """Drop Python's warnings in the block, too, and else do as :func:`suppress_native_output`."""
    with suppress_native_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def errors_only(logger: str) -> Iterator[None]:
    """Keep a package's logger in the block from saying what is no error."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.ERROR)
    try:
        yield
    finally:
        found.setLevel(level)


def _flush() -> None:
    """Flush Python's buffers, and those of C, which would else be written after the block."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ctypes.CDLL("ucrtbase" if os.name == "nt" else None).fflush(None)
