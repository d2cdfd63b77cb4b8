"""Keras's names in every age of its files, and what a Keras model says of its network."""

import copy
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.description import Description, ImportOptions
from mobilenetv2.checkpoints.dialects.keras import (
    DIALECT,
    by_layer,
    checkpoint_of,
    config_in,
    describe,
    inside,
    layer_names,
    named,
    numbered_layers,
    open_model,
    usual_names,
)
from mobilenetv2.checkpoints.graphs.keras.structure import follow
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.blocks import Convolution, resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published

SPEC = published("keras", width=0.35)
ONE = np.zeros(1, np.float32)


def test_one_form_for_every_age() -> None:
    old = {
        "Conv1/kernel:0": ONE, "expanded_conv_depthwise/depthwise_kernel:0": ONE,
        "block_1_expand_BN/block_1_expand_BN/gamma:0": ONE, "bn_Conv1/bn_Conv1_1/beta:0": ONE,
        "predictions/bias": ONE, "step": ONE,
    }  # fmt: skip
    assert set(layer_names(old)) == {
        "Conv1/kernel", "expanded_conv_depthwise/kernel", "block_1_expand_BN/gamma",
        "bn_Conv1/beta", "predictions/bias", "step",
    }  # fmt: skip


def test_a_model_inside_the_model_is_one_layer_of_the_old_format() -> None:
    old = {
        "mobilenetv2/Conv1/kernel:0": ONE, "mobilenetv2/Conv_1/kernel:0": ONE,
        "mobilenetv2/bn_Conv1/gamma:0": ONE, "mobilenetv2/Conv_1_bn/gamma:0": ONE,
        "dense_4/model/dense_4/bias:0": ONE,
    }  # fmt: skip
    assert set(layer_names(old)) == {
        "Conv1/kernel", "Conv_1/kernel", "bn_Conv1/gamma", "Conv_1_bn/gamma", "dense_4/bias",
    }  # fmt: skip


def test_two_names_that_would_become_one_are_both_kept() -> None:
    old = {"Conv1/kernel:0": ONE, "Conv1/kernel": ONE + 1, "layers/x/vars/0": ONE}
    assert len(layer_names(old)) == 3


def test_keras_3_counts_layers_by_their_class() -> None:
    layers = numbered_layers(SPEC)
    assert layers["layers/conv2d"] == "Conv1"
    assert layers["layers/depthwise_conv2d"] == "expanded_conv_depthwise"
    assert layers["layers/conv2d_1"] == "expanded_conv_project"
    assert layers["layers/batch_normalization_51"] == "Conv_1_bn"
    assert layers["layers/dense"] == "predictions"
    assert len(layers) == 52 + 52 + 1


def test_numbered_variables_get_their_names() -> None:
    foreign = {
        "layers/conv2d_1/vars/0": ONE, "layers/batch_normalization/vars/3": ONE,
        "layers/unbiased_batch_normalization_4/vars/0": ONE, "layers/dense/vars/1": ONE,
        "layers/dense/vars/9": ONE, "optimizer/vars/0": ONE, "layers/dense_1/vars/0": ONE,
        "layers/functional/layers/conv2d/vars/0": ONE,
    }  # fmt: skip
    said = {"layers/unbiased_batch_normalization_4/vars": "block_1_depthwise_BN"}
    assert set(named(foreign, said, DIALECT.bases[0])) == {
        "expanded_conv_project/kernel", "bn_Conv1/moving_variance", "block_1_depthwise_BN/gamma",
        "predictions/bias", "layers/dense/vars/9", "optimizer/vars/0", "dense_1/kernel",
        "Conv1/kernel",
    }  # fmt: skip


def numbered() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Keras 3's names for every array of a network, and a name of its own for every layer."""
    layers = by_layer(DIALECT.encode(SPEC, random_arrays(SPEC)))
    folders = numbered_layers(SPEC)
    names = {f"{folder}/vars": f"my_{layer}" for folder, layer in folders.items()}
    arrays = {
        f"{folder}/vars/{index}": array
        for folder, layer in folders.items()
        for index, array in enumerate(layers[layer].values())
    }
    return dict(sorted(arrays.items())), names  # as HDF5 lists them


@pytest.mark.parametrize("ordered", [True, False])
def test_keras_3s_layers_of_other_names(ordered: bool) -> None:
    """Known by their place where the config says it, else by the number of their class."""
    arrays, names = numbered()
    order = [f"my_{layer}" for layer in by_layer(DIALECT.encode(SPEC, random_arrays(SPEC)))]
    found = layer_names(named(arrays, names, SPEC, order if ordered else ()))
    expected = DIALECT.encode(SPEC, random_arrays(SPEC))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_arrays_by_layer_keep_the_order_of_the_network() -> None:
    keys = [key.foreign for key in DIALECT.keys(SPEC)]
    found = by_layer(dict.fromkeys(keys, ONE))
    assert list(found)[:4] == [
        "Conv1", "bn_Conv1", "expanded_conv_depthwise", "expanded_conv_depthwise_BN",
    ]  # fmt: skip
    assert list(found["bn_Conv1"]) == ["gamma", "beta", "moving_mean", "moving_variance"]


# ---------------------------------------------------------------- other names than today's

SPECS = (
    published("keras", width=0.35, classes=3),
    published("article-keras", width=0.35, classes=3),  # its first block has an expansion
    published("small", width=0.1, classes=3),
)
ARRAYS = [DIALECT.encode(spec, random_arrays(spec)) for spec in SPECS]


def renamed(arrays: dict[str, NDArray], prefix: str = "l") -> dict[str, NDArray]:
    """Every layer under a number of its own."""
    layers = list(dict.fromkeys(name.split("/")[0] for name in arrays))
    return {
        f"{prefix}{layers.index(name.split('/')[0])}/{name.split('/')[1]}": array
        for name, array in arrays.items()
    }


@pytest.mark.parametrize("arrays", ARRAYS)
def test_every_layer_is_known_by_its_place(arrays: dict[str, NDArray]) -> None:
    names = usual_names(renamed(arrays))
    assert list(names.values())[1:] == [
        layer for layer in dict.fromkeys(name.split("/")[0] for name in arrays)
        if layer != "predictions"
    ]  # fmt: skip
    assert next(iter(names.values())) == "predictions"


def test_layers_of_todays_names_keep_them_whatever_their_order() -> None:
    shuffled = dict(sorted(ARRAYS[0].items()))
    assert usual_names(shuffled) == {}


@pytest.mark.parametrize("name", ["Logits", "dense", "my_head"])
def test_the_only_linear_layer_is_the_classifier(name: str) -> None:
    arrays = {re.sub(r"^predictions/", f"{name}/", key): a for key, a in ARRAYS[0].items()}
    assert usual_names(arrays) == {name: "predictions"}
    assert usual_names(arrays | {"another/kernel": np.zeros((3, 2), np.float32)}) == {}
    # Nothing takes the place of what is there.
    assert usual_names(arrays | {"predictions/bias": np.zeros(3, np.float32)}) == {}


@pytest.mark.parametrize("missing", ["l1/gamma", "l4/kernel", "l5/gamma", "l102/kernel"])
def test_other_layers_keep_their_names(missing: str) -> None:
    arrays = renamed(ARRAYS[0])
    layer = missing.split("/")[0]
    less = {name: array for name, array in arrays.items() if name.split("/")[0] != layer}
    assert list(usual_names(less)) == ["l104"]  # the classifier


@given(st.dictionaries(
    st.from_regex(r"(a|b|Conv1|predictions)?(/(kernel|gamma|beta|x))?", fullmatch=True),
    st.sampled_from([(), (2,), (2, 3), (3, 3, 1, 2), (1, 1, 2, 2)]), max_size=8,
))  # fmt: skip
def test_any_names_give_different_names(shapes: dict[str, tuple[int, ...]]) -> None:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    names = usual_names(arrays)
    assert len(set(names.values())) == len(names)
    layers = {name.split("/")[0] for name in arrays}
    assert names.keys() <= layers and not set(names.values()) & (layers - names.keys())


# ---------------------------------------------------------------- a model's config

MODEL = published("keras", width=0.35, size=(96, 64), classes=7, dropout=0.3)
Row = dict[str, Any]
Rows = list[Row]


class Written:
    """The layers of a spec as Keras 2 lists them, every padding written out as the spec has it."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.rows: Rows = []
        self.spec, numerics = spec, spec.numerics
        self.norm = {"epsilon": numerics.epsilon, "momentum": numerics.momentum, "axis": [3]}
        x = self.add("InputLayer", "picture", batch_input_shape=[None, *spec.size, 3])
        network = resolve(spec)
        x = self.convolution(x, network.stem)
        for block in network.blocks:
            y = x
            for step in block.steps:
                y = self.convolution(y, step)
            x = self.add("Add", f"{block.index}_add", x, y) if block.residual else y
        assert network.head is not None
        x = self.convolution(x, network.head)
        x = self.add("GlobalAveragePooling2D", "pool", x)
        x = self.add("Dropout", "dropout", x, rate=spec.dropout)
        self.add("Dense", "predictions", x, units=spec.classes, activation="softmax")

    def add(self, kind: str, name: str, *inputs: str, **more: Any) -> str:
        nodes = [[[one, 0, 0, {}] for one in inputs]] if inputs else []
        self.rows.append(
            {"class_name": kind, "config": {"name": name, **more}, "inbound_nodes": nodes}
        )
        return name

    def convolution(self, x: str, layer: Convolution) -> str:
        depthwise, rule = layer.role == "depthwise", "same"
        if layer.stride == 2:
            x, rule = self.add("ZeroPadding2D", f"{layer.name}_pad", x, padding=layer.padding), ""
            self.rows[-1]["config"]["padding"] = [list(pair) for pair in layer.padding]
        more: Row = {"kernel_size": layer.kernel, "strides": layer.stride}
        more |= {"padding": rule or "valid", "dilation_rate": [1, 1], "use_bias": layer.bias}
        more |= {"depth_multiplier": 1} if depthwise else {"filters": layer.out_channels}
        x = self.add("DepthwiseConv2D" if depthwise else "Conv2D", layer.name, x, **more)
        x = self.add("BatchNormalization", f"{layer.name}_BN", x, **self.norm)
        return x if layer.linear else self.add("ReLU", f"{layer.name}_relu", x, max_value=6.0)


ROWS = Written(MODEL).rows


def config(rows: Rows = ROWS) -> dict[str, Any]:
    return {"class_name": "Model", "config": {"layers": copy.deepcopy(rows)}}


def changed(kind: str, place: int = 0, **settings: Any) -> dict[str, Any]:
    found = config()
    [row] = [row for row in found["config"]["layers"] if row["class_name"] == kind][place:][:1]
    row["config"].update(settings)
    return found


def read(found: dict[str, Any], **options: Any) -> NetworkSpec:
    """The network of a model, whose arrays are zeros."""
    checkpoint = checkpoint_of(DIALECT, follow(found))
    return checkpoint.infer(checkpoint.inside, ImportOptions(**options))


def test_a_config_says_everything() -> None:
    model = follow(config())
    said = describe(model)
    assert said.spec == MODEL == read(config())
    assert (said.spec.numerics, said.spec.dropout, model.size) == (MODEL.numerics, 0.3, (96, 64))
    assert said.normalisation is None and not said.preprocessing_from
    assert model.names[0] == "picture" and model.names[-1] == "predictions"


@pytest.mark.parametrize(
    "spec",
    [
        published("small", width=0.35),
        published("torchvision", width=0.35, size=(96, 65)),
        published("torchvision", width=0.35, size=(65, 97)),
        published("keras", width=0.35, size=(65, 97)),
        *(published("keras", width=width, size=64) for width in (0.8, 0.85, 0.88, 0.96)),
        published("article-keras", width=0.35, size=64),
    ],
)
def test_other_networks(spec: NetworkSpec) -> None:
    found = read(config(Written(spec).rows))
    numerics = spec.numerics
    assert found.numerics.padding == numerics.padding and found.numerics.epsilon == numerics.epsilon
    assert found.replace(numerics=numerics, rounding=spec.rounding) == spec
    assert read(config(Written(spec).rows), width=spec.width) == found


def test_an_impossible_momentum_is_refused() -> None:
    found = config()
    for row in found["config"]["layers"]:
        if row["class_name"] == "BatchNormalization":
            row["config"]["momentum"] = 1.5
    with pytest.raises(DialectError, match=r"BatchNorm momentum 1\.5"):
        read(found)


def test_an_open_size() -> None:
    """Keras pads for even sizes then; so does the spec's usual size."""
    found = changed("InputLayer", batch_input_shape=[None, None, None, 3])
    assert follow(found).size is None
    assert read(found) == MODEL.replace(size=(224, 224))
    assert read(found, size=(160, 96)) == MODEL.replace(size=(160, 96))


def test_a_width_that_is_asked_for() -> None:
    assert read(config(), width=0.35) == MODEL
    with pytest.raises(DialectError, match="width 1 was requested"):
        read(config(), width=1.0)


def test_strides_of_its_own_with_a_width() -> None:
    spec = published("small", width=0.35, classes=7)
    found = read(config(Written(spec).rows), width=0.35)
    assert (found.stem_stride, found.stages) == (spec.stem_stride, spec.stages)


@pytest.mark.parametrize(("scale", "offset", "expected"), [
    (1 / 255, 0, (0.0, 255.0)), (1 / 127.5, -1, (127.5, 127.5)), (1, -100, (100.0, 1.0)),
])  # fmt: skip
def test_a_rescaling_is_preprocessing(
    scale: float, offset: float, expected: tuple[float, float]
) -> None:
    found = config()
    rows = found["config"]["layers"]
    rows[1]["inbound_nodes"] = [[["rescaling", 0, 0, {}]]]
    nodes = [[["picture", 0, 0, {}]]]
    rows.insert(1, {"class_name": "Rescaling", "inbound_nodes": nodes,
                    "config": {"name": "rescaling", "scale": scale, "offset": offset}})  # fmt: skip
    said = describe(follow(found))
    assert said.normalisation == (expected[:1] * 3, expected[1:] * 3)
    assert "rescaling" in said.preprocessing_from
    for bad in (0, -1, float("inf"), float("nan")):
        rows[1]["config"]["scale"] = bad
        with pytest.raises(DialectError, match=r"scaling is by .*rescaling \(Rescaling\)"):
            read(found)


def without(name: str, instead: str) -> dict[str, Any]:
    found = config()
    rows = [row for row in found["config"]["layers"] if row["config"]["name"] != name]
    for row in rows:
        for node in row["inbound_nodes"]:
            node[:] = [[instead if one[0] == name else one[0], *one[1:]] for one in node]
    return {"config": {"layers": rows}}


def swish() -> dict[str, Any]:
    found = config()
    for row in found["config"]["layers"]:
        if row["class_name"] == "ReLU":
            row["class_name"], row["config"]["activation"] = "Activation", "swish"
    return found


def relus(bound: float | None) -> dict[str, Any]:
    found = config()
    for row in found["config"]["layers"]:
        if row["class_name"] == "ReLU":
            row["config"]["max_value"] = bound
            if bound == 0:
                row["class_name"], row["config"]["activation"] = "Activation", "linear"
    return found


def test_a_relu_has_no_other_activation() -> None:
    assert read(changed("ReLU", 3, activation=[None])) == MODEL


def test_relu_throughout_is_another_activation() -> None:
    assert read(relus(None)).numerics.activation == "relu"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (changed("BatchNormalization", epsilon=1e-5), "different epsilons"),
        (changed("BatchNormalization", momentum=0.5), "different epsilons or momenta"),
        (changed("ReLU", max_value=3.0), r"activations \[.bounds 0 to 3., .relu6.\]"),
        (
            changed("ReLU", max_value=None),
            r"activations \[.relu., .relu6.\]; MobileNetV2",
        ),
        (relus(0), r"activations \[.none.\]; MobileNetV2 has ReLU6 throughout"),
        (swish(), r"layer stem_relu \(Activation\) has activation 'swish'"),
        (
            changed("Conv2D", 5, strides=[2, 2]),
            r"project is convolution .* of stride 2.* network has .* of stride 1",
        ),
        (
            changed("DepthwiseConv2D", 2, strides=2),
            "its shortcuts are not where the network has them",
        ),
        (changed("ZeroPadding2D", padding=1), "padded in different ways"),
        (changed("ZeroPadding2D", padding=2), r"layer stem \(Conv2D\): a 3 x 3 convolution"),
        (
            without("2_add", "blocks.2.project_BN"),
            "its shortcuts are not where the network has them",
        ),
        (
            without("blocks.3.expand_relu", "blocks.3.expand_BN"),
            r"not a chain of inverted residual blocks, from convolution 10 on",
        ),
        (without("blocks.4.expand_BN", "blocks.4.expand"), None),
        ({"config": {}}, "not that of a functional Keras model"),
    ],
)
def test_another_networks_config(found: dict[str, Any], message: str | None) -> None:
    if message is None:  # nothing of it is in the config; the weights will lack it
        assert read(found) == MODEL
        return
    with pytest.raises(DialectError, match=message):
        read(found)


def test_a_stride_inside_a_stage_begins_another() -> None:
    rows = Written(MODEL.replace(size=192)).rows  # even to the end
    by_name = {row["config"]["name"]: row for row in rows}
    # As block 1 has it, and block 2 has no shortcut then.
    by_name["blocks.2.depthwise"]["config"]["strides"] = 2
    found = {"config": {"layers": rows}}
    by_name["2_add"]["class_name"] = "Activation"
    by_name["2_add"]["config"]["activation"] = "linear"
    by_name["2_add"]["inbound_nodes"] = [[["blocks.2.project_BN", 0, 0, {}]]]
    found_spec = read(found)
    assert [stage.repeats for stage in found_spec.stages][:3] == [1, 1, 1]
    assert [block.stride for block in resolve(found_spec).blocks][:4] == [1, 2, 2, 2]


def test_a_file_with_a_config_and_one_without() -> None:
    bare = Container({}, {"format": "keras-legacy"})
    assert config_in(bare) is None and inside(bare)[1] == Description()
    for key in ("config", "model_config"):
        assert config_in(Container({}, {key: config()})) == config()
    with pytest.raises(DialectError, match="its config is not that of a"):
        open_model(bare, {}, body=False)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=5,
)
SETTINGS = (
    "strides", "padding", "epsilon", "momentum", "max_value", "rate", "batch_input_shape", "name",
    "kernel_size", "filters", "activation", "units", "axis",
)  # fmt: skip


@settings(max_examples=40)
@given(data=st.data())
def test_any_settings_are_read_or_refused(data: st.DataObject) -> None:
    found = config()
    rows = found["config"]["layers"]
    for _ in range(2):
        row = data.draw(st.sampled_from(rows))
        name = data.draw(st.sampled_from(SETTINGS))
        row["config"][name] = data.draw(ANYTHING)
    try:
        assert read(found).stages
    except (DialectError, SpecError) as error:
        assert str(error)
