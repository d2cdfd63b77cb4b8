"""Memory that is out, in one sentence, whatever a framework calls it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mobilenetv2.errors import RunError

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
        # PyTorch and JAX say it through a RuntimeError.
        words = str(error).lower()
        if isinstance(error, MemoryError) or "memory" in words or "resource_exhausted" in words:
            raise RunError(f"out of memory in {doing}; {ADVICE}") from None
        raise
