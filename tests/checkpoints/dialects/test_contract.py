"""What every dialect that names its tensors keeps: names, layouts, numerics, there and back."""

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.checkpoints.dialects.tables import PYTORCH
from mobilenetv2.checkpoints.dialects.tensors import COMPUTED, COUNTER, TensorDialect
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import ModelConfig

every = pytest.mark.parametrize("dialect", registry.TENSORS.values(), ids=lambda one: one.name)

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


@every
def test_the_names_are_those_of_the_fact_sheet(dialect: TensorDialect) -> None:
    found = {key.canonical: key.foreign for key in dialect.keys(dialect.bases[0])}
    facts = FACTS[dialect.name]
    assert {canonical: found[canonical] for canonical in facts} == facts


@every
def test_every_tensor_has_a_name_of_its_own_and_the_shape_of_its_layout(
    dialect: TensorDialect,
) -> None:
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


@every
def test_decoding_undoes_encoding_bit_for_bit(dialect: TensorDialect) -> None:
    spec = dialect.bases[0].replace(width=0.35, classes=7, background=None)
    arrays = random_arrays(spec)
    foreign = dialect.encode(spec, arrays)
    counters = {key for key in foreign if key.endswith(COUNTER)}
    assert bool(counters) == (dialect.words == PYTORCH)
    assert all(dialect.ignores(key) for key in counters)
    back = dialect.decode(spec, foreign)
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[key], arrays[key]) for key in arrays)


@every
def test_its_names_are_its_alone(dialect: TensorDialect) -> None:
    spec = dialect.bases[0].replace(width=0.35, classes=7, background=None)
    container = Container(dialect.encode(spec, random_arrays(spec)), {"format": "pytorch"})
    assert registry.identify(container, "auto").dialect is dialect
    opened = dialect.open(container)
    assert opened is not None and not any(dialect.ignores(name) for name in opened.foreign)
    assert not [one.name for one in registry.TENSORS.values() if one.open(container)][1:]


@every
def test_a_network_of_its_own_is_expressed_without_a_remark(dialect: TensorDialect) -> None:
    usual = dialect.bases[0].replace(width=0.75, classes=7, background=None)
    config = ModelConfig.default(usual)
    fitting = ModelConfig(usual, dialect.preprocessing(usual), config.labels)
    found = dialect.express(usual)
    assert found is not None and parameter_shapes(found) == parameter_shapes(usual)
    assert dialect.other_numerics(usual) == {}
    said = " ".join(dialect.remarks(fitting))
    assert "pixels" not in said and "dropout" not in said


@every
@pytest.mark.parametrize(
    "classifier",
    [
        ClassifierSpec("max"), ClassifierSpec(hidden=(HiddenSpec(9, bias=False),)),
        ClassifierSpec(bias=False),
        ClassifierSpec(outputs="logit"),
    ],
)  # fmt: skip
def test_a_head_that_its_files_cannot_say_is_not_written(
    dialect: TensorDialect, classifier: ClassifierSpec
) -> None:
    spec = dialect.bases[0].replace(classes=2, background=None, classifier=classifier)
    assert dialect.express(spec) is None and "classifier" in dialect.unlike(spec)
    hidden = [key for key in dialect.keys(spec) if key.canonical.startswith("hidden.")]
    assert all(key.foreign.startswith("no ") for key in hidden)


@every
def test_what_the_outputs_mean_is_kept_beside_the_file_or_refused(dialect: TensorDialect) -> None:
    sigmoid = ClassifierSpec(outputs="sigmoid")
    spec = dialect.bases[0].replace(classes=3, background=None, classifier=sigmoid)
    found = dialect.express(spec)
    assert (found is None) == dialect.says_all
    assert found is None or found.classifier == sigmoid
    said = " ".join(dialect.remarks(ModelConfig.default(spec)))
    assert "sigmoid" in said


def test_every_dialect_says_which_numerics_it_has() -> None:
    groups = {
        name: tuple(getattr(dialect.numerics, field) for field in COMPUTED)
        for name, dialect in registry.TENSORS.items()
    }
    pytorch, tensorflow = ("symmetric", 1e-5, "relu6"), ("same", 1e-3, "relu6")
    assert groups == {
        "torchvision": pytorch, "timm": pytorch, "tonylins": pytorch, "d-li14": pytorch,
        "article": pytorch, "keras": tensorflow, "tf-slim": tensorflow, "huggingface": tensorflow,
    }  # fmt: skip
    assert all(family in PUBLISHED for one in registry.TENSORS.values() for family in one.families)
