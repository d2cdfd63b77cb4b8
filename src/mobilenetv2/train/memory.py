"""Memory that is out, in one sentence, whatever a framework calls it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mobilenetv2.errors import MobileNetV2Error, RunError

WORDS = (
    "out of memory", "allocate memory", "not enough memory", "resource_exhausted",
    "oom when allocating",
)  # fmt: skip
"""PyTorch and JAX say it through a RuntimeError, TensorFlow through an error of its own, in words
of which one is among these."""
ADVICE = "begin again with a lower batch_size or size (--set batch_size=16)"


@contextmanager
def guarded(doing: str) -> Iterator[None]:
    """Whatever runs inside says so when there is not enough memory for it.

    Args:
        doing: what that is: 'a step of 32 pictures of 224 x 224'.

    Raises:
        RunError: there is not.
    """
    try:
        yield
    except Exception as error:  # TensorFlow's is nothing but an Exception
        said = str(error).lower()
        told = isinstance(error, MobileNetV2Error)  # in words already
        if isinstance(error, MemoryError) or (not told and any(words in said for words in WORDS)):
            raise RunError(f"out of memory in {doing}; {ADVICE}") from None
        raise
