"""Layouts of other frameworks and back, checked element by element against their definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenetv2.model import arrays as module
from mobilenetv2.model.arrays import (
    LITERT_CONVOLUTION,
    LITERT_DEPTHWISE,
    SLIM_LINEAR,
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
    Layout,
)

LAYOUTS = [thing for thing in vars(module).values() if isinstance(thing, Layout)]
OUT, IN, HEIGHT, WIDTH = 2, 3, 4, 5


def numbered(*shape: int) -> NDArray:
    return np.arange(np.prod(shape)).reshape(shape)


def test_convolutions_come_out_as_out_in_height_width() -> None:
    tensorflow = numbered(HEIGHT, WIDTH, IN, OUT)
    litert = numbered(OUT, HEIGHT, WIDTH, IN)
    from_tensorflow = TENSORFLOW_CONVOLUTION.to_canonical(tensorflow)
    from_litert = LITERT_CONVOLUTION.to_canonical(litert)
    assert from_tensorflow.shape == from_litert.shape == (OUT, IN, HEIGHT, WIDTH)
    for o, i, y, x in np.ndindex(OUT, IN, HEIGHT, WIDTH):
        assert from_tensorflow[o, i, y, x] == tensorflow[y, x, i, o]
        assert from_litert[o, i, y, x] == litert[o, y, x, i]


def test_depthwise_kernels_come_out_as_channels_one_height_width() -> None:
    tensorflow = numbered(HEIGHT, WIDTH, IN, 1)
    litert = numbered(1, HEIGHT, WIDTH, IN)
    from_tensorflow = TENSORFLOW_DEPTHWISE.to_canonical(tensorflow)
    from_litert = LITERT_DEPTHWISE.to_canonical(litert)
    assert from_tensorflow.shape == from_litert.shape == (IN, 1, HEIGHT, WIDTH)
    for c, y, x in np.ndindex(IN, HEIGHT, WIDTH):
        assert from_tensorflow[c, 0, y, x] == tensorflow[y, x, c, 0]
        assert from_litert[c, 0, y, x] == litert[0, y, x, c]


@pytest.mark.parametrize("layout", [TENSORFLOW_LINEAR, SLIM_LINEAR])
def test_a_linear_layer_comes_out_as_out_in(layout: Layout) -> None:
    foreign = numbered(IN, OUT)
    canonical = layout.to_canonical(foreign.reshape((1,) * layout.ones + foreign.shape))
    assert canonical.shape == (OUT, IN)
    for o, i in np.ndindex(OUT, IN):
        assert canonical[o, i] == foreign[i, o]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@given(data=st.data())
def test_the_way_back_is_the_exact_inverse_on_any_shape(
    layout: Layout, data: st.DataObject
) -> None:
    shape = (1,) * layout.ones + tuple(data.draw(st.integers(1, 5)) for _ in layout.axes)
    foreign = numbered(*shape).astype(np.float32)
    there = layout.to_canonical(foreign)
    assert layout.shape(there.shape) == shape
    np.testing.assert_array_equal(layout.from_canonical(there), foreign, strict=True)
    np.testing.assert_array_equal(
        layout.to_canonical(layout.from_canonical(there)), there, strict=True
    )


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_results_are_contiguous_whichever_way(layout: Layout) -> None:
    foreign = numbered(*(1,) * layout.ones, *range(2, 2 + len(layout.axes)))
    assert layout.to_canonical(foreign).flags.c_contiguous
    assert layout.from_canonical(layout.to_canonical(foreign)).flags.c_contiguous


def test_every_layout_has_a_name_of_its_own_and_names_every_axis_once() -> None:
    assert len(LAYOUTS) == 6
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    assert all(sorted(layout.axes) == list(range(len(layout.axes))) for layout in LAYOUTS)
