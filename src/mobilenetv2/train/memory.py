"""Memory that is out, in one sentence, whatever a framework calls it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mobilenetv2.errors import RunError

WORDS = ("out of memory", "allocate memory", "not enough memory", "resource_exhausted")
"""PyTorch and JAX say it through a RuntimeError, in words of which one is among these."""
ADVICE = "begin again with a lower batch_size or size, or with accumulate (--set batch_size=16)"


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
    except (MemoryError, RuntimeError) as error:
        said = str(error).lower()
        if isinstance(error, MemoryError) or any(words in said for words in WORDS):
            raise RunError(f"out of memory in {doing}; {ADVICE}") from None
        raise
