"""Canonical arrays: what is accepted, and the arrays that the project makes itself."""

import numpy as np
import pytest

from mobilenetv2.errors import WeightsError
from mobilenetv2.model.arrays import check_arrays, identity_batch_norm, random_arrays
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec

SPEC = NetworkSpec(width=0.1, size=(32, 32), classes=5, head_channels=24)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["stem.conv.weight", "blocks.1.expand.bn.mean", "classifier.bias"])
def test_a_single_number_that_is_not_finite_is_refused_by_name(name: str, bad: float) -> None:
    arrays = random_arrays(SPEC)
    check_arrays(SPEC, arrays, "here")
    arrays[name].flat[-1] = bad
    with pytest.raises(WeightsError, match=f"^here: {name} has values that are not finite"):
        check_arrays(SPEC, arrays, "here")


def test_a_negative_variance_is_refused_but_negative_means_and_zero_variances_are_not() -> None:
    arrays = random_arrays(SPEC)
    arrays["head.bn.mean"][:] = -1
    arrays["head.bn.variance"][:] = 0
    check_arrays(SPEC, arrays, "here")
    arrays["head.bn.variance"][3] = -1e-12
    with pytest.raises(WeightsError, match=r"^here: head\.bn\.variance has a variance below 0"):
        check_arrays(SPEC, arrays, "here")


def test_tensors_of_another_network_are_refused_with_the_whole_difference() -> None:
    arrays = random_arrays(SPEC.replace(classes=7))
    del arrays["stem.bn.mean"]
    arrays["surplus"] = np.zeros(3, np.float32)
    with pytest.raises(WeightsError) as caught:
        check_arrays(SPEC, arrays, "here")
    assert str(caught.value).splitlines()[1:] == [
        "- stem.bn.mean",
        "+ surplus",
        "! classifier.weight: expected [5, 24], found [7, 24]",
        "! classifier.bias: expected [5], found [7]",
    ]


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_an_identity_batch_norm_adds_the_bias_and_nothing_else(epsilon: float) -> None:
    bias = np.array([-2.5, 0.0, 3.25])
    arrays = identity_batch_norm("head", bias, epsilon)
    assert list(arrays) == [f"head.bn.{part}" for part in ("scale", "shift", "mean", "variance")]
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}
    scale, shift, mean, variance = (array.astype(np.float64) for array in arrays.values())
    x = np.random.default_rng(0).normal(0, 100, (50, 3))
    y = scale * (x - mean) / np.sqrt(variance + epsilon) + shift
    np.testing.assert_allclose(y, x + bias, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "spec", [SPEC, SPEC.replace(shortcut="projection", conv_bias=True, expand="always")]
)
def test_random_arrays_fit_their_spec_and_are_the_same_for_the_same_seed(
    spec: NetworkSpec,
) -> None:
    arrays = random_arrays(spec, seed=3)
    check_arrays(spec, arrays, "random")
    assert list(arrays) == list(parameter_shapes(spec))
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}
    again, other = random_arrays(spec, seed=3), random_arrays(spec, seed=4)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    assert not any(np.array_equal(arrays[name], other[name]) for name in arrays)


def test_random_batch_norms_are_far_from_the_identity() -> None:
    arrays = random_arrays(NetworkSpec(width=0.35))
    for name, array in arrays.items():
        if name.endswith((".scale", ".variance")):
            assert abs(array - 1).max() > 0.2
        elif ".bn." in name:
            assert abs(array).max() > 0.2
