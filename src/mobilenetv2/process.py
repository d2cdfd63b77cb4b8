"""What the command line, which owns its process, asks of the libraries below PyTorch."""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
SPINS = "GOMP_SPINCOUNT"
"""The environment variable: how often a thread looks for work before it sleeps."""
POLICY = "OMP_WAIT_POLICY"
FEW_SPINS = "3000"
"""About 30 microseconds by its own reckoning; GNU OpenMP's number is 300,000. The fewest that cost
a training which is alone on the machine nearly nothing (benchmarks/company.md)."""


def prepare() -> None:
    """Both of the following; before PyTorch is imported."""
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
