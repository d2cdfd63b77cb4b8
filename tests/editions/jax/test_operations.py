"""Both forms of a depthwise convolution, and their gradients, against the definition in NumPy."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mobilenetv2.editions.jax import operations
from mobilenetv2.editions.numpy import operations as plain
from mobilenetv2.spec.blocks import Padding


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [((1, 1), (1, 1)), ((0, 1), (1, 1)), ((0, 0), (0, 2))])
def test_the_forms_are_one_convolution(stride: int, padding: Padding) -> None:
    random = np.random.default_rng(stride)
    x, kernel = random.normal(size=(2, 7, 8, 4)), random.normal(size=(3, 3, 1, 4))
    expected = plain.depthwise_convolution(
        x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1), stride, padding
    ).transpose(0, 2, 3, 1)

    def gradients(convolve: Any) -> Any:
        return jax.grad(lambda x, k: (convolve(x, k) ** 3).sum(), (0, 1))(x, kernel)

    forms: list[Any] = [
        lambda x, k, form=form: form(x, k, stride=stride, padding=padding)
        for form in (operations._grouped, operations._shifted, operations.depthwise_convolution)
    ]
    reference = gradients(forms[0])
    for form in forms:
        np.testing.assert_allclose(form(jnp.asarray(x), kernel), expected, atol=1e-12)
        for found, wanted in zip(gradients(form), reference, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-10)


def test_pointwise_and_full_convolutions() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 7, 8, 4))
    for side, pad in ((1, ((0, 0), (0, 0))), (3, ((1, 1), (0, 1)))):
        kernel = random.normal(size=(side, side, 4, 5))
        for stride in (1, 2):
            expected = plain.convolution(
                x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1), stride, pad
            ).transpose(0, 2, 3, 1)
            found = operations.convolution(jnp.asarray(x), kernel, stride, pad)
            np.testing.assert_allclose(found, expected, atol=1e-12)
