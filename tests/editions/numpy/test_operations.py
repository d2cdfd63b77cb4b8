"""Each operation against its definition, written once more in the slowest and plainest way."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenetv2.editions.numpy import operations

SIDES = st.integers(3, 9)
PADS = st.tuples(st.integers(0, 2), st.integers(0, 2))


def slow_convolution(
    x: NDArray, weight: NDArray, stride: int, padding: tuple[tuple[int, int], ...], groups: int
) -> NDArray:
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    out, per_group, kernel, _ = weight.shape
    rows, columns = ((side - kernel) // stride + 1 for side in x.shape[2:])
    y = np.zeros((len(x), out, rows, columns))
    for b, o, i, j in np.ndindex(y.shape):
        first = o // (out // groups) * per_group
        for c, m, n in np.ndindex(per_group, kernel, kernel):
            y[b, o, i, j] += weight[o, c, m, n] * x[b, first + c, i * stride + m, j * stride + n]
    return y


@given(SIDES, SIDES, st.sampled_from([1, 3]), st.sampled_from([1, 2]), PADS, PADS)
def test_convolutions_are_their_definition(
    height: int,
    width: int,
    kernel: int,
    stride: int,
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> None:
    random = np.random.default_rng(height * 10 + width)
    x, padding = random.normal(size=(2, 4, height, width)), (rows, columns)
    weight = random.normal(size=(3, 4, kernel, kernel))
    found = operations.convolution(x, weight, stride, padding)
    np.testing.assert_allclose(found, slow_convolution(x, weight, stride, padding, 1), atol=1e-12)
    weight = random.normal(size=(4, 1, kernel, kernel))
    found = operations.depthwise_convolution(x, weight, stride, padding)
    np.testing.assert_allclose(found, slow_convolution(x, weight, stride, padding, 4), atol=1e-12)


def test_batch_norm_gives_the_statistics_that_it_is_told_to() -> None:
    x = np.random.default_rng(0).normal(5, 3, size=(8, 2, 20, 20))
    scale, shift = np.array([2.0, 0.5]), np.array([-1.0, 4.0])
    y = operations.batch_norm(x, scale, shift, x.mean((0, 2, 3)), x.var((0, 2, 3)), 1e-12)
    np.testing.assert_allclose(y.mean((0, 2, 3)), shift, atol=1e-10)
    np.testing.assert_allclose(y.std((0, 2, 3)), scale, atol=1e-10)


def test_the_small_operations() -> None:
    x = np.array([[-3.0, 0.5, 7.0]])
    assert operations.relu(x).tolist() == [[0, 0.5, 7]]
    assert operations.relu6(x).tolist() == [[0, 0.5, 6]]
    assert operations.global_average_pool(np.arange(8.0).reshape(1, 2, 2, 2)).tolist() == [
        [1.5, 5.5]
    ]
    weight, bias = np.array([[1.0, 2, 3], [0, 0, 1]]), np.array([10.0, 20])
    assert operations.linear(x, weight, bias).tolist() == [[29.0, 27.0]]
    assert operations.linear(x, weight).tolist() == [[19.0, 7.0]]
    assert operations.global_max_pool(np.arange(8.0).reshape(1, 2, 2, 2)).tolist() == [[3.0, 7.0]]


def test_the_type_of_the_input_is_that_of_the_result() -> None:
    for dtype in (np.float32, np.float64):
        x, weight = np.ones((1, 2, 4, 4), dtype), np.ones((2, 2, 3, 3), dtype)
        ones = np.ones(2, dtype)
        y = operations.convolution(x, weight, 1, ((1, 1), (1, 1)))
        y = operations.relu6(operations.batch_norm(y, ones, ones, ones, ones, 1e-3))
        assert operations.linear(operations.global_average_pool(y), ones[None], ones).dtype == dtype
