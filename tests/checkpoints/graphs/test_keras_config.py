"""What a Keras model's own config says of its network."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.dialects.keras import DIALECT
from mobilenetv2.checkpoints.graphs import keras_config
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.spec.blocks import Convolution, resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published

SPEC = published("keras", width=0.35, size=(96, 64), classes=7, dropout=0.3)
SHAPES = {key.foreign: key.shape for key in DIALECT.keys(SPEC)}
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
        more |= {"padding": rule or "valid", "dilation_rate": [1, 1]}
        more |= {"depth_multiplier": 1} if depthwise else {"filters": layer.out_channels}
        x = self.add("DepthwiseConv2D" if depthwise else "Conv2D", layer.name, x, **more)
        x = self.add("BatchNormalization", f"{layer.name}_BN", x, **self.norm)
        return x if layer.linear else self.add("ReLU", f"{layer.name}_relu", x, max_value=6.0)


ROWS = Written(SPEC).rows


def config(rows: Rows = ROWS) -> dict[str, Any]:
    return {"class_name": "Model", "config": {"layers": copy.deepcopy(rows)}}


def changed(kind: str, place: int = 0, **settings: Any) -> dict[str, Any]:
    found = config()
    [row] = [row for row in found["config"]["layers"] if row["class_name"] == kind][place:][:1]
    row["config"].update(settings)
    return found


def read(found: dict[str, Any], shapes: dict[str, tuple[int, ...]] = SHAPES) -> NetworkSpec:
    return keras_config.spec(keras_config.layers(found), DIALECT, shapes, "x.h5")


def test_a_config_says_everything_but_widths_and_classes() -> None:
    model = keras_config.layers(config())
    assert keras_config.numerics(model, DIALECT.numerics) == (SPEC.numerics, 0.3)
    assert keras_config.size(model) == (96, 64)
    assert keras_config.preprocessing(model) is None
    assert keras_config.with_strides(SPEC.replace(stem_stride=1), model) == SPEC
    assert keras_config.spec(model, DIALECT, SHAPES, "x.h5") == SPEC
    assert model.names[0] == "picture" and model.names[-1] == "predictions"


@pytest.mark.parametrize(
    "spec",
    [
        published("small", width=0.35),
        published("torchvision", width=0.35, size=(96, 65)),
        published("torchvision", width=0.35, size=(65, 97)),
        published("keras", width=0.35, size=(65, 97)),
        published("article-keras", width=0.35, size=64),
    ],
)
def test_other_networks(spec: NetworkSpec) -> None:
    shapes = {key.foreign: key.shape for key in DIALECT.keys(spec)}
    found = read(config(Written(spec).rows), shapes)
    numerics = spec.numerics
    assert found.numerics.padding == numerics.padding and found.numerics.epsilon == numerics.epsilon
    assert found.replace(numerics=numerics, rounding=spec.rounding) == spec


def test_an_open_size() -> None:
    """Keras pads for even sizes then; so does the spec's usual size."""
    model = keras_config.layers(changed("InputLayer", batch_input_shape=[None, None, None, 3]))
    assert keras_config.size(model) is None
    assert keras_config.spec(model, DIALECT, SHAPES, "x.h5") == SPEC.replace(size=(224, 224))


def test_a_width_that_is_asked_for() -> None:
    model = keras_config.layers(config())
    assert keras_config.spec(model, DIALECT, SHAPES, "x.h5", width=0.35) == SPEC
    with pytest.raises(DialectError, match=r"x\.h5: .*width 1 was asked for"):
        keras_config.spec(model, DIALECT, SHAPES, "x.h5", width=1.0)


def test_strides_of_its_own_with_a_width() -> None:
    spec = published("small", width=0.35, classes=7)
    shapes = {key.foreign: key.shape for key in DIALECT.keys(spec)}
    model = keras_config.layers(config(Written(spec).rows))
    found = keras_config.spec(model, DIALECT, shapes, "x.h5", width=0.35)
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
    mean, std = keras_config.preprocessing(keras_config.layers(found)) or ((), ())
    assert mean == pytest.approx(expected[:1] * 3) and std == pytest.approx(expected[1:] * 3)
    for bad in (0, -1, float("inf"), float("nan")):
        rows[1]["config"]["scale"] = bad
        with pytest.raises(DialectError, match="its Rescaling is by"):
            keras_config.preprocessing(keras_config.layers(found))


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


def test_relu_throughout_is_another_activation() -> None:
    assert read(relus(None)).numerics.activation == "relu"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (changed("BatchNormalization", epsilon=1e-5), "different epsilons"),
        (changed("BatchNormalization", momentum=0.5), "different epsilons or momenta"),
        (changed("ReLU", max_value=3.0), r"not ReLU6 throughout \(bounds 0 to 3, relu6\)"),
        (changed("ReLU", max_value=None), r"not ReLU6 throughout \(relu, relu6\)"),
        (relus(0), r"not ReLU6 throughout \(none\)"),
        (swish(), r"layer stem_relu \(Activation\) has activation 'swish'"),
        (
            changed("Conv2D", 5, strides=[2, 2]),
            r"project is convolution .* of stride 2.* network has .* of stride 1",
        ),
        (changed("DepthwiseConv2D", 2, strides=2), "block 2 has stride 2 inside a stage"),
        (changed("ZeroPadding2D", padding=1), "padded in different ways"),
        (changed("ZeroPadding2D", padding=2), r"layer stem \(Conv2D\): a 3 x 3 convolution"),
        (changed("Conv2D", filters=24), "stem is convolution"),
        (
            without("2_add", "blocks.2.project_BN"),
            "its shortcuts are not where the network has them",
        ),
        (
            without("blocks.3.expand_relu", "blocks.3.expand_BN"),
            r"blocks\.3\.expand is .*activation none, .* network has .*relu6",
        ),
        (without("blocks.4.expand_BN", "blocks.4.expand"), None),
        ({"config": {}}, "not that of a functional Keras model"),
    ],
)
def test_another_networks_config(found: dict[str, Any], message: str | None) -> None:
    if message is None:  # nothing of it is in the config; the weights will lack it
        assert read(found) == SPEC
        return
    with pytest.raises(DialectError, match=message):
        read(found)


def test_a_stride_inside_a_stage_is_no_stage_table() -> None:
    rows = Written(SPEC.replace(size=192)).rows  # even to the end
    by_name = {row["config"]["name"]: row for row in rows}
    # As block 1 has it, and block 2 has no shortcut then.
    by_name["blocks.2.depthwise"]["config"]["strides"] = 2
    found = {"config": {"layers": rows}}
    by_name["2_add"]["class_name"] = "ReLU"
    by_name["2_add"]["inbound_nodes"] = [[["blocks.2.project_BN", 0, 0, {}]]]
    with pytest.raises(DialectError, match="block 2 has stride 2 inside a stage"):
        keras_config.with_strides(SPEC, keras_config.layers(found))


def test_a_file_with_a_config_and_one_without() -> None:
    assert keras_config.of(Container({}, {"format": "keras-legacy"}), "x.h5") is None
    for key in ("config", "model_config"):
        model = keras_config.of(Container({}, {key: config()}), "x.h5")
        assert model is not None and model.size == (96, 64)
        with pytest.raises(DialectError, match=r"x\.h5: its config is not that of a"):
            keras_config.of(Container({}, {key: {}}), "x.h5")


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
