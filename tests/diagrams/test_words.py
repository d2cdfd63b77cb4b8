"""Words that a picture and its description share."""

from mobilenetv2.diagrams.words import (
    after_words,
    channels_words,
    dimensions,
    map_words,
    network_words,
    no_shortcut_words,
    shortcut_words,
    step_title,
    sum_activation,
)
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, StageSpec
from mobilenetv2.spec.published import published


def test_sizes_and_channels() -> None:
    assert dimensions((56, 28)) == "56\u00a0\u00d7\u00a028"
    assert channels_words(1) == "1 channel" and channels_words(1280) == "1,280 channels"
    assert map_words((7, 7), 320) == "7\u00a0\u00d7\u00a07, 320 channels"
    assert network_words(NetworkSpec(width=0.5)).startswith("MobileNetV2, width 0.5, 224")
    mixed = NetworkSpec(stages=(StageSpec(4, 8, 1, 1, "bottleneck"), StageSpec(6, 8, 1, 1)))
    assert network_words(mixed).startswith("Network of bottleneck and inverted blocks, ")


def test_convolutions() -> None:
    spec = NetworkSpec()
    expand, depthwise, project = resolve(spec).blocks[1].steps
    assert step_title(expand) == "Expand: 1\u00a0\u00d7\u00a01"
    assert after_words(expand) == "BatchNorm, ReLU6"
    assert step_title(depthwise) == "Depthwise: 3\u00a0\u00d7\u00a03"
    assert after_words(depthwise) == "stride 2, BatchNorm, ReLU6"
    assert after_words(project) == "BatchNorm, linear"
    relu = NetworkSpec(projection="relu")
    assert after_words(resolve(relu).blocks[1].steps[2]) == "BatchNorm, ReLU"
    article = resolve(published("article-torch"))
    assert after_words(article.blocks[0].steps[0]) == "bias, BatchNorm, ReLU6"


def test_shortcuts_and_why_there_is_none() -> None:
    paper = NetworkSpec()
    first, second, third, *_ = resolve(paper).blocks
    assert no_shortcut_words(first, paper) == "No shortcut: 32 channels become 16."
    assert no_shortcut_words(second, paper) == "No shortcut: the stride is 2."
    assert shortcut_words(third) == "of the input as it is"
    none = NetworkSpec(shortcut="none")
    assert no_shortcut_words(resolve(none).blocks[2], none) == (
        "No shortcut: this network has none."
    )
    v1 = published("mobilenet-v1")
    assert "separable blocks have none" in no_shortcut_words(resolve(v1).blocks[2], v1)
    resnet = NetworkSpec(stages=(StageSpec(4, 64, 2, 2, "bottleneck"),))
    first, second = resolve(resnet).blocks
    assert shortcut_words(first) == (
        "of the input, projected: 1\u00a0\u00d7\u00a01, stride 2, BatchNorm, linear"
    )
    assert sum_activation(second, resnet) == "ReLU6" and sum_activation(third, paper) is None
