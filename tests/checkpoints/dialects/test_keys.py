"""Key tables: one foreign name for each tensor, none twice, as the fact sheet and libraries say."""

import pytest

from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published

FACTS = {
    "torchvision": {
        "stem.bn.mean": "features.0.1.running_mean",
        "blocks.0.depthwise.conv.weight": "features.1.conv.0.0.weight",
        "blocks.0.project.bn.scale": "features.1.conv.2.weight",
        "blocks.1.expand.bn.shift": "features.2.conv.0.1.bias",
        "blocks.1.project.conv.weight": "features.2.conv.2.weight",
        "head.conv.weight": "features.18.0.weight",
        "classifier.bias": "classifier.1.bias",
    },
    "timm": {
        "stem.bn.scale": "bn1.weight",
        "blocks.0.project.conv.weight": "blocks.0.0.conv_pw.weight",
        "blocks.2.depthwise.bn.variance": "blocks.1.1.bn2.running_var",
        "blocks.16.project.conv.weight": "blocks.6.0.conv_pwl.weight",
        "head.bn.scale": "bn2.weight",
    },
    "keras": {
        "stem.bn.scale": "bn_Conv1/gamma",
        "blocks.0.depthwise.conv.weight": "expanded_conv_depthwise/kernel",
        "blocks.1.expand.bn.mean": "block_1_expand_BN/moving_mean",
        "head.bn.variance": "Conv_1_bn/moving_variance",
        "classifier.weight": "predictions/kernel",
    },
    "tf-slim": {
        "stem.conv.weight": "MobilenetV2/Conv/weights",
        "blocks.0.depthwise.conv.weight": "MobilenetV2/expanded_conv/depthwise/depthwise_weights",
        "blocks.1.expand.bn.shift": "MobilenetV2/expanded_conv_1/expand/BatchNorm/beta",
        "classifier.bias": "MobilenetV2/Logits/Conv2d_1c_1x1/biases",
    },
    "huggingface": {
        "stem.conv.weight": "mobilenet_v2.conv_stem.first_conv.convolution.weight",
        "blocks.0.project.bn.mean": "mobilenet_v2.conv_stem.reduce_1x1.normalization.running_mean",
        "blocks.1.expand.conv.weight": "mobilenet_v2.layer.0.expand_1x1.convolution.weight",
        "head.conv.weight": "mobilenet_v2.conv_1x1.convolution.weight",
    },
    "tonylins": {
        "blocks.0.project.conv.weight": "features.1.conv.3.weight",
        "blocks.1.depthwise.bn.shift": "features.2.conv.4.bias",
        "blocks.1.project.conv.weight": "features.2.conv.6.weight",
        "head.bn.mean": "features.18.1.running_mean",
        "classifier.weight": "classifier.weight",
    },
    "d-li14": {"head.conv.weight": "conv.0.weight", "head.bn.shift": "conv.1.bias"},
    "article": {
        "blocks.0.expand.conv.bias": "layer1.0.bottleneck.0.0.bias",
        "blocks.2.shortcut.bn.mean": "layer2.1.shortcut.1.running_mean",
        "classifier.weight": "linear.weight",
    },
}


@pytest.mark.parametrize("name", registry.DIALECTS)
def test_the_names_are_those_of_the_fact_sheet(name: str) -> None:
    dialect = registry.DIALECTS[name]
    found = {key.canonical: key.foreign for key in dialect.keys(dialect.bases[0])}
    assert {canonical: found[canonical] for canonical in FACTS[name]} == FACTS[name]


@pytest.mark.parametrize("name", registry.DIALECTS)
def test_every_tensor_has_a_name_of_its_own_and_the_shape_of_its_layout(name: str) -> None:
    dialect = registry.DIALECTS[name]
    for spec in dialect.bases:
        spec = spec.replace(width=0.5, classes=7)
        keys, shapes = dialect.keys(spec), parameter_shapes(spec)
        assert [key.canonical for key in keys] == list(shapes)
        assert len({key.foreign for key in keys}) == len(keys)
        assert not any(key.foreign.startswith("no ") for key in keys)
        for key in keys:
            shape = shapes[key.canonical]
            assert key.shape == (key.layout.shape(shape) if key.layout else shape)
        assert set(dialect.signature) <= {key.foreign for key in keys}


def test_a_part_that_an_implementation_lacks_has_a_name_that_no_file_has() -> None:
    spec = published("article-torch", width=0.35)
    missing = [k for k in registry.find("torchvision").keys(spec) if k.foreign.startswith("no ")]
    assert {key.canonical.split(".")[2] for key in missing} == {"expand", "shortcut"}


def test_deeper_networks_are_counted_on() -> None:
    spec: NetworkSpec = published("timm-120d")
    last = {key.canonical: key.foreign for key in registry.find("torchvision").keys(spec)}
    assert last["head.conv.weight"] == "features.27.0.weight"
    places = {key.canonical: key.foreign for key in registry.find("timm").keys(spec)}
    assert places["blocks.25.project.conv.weight"] == "blocks.6.0.conv_pwl.weight"
