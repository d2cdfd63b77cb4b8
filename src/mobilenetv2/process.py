"""Settings of the whole process: memory and threads under PyTorch, native output."""

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

from mobilenetv2.errors import MobileNetV2Error

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
SPINS = "GOMP_SPINCOUNT"
"""Environment variable for the number of times that a waiting thread looks for work."""
POLICY = "OMP_WAIT_POLICY"
FEW_SPINS = "3000"
"""Number of spins before a thread sleeps, about 30 microseconds.

GNU OpenMP's default is 300,000. This is the smallest number that hardly slows down a training that
runs alone on the machine (benchmarks/company.md).
"""
STREAMS = (1, 2)
"""File descriptors of stdout and stderr."""
_one_at_a_time = threading.RLock()  # otherwise a thread may restore the output of another one


def prepare_process() -> None:
    """Set up memory and threads; call this in a separate process before PyTorch is imported.

    Raises:
        MobileNetV2Error: the current folder was removed.
    """
    require_current_folder()
    keep_memory()
    share_cores()


def require_current_folder() -> None:
    """Raise if the current folder was removed: PyTorch's MKL would end the process, with a 2.

    Raises:
        MobileNetV2Error: it was.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise MobileNetV2Error(
            "the current folder was removed, and PyTorch cannot compute there; change into "
            "another folder"
        ) from None


def settle_dependencies(cache: Path) -> None:
    """Keep other packages from making folders of their own; call this before they are imported.

    Importing Keras writes a configuration into the home folder, and matplotlib a list of fonts into
    the user's caches. They do so below ``cache``, unless the user has set a place or has such a
    folder already. PyTorch makes a folder for compiled code, which nothing here compiles.

    Args:
        cache: the cache folder of this package, which may not exist yet.
    """
    home = Path("~").expanduser()
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    if not (home / ".keras").exists():
        os.environ.setdefault("KERAS_HOME", str(cache / "keras"))
    if not any(one.exists() for one in (settings / "matplotlib", home / ".matplotlib")):
        os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
    # It warns of its list of fonts, which takes a while, and of a folder that cannot be written.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C until the end of the ``with`` block; other threads never get it."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[tuple[int, types.FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            before(*held[0])


def keep_memory() -> bool:
    """Keep freed memory instead of returning it to the system after every layer.

    PyTorch's CPU tensors come from malloc. For each one above 32 MB glibc takes new pages from the
    kernel, which fills them with zeros on first use. Measured here, a training step at 224 pixels
    and batch 32 spent half its time in the kernel; without this it ran 2.2 times as fast.

    Returns:
        True if the C library accepted the settings; False on systems other than Linux with glibc,
        where nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, 2**30), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26))
    taken = [mallopt(key, value) == 1 for key, value in settings]  # all(...) would stop early
    return all(taken)


def share_cores() -> bool:
    """Let waiting threads sleep soon, so that other work on the machine does not slow them down.

    At the end of every operation PyTorch's threads wait for the slowest one in a loop that occupies
    a core. If another process has that core, the slowest thread cannot even start. GNU OpenMP,
    which PyTorch's Linux builds use, reads its settings once, when it is loaded.

    Returns:
        True if the setting was made; False if PyTorch is already imported, or the user has set
        either variable.
    """
    if "torch" in sys.modules or SPINS in os.environ or POLICY in os.environ:
        return False
    os.environ[SPINS] = FEW_SPINS
    return True


@contextlib.contextmanager
def suppress_native_output() -> Iterator[None]:
    """Suppress native output on stdout and stderr in the block of a ``with`` statement.

    Some native libraries have no switch for their banners and errors. Use it for short blocks only:
    starting a library, loading a graph.
    """
    with _one_at_a_time, contextlib.ExitStack() as stack:
        _flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nowhere)
        for stream in STREAMS:
            try:
                kept = os.dup(stream)
            except OSError:  # the stream is closed, as in a service
                continue
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, stream)
            os.dup2(nowhere, stream)
        stack.callback(_flush)
        yield


@contextlib.contextmanager
def suppress_greetings() -> Iterator[None]:
    """Suppress Python's warnings and native output in the block of a ``with`` statement."""
    with suppress_native_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def errors_only(logger: str) -> Iterator[None]:
    """Suppress a logger's messages below ERROR in the block of a ``with`` statement."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.ERROR)
    try:
        yield
    finally:
        found.setLevel(level)


def _flush() -> None:
    """Flush the buffers of Python and C, which would otherwise be written after the block."""
    for stream in (sys.stdout, sys.stderr):
        # A program's own stream may be closed, or have no such method.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    ctypes.CDLL("ucrtbase" if os.name == "nt" else None).fflush(None)
