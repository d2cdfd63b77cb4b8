"""Rebasing keeps what a network computes, and its weights bit for bit."""

import numpy as np
import pytest

from mobilenetv2.model.arrays import Arrays, identity_batch_norm, is_folded, random_arrays
from mobilenetv2.model.folding import Moments, fold, rebase
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published

SPECS = {
    "paper": NetworkSpec(width=0.1, size=(64, 64), classes=5),
    "small epsilon": NetworkSpec(width=0.1, size=(64, 64), numerics=Numerics("symmetric", 1e-5)),
    "bias before BatchNorm": published("article-torch", width=0.1, size=64, classes=5),
    "MobileNetV1": published("mobilenet-v1", size=64, classes=5),
    "ResNet's block": published("resnet-bottleneck", size=64, classes=5),
}


def folded(spec: NetworkSpec) -> Arrays:
    """As LiteRT files come: every channel on a scale of its own, no BatchNorm."""
    arrays, random = random_arrays(spec), np.random.default_rng(0)
    for layer in resolve(spec).convolutions:
        shift = arrays[f"{layer.name}.bn.shift"]
        arrays |= identity_batch_norm(layer.name, shift, spec.numerics.epsilon)
        scales = np.exp(random.normal(0, 2, (layer.out_channels, 1, 1, 1)))
        arrays[f"{layer.name}.conv.weight"] *= scales.astype(np.float32)
    return arrays


def moments(spec: NetworkSpec, dead: float = 0.0) -> dict[str, Moments]:
    """Any; a share of the channels has no variance."""
    random, made = np.random.default_rng(1), {}
    for layer in resolve(spec).convolutions:
        variance = np.exp(random.normal(0, 3, layer.out_channels))
        variance *= random.random(layer.out_channels) >= dead
        made[layer.name] = Moments(random.normal(0, 3, layer.out_channels), variance)
    return made


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("identity", [True, False], ids=["folded", "any BatchNorm"])
def test_it_folds_back_to_the_same_network(name: str, identity: bool) -> None:
    spec = SPECS[name]
    arrays = folded(spec) if identity else random_arrays(spec)
    measured = moments(spec, dead=0.2)
    before, after = fold(spec, arrays), fold(spec, rebase(spec, arrays, measured))
    for layer, (weight, bias) in after.items():
        # Bit for bit, but where folding itself rounds.
        np.testing.assert_array_max_ulp(weight, before[layer][0], 0 if identity else 1)
        largest = np.abs(before[layer][1])
        if layer in measured:
            gain = np.abs(
                arrays[f"{layer}.bn.scale"]
                / np.sqrt(arrays[f"{layer}.bn.variance"] + spec.numerics.epsilon)
            )
            largest = largest + gain * np.abs(measured[layer].mean)
        assert (np.abs(bias - before[layer][1]) <= 2e-7 * largest).all(), layer


def test_every_channel_has_its_mean_and_a_variance_near_one() -> None:
    spec = SPECS["paper"]
    arrays, measured = folded(spec), moments(spec)
    rebased = rebase(spec, arrays, measured)
    assert not is_folded(rebased)
    for name, one in measured.items():
        kernels = rebased[f"{name}.conv.weight"], arrays[f"{name}.conv.weight"]
        factor = np.array([a[b != 0][0] / b[b != 0][0] for a, b in zip(*kernels, strict=True)])
        np.testing.assert_array_equal(factor, np.exp2(np.rint(np.log2(factor))))
        variance = rebased[f"{name}.bn.variance"]
        assert variance.min() > 0.49 and variance.max() < 2.01
        np.testing.assert_allclose(variance, one.variance * factor**2, rtol=0.01)
        np.testing.assert_allclose(rebased[f"{name}.bn.mean"], one.mean * factor, rtol=1e-6)


def test_channels_without_variance_keep_their_kernels_and_stay_finite() -> None:
    spec = SPECS["paper"]
    arrays = folded(spec)
    dead = {
        name: Moments(one.mean, np.zeros_like(one.variance)) for name, one in moments(spec).items()
    }
    for name, array in rebase(spec, arrays, dead).items():
        assert np.isfinite(array).all() and array.dtype == np.float32
        if name.endswith("conv.weight"):
            np.testing.assert_array_equal(array, arrays[name])
        if name.endswith("variance"):
            assert (array >= 0).all() and (array < 1e-5).all()


def test_the_arrays_given_stay_as_they_are() -> None:
    spec = SPECS["bias before BatchNorm"]
    arrays = folded(spec)
    before = {name: array.copy() for name, array in arrays.items()}
    rebase(spec, arrays, moments(spec))
    for name, array in before.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_what_overflowed_keeps_its_batch_norm() -> None:
    spec = SPECS["paper"]
    arrays = random_arrays(spec)
    endless = np.full_like(arrays["head.bn.mean"], np.inf)
    rebased = rebase(spec, arrays, {"head": Moments(endless, endless)})
    for name, array in rebased.items():
        tolerance = 1e-3 if name.endswith(("variance", "scale")) else 1e-6
        np.testing.assert_allclose(array, arrays[name], tolerance, tolerance)
