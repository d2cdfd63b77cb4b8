"""The model that comes inside the package: small, real, and there without a network.

Trained here on CIFAR-10 by the recipe ``scratch-small``; ``benchmarks/embedded.py`` makes the
folder out of a run, and its card says how good it is.
"""

from pathlib import Path

EMBEDDED = "embedded"
"""Its name wherever a MODEL is asked for."""


def folder() -> Path:
    """Its model folder. Only to be read."""
    return Path(__file__).parents[1] / EMBEDDED
