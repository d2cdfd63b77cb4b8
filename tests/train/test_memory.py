"""Out of memory in one sentence, and nothing else in it."""

import pytest

from mobilenetv2.errors import RunError
from mobilenetv2.train.loop import out_of_memory_guard


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),
        # tensorflow.errors.ResourceExhaustedError, which is no RuntimeError
        type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor with shape"),
    ],
)
def test_out_of_memory_is_one_sentence(error: Exception) -> None:
    words = r"^out of memory in a step; begin again with a lower"
    with pytest.raises(RunError, match=words), out_of_memory_guard("a step"):
        raise error


@pytest.mark.parametrize("text", ["shapes do not match", "unsupported memory format option"])
def test_another_error_is_a_defect_and_stays_one(text: str) -> None:
    with pytest.raises(RuntimeError, match=text), out_of_memory_guard("a step"):
        raise RuntimeError(text)


def test_an_error_that_was_put_into_words_already_stays_as_it_is() -> None:
    words = r"^out of memory in the inner"
    with (
        pytest.raises(RunError, match=words),
        out_of_memory_guard("the outer"),
        out_of_memory_guard("the inner"),
    ):
        raise MemoryError
