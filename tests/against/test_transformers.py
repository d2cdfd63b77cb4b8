"""transformers' MobileNetV2, randomised, against our editions: both directions, through files."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="transformers is not installed (extra: against)")

from transformers import MobileNetV2Config, MobileNetV2ForImageClassification, MobileNetV2Model

from mobilenetv2.checkpoints.dialects import configs
from mobilenetv2.checkpoints.exporter import write_checkpoint
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import SLIM, published
from mobilenetv2.spec.records import ModelConfig

Fixture = Callable[..., Any]
CASES = [
    (0.35, (64, 64), True),
    (0.35, (65, 97), True),
    (0.35, (64, 97), False),
    (1.0, (64, 97), True),
    (1.0, (65, 64), False),
    (1.4, (65, 64), True),
]
DIALECT = configs.HUGGING_FACE


def spec_of(width: float, size: tuple[int, int], tf_padding: bool, classes: int) -> NetworkSpec:
    rule = Numerics("same" if tf_padding else "symmetric", 1e-3, SLIM.momentum, "old")
    return published(
        "huggingface", width=width, size=size, classes=classes, background=None, dropout=0.2,
        numerics=rule,
    )  # fmt: skip


def original(width: float, tf_padding: bool, classes: int) -> Any:
    config = MobileNetV2Config(depth_multiplier=width, tf_padding=tf_padding, num_labels=classes)
    return MobileNetV2ForImageClassification(config).eval()


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.slow
@pytest.mark.parametrize(("width", "size", "tf_padding"), CASES)
def test_our_folder_in_their_model(
    width: float, size: tuple[int, int], tf_padding: bool, tmp_path: Path,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    spec, x = spec_of(width, size, tf_padding, 7), pictures(size)
    arrays = random_arrays(spec)
    write_checkpoint(ModelConfig.default(spec), arrays, "huggingface", tmp_path / "hub")
    model, report = MobileNetV2ForImageClassification.from_pretrained(
        tmp_path / "hub", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2)
    logits = model.eval()(pixels).logits.numpy()
    assert model.config.id2label[6] == "class 6"
    body: MobileNetV2Model = model.mobilenet_v2
    bare = body(pixels)
    for found in ours(spec, arrays, x):
        assert_same(found["logits"], logits)
        last = bare.last_hidden_state.permute(0, 2, 3, 1).numpy()
        assert_same(found["head"], last, logits=False)
        assert_same(found["features"], bare.pooler_output.numpy(), logits=False)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "size", "tf_padding"), CASES)
def test_their_folder_in_our_editions(
    width: float, size: tuple[int, int], tf_padding: bool, tmp_path: Path, randomise: Fixture,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    model, x = original(width, tf_padding, 7), pictures(size)
    randomise(model)
    model.save_pretrained(tmp_path / "hub")
    config, arrays = read_checkpoint(tmp_path / "hub")
    assert config.spec == spec_of(width, (224, 224), tf_padding, 7)
    assert config.labels.names[3] == "LABEL_3"
    logits = model(torch.from_numpy(x).permute(0, 3, 1, 2)).logits.numpy()
    for found in ours(config.spec.replace(size=size), arrays, x):
        assert_same(found["logits"], logits)


@pytest.mark.slow
@pytest.mark.parametrize("width", [0.35, 0.5, 0.55, 0.75, 1.0, 1.1, 1.3, 1.4])
def test_every_shape_at_every_width(width: float) -> None:
    """0.55 and 1.1 are where their rounding before the rounding gives another network."""
    spec = spec_of(width, (32, 32), True, 1001)
    with torch.device("meta"):
        state = original(width, True, 1001).state_dict()
    expected = {key.foreign: key.shape for key in DIALECT.keys(spec)}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert {name: shape for name, shape in found.items() if not DIALECT.ignores(name)} == expected
    if width in (0.55, 1.1):
        assert parameter_shapes(spec) != parameter_shapes(spec.replace(rounding="nearest"))


def test_what_the_published_spec_says_of_their_code_is_so() -> None:
    """Momentum and dropout as they stand there, which the import mends."""
    model = original(0.35, True, 1001)
    theirs = published("huggingface")
    norm = model.mobilenet_v2.conv_1x1.normalization
    assert (norm.eps, norm.momentum) == (theirs.numerics.epsilon, theirs.numerics.update_rate)
    assert model.dropout.p == theirs.dropout
    assert DIALECT.numerics == SLIM and DIALECT.bases[0].dropout == 0.2
