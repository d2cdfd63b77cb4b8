"""The preprocessing that a graph describes."""

from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.description import METADATA
from mobilenetv2.checkpoints.graphs import picture
from mobilenetv2.checkpoints.graphs.chain import PICTURE, Step
from mobilenetv2.errors import DialectError

WEIGHT = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
ONE, ZERO = np.ones(3), np.zeros(3)


def stem(weight: Any = WEIGHT) -> list[Step]:
    return [Step(PICTURE, False, np.asarray(weight, np.float32), None, 2, "same")]


@pytest.mark.parametrize(
    ("factor", "offset", "mean", "std"),
    [
        (np.float32(1 / 127.5), -1.0, 127.5, 127.5),  # preprocess_input, as a float32
        (1 / 255, 0.0, 0.0, 255.0),
        (2.0, -1.0, 127.5, 127.5),  # of values from 0 to 1
        (1 / 0.225, -0.406 / 0.225, 103.53, 57.375),
        (1.0, -103.9, 103.9, 1.0),  # Caffe's: the mean alone is subtracted
        (0.017, -0.017 * 103.9, 103.9, 1 / 0.017),  # and MobileNet's in Caffe
    ],
)
def test_a_scaling_is_a_normalisation_of_pixels(
    factor: float, offset: float, mean: float, std: float
) -> None:
    found = picture.normalisation(factor * ONE, offset + ZERO)
    assert found is not None
    np.testing.assert_allclose(found[0], mean, rtol=1e-6)
    np.testing.assert_allclose(found[1], std, rtol=1e-6)
    if factor == np.float32(1 / 127.5):
        assert found == ((127.5,) * 3, (127.5,) * 3)  # rather than 127.499998


def test_no_scaling_is_none_and_one_that_leaves_nothing_is_refused() -> None:
    assert picture.normalisation(ONE, ZERO) is None
    for factor in (0.0, np.nan, np.inf):
        with pytest.raises(DialectError, match="leave nothing"):
            picture.normalisation(factor * ONE, ZERO)


def test_integers_have_the_range_of_their_type() -> None:
    assert picture.integer_range(0.5, -128, np.int8) == (0.0, 127.5)
    assert picture.integer_range(1.0, 0, "uint8") == (0.0, 255.0)


def test_a_division_that_a_converter_put_into_the_stem_is_taken_out() -> None:
    steps, divided = picture.restored(stem(WEIGHT / 255))
    assert divided
    np.testing.assert_allclose(steps[0].weight, WEIGHT, rtol=1e-6)
    for kept in (WEIGHT, WEIGHT * 0):
        assert picture.restored(stem(kept))[1] is False


def test_the_description_says_where_it_is_from() -> None:
    _, found = picture.describe(stem(), ONE / 127.5, -ONE, ("MUL", "ADD"), None)
    assert found.preprocessing_from == "the MUL and ADD operators"
    steps, found = picture.describe(stem(WEIGHT / 255), ONE, ZERO, (), None)
    assert found.normalisation == ((0.0,) * 3, (255.0,) * 3)
    assert "first convolution" in found.preprocessing_from
    _, found = picture.describe(stem(), ONE, ZERO, (), (-1.0, 1.0))
    assert (found.normalisation, found.input_range) == (None, (-1.0, 1.0))
    steps, found = picture.describe(stem(WEIGHT / 255), ONE, ZERO, (), (0.0, 255.0))
    assert (found.normalisation, found.input_range) == (None, (0.0, 1.0))
    np.testing.assert_allclose(steps[0].weight, WEIGHT, rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "std", "factor", "offset", "expected"),
    [
        (127.5, 127.5, 1.0, 0.0, (127.5, 127.5)),
        (0.0, 255.0, 2.0, -1.0, (127.5, 127.5)),  # pixels become 0 to 1, and the graph -1 to 1
        (0.0, 255.0, 1.0, 0.0, (0.0, 255.0)),
    ],
)
def test_the_metadata_says_what_pixels_become_before_the_graph(
    mean: float, std: float, factor: float, offset: float, expected: tuple[float, float]
) -> None:
    metadata = (mean,) * 3, (std,) * 3
    for integers in (None, (-1.0, 0.99)):
        _, said = picture.describe(
            stem(), factor * ONE, offset + ZERO, [], integers, metadata
        )  # fmt: skip
        assert said.normalisation == tuple((one,) * 3 for one in expected)
        assert said.preprocessing_from == METADATA and said.input_range == integers


def test_metadata_that_leaves_pixels_says_nothing_of_the_graph() -> None:
    raw = picture.of_pixels(3)
    _, said = picture.describe(stem(), ONE / 255, ZERO, ["MUL"], None, raw)
    assert said.normalisation is not None
    np.testing.assert_allclose(said.normalisation, ((0,) * 3, (255,) * 3), atol=1e-4)
