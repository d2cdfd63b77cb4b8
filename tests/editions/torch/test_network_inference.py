"""Pictures are normalised as everywhere, on devices that are there."""

import numpy as np
import pytest
import torch

from mobilenetv2.editions.torch.network import check_device, normalise, on_device
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.images.preprocess import engine_input as normalise_numpy
from mobilenetv2.spec.published import PUBLISHED

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 32, 40, 3), np.uint8)


@pytest.mark.parametrize("name", ["torchvision", "keras", "tf-slim"])
def test_normalised_pictures_are_those_of_numpy_bit_for_bit(name: str) -> None:
    record = PUBLISHED[name].preprocessing
    x = normalise(PICTURES, record, torch.device("cpu"))
    np.testing.assert_array_equal(x.numpy(), normalise_numpy(PICTURES, record))
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_an_error_that_names_it(name: str) -> None:
    assert check_device("cpu") == "cpu"
    with pytest.raises(MobileNetV2Error, match=f"device={name!r}: PyTorch cannot use it here"):
        check_device(name)


class Array:
    """A tensor that writes down what is done with it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def pin_memory(self) -> "Array":
        self.done.append("page-locked")
        return self

    def to(self, device: object, non_blocking: bool = False) -> "Array":
        self.done.append((str(device), non_blocking))
        return self


def test_a_gpu_reads_page_locked_memory_while_the_cpu_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No GPU is needed for it; without one, PyTorch cannot lock pages."""
    assert np.array_equal(on_device(PICTURES, "cpu").numpy(), PICTURES)
    for device, expected in (
        ("cuda:1", ["page-locked", ("cuda:1", True)]), ("cpu", [("cpu", False)]),
    ):  # fmt: skip
        array = Array()
        with monkeypatch.context() as patch:
            patch.setattr(torch, "from_numpy", lambda _, array=array: array)
            on_device(PICTURES, device)
        assert array.done == expected
