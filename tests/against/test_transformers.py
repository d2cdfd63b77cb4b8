"""transformers' MobileNetV2, randomised, against our editions: both directions."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="transformers is not installed (extra: against)")

from transformers import MobileNetV2Config, MobileNetV2ForImageClassification, MobileNetV2Model

from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.weights.canonical import Arrays, random_arrays

Fixture = Callable[..., Any]
CASES = [
    (0.35, (64, 64), True),
    (0.35, (65, 97), True),
    (0.35, (64, 97), False),
    (1.0, (64, 97), True),
    (1.0, (65, 64), False),
    (1.4, (65, 64), True),
]
BATCH_NORM = {
    "scale": "weight",
    "shift": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
STEM = {
    "stem": "first_conv",
    "blocks.0.depthwise": "conv_3x3",
    "blocks.0.project": "reduce_1x1",
}
BLOCK = {"expand": "expand_1x1", "depthwise": "conv_3x3", "project": "reduce_1x1"}


def key(name: str) -> str:
    """Their name of a canonical tensor."""
    owner, kind, part = name.rsplit(".", 2) if name.count(".") > 1 else ("", "", name)
    if not owner:
        return name  # classifier.weight, classifier.bias
    if owner in STEM:
        place = f"conv_stem.{STEM[owner]}"
    elif owner == "head":
        place = "conv_1x1"
    else:
        _, index, role = owner.split(".")
        place = f"layer.{int(index) - 1}.{BLOCK[role]}"
    end = f"normalization.{BATCH_NORM[part]}" if kind == "bn" else f"convolution.{part}"
    return f"mobilenet_v2.{place}.{end}"


def spec_of(width: float, size: tuple[int, int], tf_padding: bool, classes: int) -> NetworkSpec:
    spec = published("huggingface", width=width, size=size, classes=classes, background=None)
    rule = "same" if tf_padding else "symmetric"
    return spec.replace(numerics=_with_padding(spec, rule))


def _with_padding(spec: NetworkSpec, rule: Any) -> Any:
    import dataclasses

    return dataclasses.replace(spec.numerics, padding=rule)


def original(width: float, tf_padding: bool, classes: int) -> Any:
    config = MobileNetV2Config(depth_multiplier=width, tf_padding=tf_padding, num_labels=classes)
    return MobileNetV2ForImageClassification(config).eval()


def randomise(model: Any) -> None:
    """Numbers in the model's own order, far from the identity."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var") or name.endswith("normalization.weight"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.ndim > 1:
                fan_in = tensor[0].numel()
                tensor.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            elif tensor.ndim == 1:
                tensor.normal_(0, 0.3, generator=generator)


def dump(model: Any, spec: NetworkSpec) -> Arrays:
    state = model.state_dict()
    return {name: state[key(name)].numpy().copy() for name in parameter_shapes(spec)}


def load(model: Any, arrays: Arrays) -> None:
    state = {key(name): torch.tensor(array) for name, array in arrays.items()}
    found = model.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in found.missing_keys)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.slow
@pytest.mark.parametrize("classes", [7, 1001])
@pytest.mark.parametrize(("width", "size", "tf_padding"), CASES)
def test_our_weights_in_their_model(
    width: float, size: tuple[int, int], tf_padding: bool, classes: int,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    spec, x = spec_of(width, size, tf_padding, classes), pictures(size)
    arrays, model = random_arrays(spec), original(width, tf_padding, classes)
    load(model, arrays)
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2)
    logits = model(pixels).logits.numpy()
    body: MobileNetV2Model = model.mobilenet_v2
    bare = body(pixels)
    for found in ours(spec, arrays, x):
        assert_same(found["logits"], logits)
        last = bare.last_hidden_state.permute(0, 2, 3, 1).numpy()
        assert_same(found["head"], last, logits=False)
        assert_same(found["features"], bare.pooler_output.numpy(), logits=False)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "size", "tf_padding"), CASES)
def test_their_weights_in_our_editions(
    width: float, size: tuple[int, int], tf_padding: bool,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    spec, x = spec_of(width, size, tf_padding, 7), pictures(size)
    model = original(width, tf_padding, 7)
    randomise(model)
    logits = model(torch.from_numpy(x).permute(0, 3, 1, 2)).logits.numpy()
    for found in ours(spec, dump(model, spec), x):
        assert_same(found["logits"], logits)


@pytest.mark.slow
@pytest.mark.parametrize("width", [0.35, 0.5, 0.55, 0.75, 1.0, 1.1, 1.3, 1.4])
def test_every_shape_at_every_width(width: float) -> None:
    """0.55 and 1.1 are where their rounding before the rounding gives another network."""
    spec = spec_of(width, (32, 32), True, 1001)
    with torch.device("meta"):
        state = original(width, True, 1001).state_dict()
    found = {name: tuple(state[key(name)].shape) for name in parameter_shapes(spec)}
    assert found == parameter_shapes(spec)
    assert len(state) == len(found) + sum(name.endswith(".bn.mean") for name in found)
    if width in (0.55, 1.1):
        assert found != parameter_shapes(spec.replace(rounding="nearest"))


def test_the_numerics_are_those_that_the_published_spec_names() -> None:
    model = original(0.35, True, 1001)
    numerics = published("huggingface").numerics
    norm = model.mobilenet_v2.conv_1x1.normalization
    assert (norm.eps, norm.momentum) == (numerics.epsilon, numerics.update_rate)
    assert model.dropout.p == published("huggingface").dropout
