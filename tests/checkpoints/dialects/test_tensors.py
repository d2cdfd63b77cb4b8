"""Dialects of named tensors: what they can express, and how their files are fed."""

import dataclasses

import pytest

from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.checkpoints.dialects.registry import TORCHVISION
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.published import published


def test_what_a_dialect_can_express() -> None:
    keras = published("keras", width=1.0, classes=10, size=(97, 64))
    for name in ("torchvision", "timm", "d-li14", "huggingface", "tf-slim", "tonylins"):
        found = registry.TENSORS[name].express(keras)
        assert found is not None and parameter_shapes(found) == parameter_shapes(keras), name
    small = published("small", size=32)
    for name in registry.TENSORS:  # fewer strides: the same shapes, another network
        assert registry.TENSORS[name].express(small) is None
    assert "stem_stride" in TORCHVISION.unlike(small)
    article = published("article-torch")
    assert TORCHVISION.express(article) is None and registry.TENSORS["article"].express(article)
    assert TORCHVISION.express(published("torchvision", head="scaled", width=0.5)) is not None


def test_what_is_computed_otherwise_is_named_unless_its_files_can_say_it() -> None:
    spec = published("keras")
    assert registry.TENSORS["tf-slim"].other_numerics(spec) == {}
    assert registry.TENSORS["timm"].other_numerics(spec) == {
        "padding": ("same", "symmetric"), "epsilon": (1e-3, 1e-5),
    }  # fmt: skip
    relu = spec.replace(numerics=dataclasses.replace(spec.numerics, activation="relu"))
    assert registry.TENSORS["keras"].other_numerics(relu) == {"activation": ("relu", "relu6")}
    assert registry.TENSORS["huggingface"].other_numerics(relu) == {}


def test_preprocessing_is_the_publishers_at_the_networks_size_and_channels() -> None:
    spec = published("huggingface", size=(96, 128))
    assert registry.TENSORS["huggingface"].preprocessing(spec).resize == (128, 160)
    grey = published("timm", size=64, input_channels=1)
    record = registry.TENSORS["timm"].preprocessing(grey)
    assert (record.channels, record.size, record.interpolation) == (1, (64, 64), "bicubic")
    assert record.mean == pytest.approx((114.495,))
    slim = registry.TENSORS["tf-slim"].preprocessing(published("tf-slim", input_channels=1))
    assert (slim.mean, slim.std) == ((127.5,), (127.5,))
