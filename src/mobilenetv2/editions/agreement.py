"""Comparison of a network with what would be saved of it.

A user can change a network in ways that no config records: another activation, a stride, a hook,
layers in front of it. Its config and arrays then describe another function. One pass of random
images shows the difference before anything is written.
"""

import contextlib

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as reference
from mobilenetv2.editions.edition import Edition, Evaluated, Network
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import ModelConfig

LARGE = 128
"""Side from which one image is enough, so that the comparison stays fast."""
CAUSES = (
    "usual causes are another activation, stride, padding or epsilon, a hook, and layers before "
    "the network, such as Rescaling, which belong into the preprocessing: "
    "Preprocessing(mean=..., std=...)"
)


def require_agreement(
    edition: Edition, network: Network, config: ModelConfig, arrays: Arrays
) -> None:
    """Raise if a network computes something else than its config and arrays say.

    Random images pass through the network in evaluation mode, and through the NumPy edition of the
    config and arrays. The network stays as it is.

    Args:
        edition: edition of the network.
        network: the network.
        config: its config.
        arrays: its weights, canonical.

    Raises:
        WeightsError: the arrays do not fit the config, or are not finite.
        MobileNetV2Error: the outputs differ by more than rounding, or the network fails.
    """
    check_arrays(config.spec, arrays, "this network")
    found = _evaluated(edition, network, config)
    plain = reference.build(config)
    reference.load(plain, arrays)
    with np.errstate(all="ignore"):
        tensors = reference.intermediates(plain, found.images)
        expected = tensors.pop("logits")
        # The sum of the absolute summands of a logit: its own rounding error is a part of them.
        inputs, weight = [*tensors.values()][-1], plain.arrays["classifier.weight"]
        bias = plain.arrays.get("classifier.bias", np.zeros(len(weight)))
        summands = np.abs(inputs) @ np.abs(weight).T + np.abs(bias)
        allowed = found.tolerance * (np.abs(expected).max() + 0.01 * summands.max())
        if found.ending == "softmax":
            expected = expected - expected.max(1, keepdims=True)
            expected = np.exp(expected) / np.exp(expected).sum(1, keepdims=True)
        elif found.ending == "sigmoid":
            expected = 1 / (1 + np.exp(-expected))
        given = found.outputs
        if given.shape != expected.shape:
            raise _other(f"its outputs have the shape {given.shape}, not {expected.shape}")
        if found.ending:
            expected, given = _logarithms(expected), _logarithms(given)
        difference = _difference(given, expected)
    if not difference <= max(allowed, found.least):
        share = difference / (np.abs(expected).max() or np.inf)
        raise _other(
            f"on random images, its outputs differ by up to {difference:.3g}, which is "
            f"{share:.2%} of the largest"
        )


def _evaluated(edition: Edition, network: Network, config: ModelConfig) -> Evaluated:
    """Return a pass of small images, or of the config's size if the network needs that."""
    stride = np.prod([layer.stride for layer in resolve(config.spec).convolutions], dtype=int)
    small = (max(32, min(2 * int(stride), LARGE)),) * 2

    def draw(size: Size) -> NDArray[np.float32]:
        count = 2 if max(size) < LARGE else 1
        shape = (count, *size, config.spec.input_channels)
        drawn = np.random.default_rng(0).standard_normal(shape)
        # The last image is beyond photos, so that it reaches the bound of ReLU6.
        drawn[-1] *= 4
        return drawn.astype(np.float32)

    with contextlib.suppress(Exception):  # any of the user's own layers
        return edition.evaluate(network, draw, small)
    try:
        return edition.evaluate(network, draw, config.spec.size)
    except Exception as error:  # as above
        reason = str(error).strip().partition("\n")[0]
        raise MobileNetV2Error(f"this network fails on random images: {reason}") from error


def _logarithms(probabilities: NDArray) -> NDArray:
    """Return logarithms of probabilities, in which small ones count as much as in logits."""
    return np.asarray(np.log(np.clip(probabilities, 1e-9, None)))


def _difference(given: NDArray, expected: NDArray) -> float:
    """Return the largest absolute difference; values that are not finite on both sides agree."""
    both = np.isfinite(given) | np.isfinite(expected)
    return float(np.abs(given - expected)[both].max(initial=0))


def _other(how: str) -> MobileNetV2Error:
    return MobileNetV2Error(
        f"this network computes something else than the MobileNetV2 of its config and weights, "
        f"which is all that can be saved or converted: {how}; {CAUSES}"
    )
