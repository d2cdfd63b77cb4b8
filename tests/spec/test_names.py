"""Canonical names and shapes."""

import math

import pytest

from mobilenetv2.spec import count
from mobilenetv2.spec.names import intermediate_names, is_statistic, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED, published


def test_names_are_the_papers_words_in_the_order_in_which_the_network_runs() -> None:
    names = list(parameter_shapes(NetworkSpec()))
    assert names[:5] == [
        "stem.conv.weight", "stem.bn.scale", "stem.bn.shift", "stem.bn.mean", "stem.bn.variance",
    ]  # fmt: skip
    assert names[5] == "blocks.0.depthwise.conv.weight"
    assert names[-2:] == ["classifier.weight", "classifier.bias"]


def test_shapes_are_pytorchs() -> None:
    shapes = parameter_shapes(NetworkSpec())
    assert shapes["stem.conv.weight"] == (32, 3, 3, 3)
    assert shapes["blocks.1.expand.conv.weight"] == (96, 16, 1, 1)
    assert shapes["blocks.1.depthwise.conv.weight"] == (96, 1, 3, 3)
    assert shapes["blocks.1.project.conv.weight"] == (24, 96, 1, 1)
    assert shapes["blocks.1.project.bn.variance"] == (24,)
    assert shapes["classifier.weight"] == (1000, 1280)


def test_the_articles_variant_has_biases_and_projection_shortcuts() -> None:
    shapes = parameter_shapes(published("article-torch"))
    assert shapes["blocks.0.shortcut.conv.weight"] == (16, 32, 1, 1)
    assert shapes["blocks.0.expand.conv.bias"] == (32,)
    assert "blocks.1.shortcut.conv.weight" not in shapes  # stride 2


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_counts_agree(name: str) -> None:
    spec = published(name)
    shapes = parameter_shapes(spec)
    trained = sum(math.prod(shape) for key, shape in shapes.items() if not is_statistic(key))
    assert trained == count.parameters(spec)


def test_statistics_are_means_and_variances_only() -> None:
    found = {name.rpartition(".")[2] for name in parameter_shapes(NetworkSpec())
             if is_statistic(name)}  # fmt: skip
    assert found == {"mean", "variance"}


def test_intermediates_are_every_convolution_every_block_features_and_logits() -> None:
    names = intermediate_names(NetworkSpec())
    assert names[:4] == ("stem", "blocks.0.depthwise", "blocks.0.project", "blocks.0")
    assert names[-3:] == ("head", "features", "logits")
    assert len(names) == 52 + 17 + 2 == len(set(names))


def test_keras_34112_untrained_numbers_are_the_statistics() -> None:
    shapes = parameter_shapes(NetworkSpec())
    assert sum(math.prod(shapes[key]) for key in shapes if is_statistic(key)) == 34_112


def test_intermediates_name_the_expansion_before_and_the_shortcut_after_the_projection() -> None:
    names = intermediate_names(published("article-torch"))
    assert names[1:6] == (
        "blocks.0.expand", "blocks.0.depthwise", "blocks.0.project", "blocks.0.shortcut",
        "blocks.0",
    )  # fmt: skip
