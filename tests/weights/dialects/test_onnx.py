"""ONNX classifiers come in as the network they are, however they are spelled.

Every spelling is made from a file of our own writer, and is run by ONNX Runtime: it must be the
same network before it may be read as the same network.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig
from mobilenetv2.weights.canonical import Arrays, check, random_arrays
from mobilenetv2.weights.dialects.onnx import import_file
from mobilenetv2.weights.dialects.onnx_writer import write
from mobilenetv2.weights.folding import fold

Edit = Callable[[Any], None]
TORCH = published("torchvision", width=0.35, size=64, classes=7)
SLIM = published("paper", width=0.35, size=64, classes=7)


def made(spec: NetworkSpec, folded: bool = True) -> tuple[Any, Arrays]:
    """Our writer's model without its metadata, and the weights."""
    arrays = random_arrays(spec)
    model = onnx.load_from_string(write(ModelConfig.default(spec), arrays, folded))
    del model.metadata_props[:]
    return model, arrays


def rebuilt(model: Any, change: Callable[[Any], Iterator[Any]]) -> None:
    """Every node replaced by what ``change`` makes of it."""
    nodes = [new for node in model.graph.node for new in change(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def constant(model: Any, name: str, values: Any, dtype: str = "f4") -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
    return name


def tensor(model: Any, name: str) -> Any:
    return next(one for one in model.graph.initializer if one.name == name)


def attributes(node: Any) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


# ---------------------------------------------------------------- spellings


def relu_and_min(model: Any) -> None:
    def change(node: Any) -> Iterator[Any]:
        if node.op_type != "Clip":
            yield node
            return
        (name,) = node.output
        yield helper.make_node("Relu", [node.input[0]], [f"{name}.r"])
        yield helper.make_node("Min", ["six", f"{name}.r"], [name])

    rebuilt(model, change)


def max_and_min(model: Any) -> None:
    def change(node: Any) -> Iterator[Any]:
        if node.op_type != "Clip":
            yield node
            return
        (name,) = node.output
        yield helper.make_node("Min", [node.input[0], "six"], [f"{name}.r"])
        yield helper.make_node("Max", [f"{name}.r", "zero"], [name])

    rebuilt(model, change)


def explicit_pad(model: Any) -> None:
    """Zeros around the picture as a Pad of their own."""

    def change(node: Any) -> Iterator[Any]:
        options = attributes(node)
        if node.op_type != "Conv" or not any(options["pads"]):
            yield node
            return
        top, left, bottom, right = options.pop("pads")
        (name,) = node.output
        pads = constant(model, f"{name}.pads", [0, 0, top, left, 0, 0, bottom, right], "i8")
        yield helper.make_node("Pad", [node.input[0], pads], [f"{name}.p"])
        yield helper.make_node("Conv", [f"{name}.p", *node.input[1:]], [name], pads=[0] * 4,
                               **options)  # fmt: skip

    rebuilt(model, change)


def auto_pad(model: Any) -> None:
    def change(node: Any) -> Iterator[Any]:
        options = attributes(node)
        if node.op_type == "Conv":
            del options["pads"]
            node = helper.make_node("Conv", node.input, node.output, auto_pad="SAME_UPPER",
                                    **options)  # fmt: skip
        yield node

    rebuilt(model, change)


def tail(model: Any, nodes: list[Any]) -> None:
    """Other nodes instead of the pooling and what follows; the map is 'head', the end 'logits'."""
    while model.graph.node[-1].op_type != "GlobalAveragePool":
        model.graph.node.pop()
    model.graph.node.pop()
    model.graph.node.extend(nodes)


def node(kind: str, inputs: str, output: str, **options: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **options)


def convolution_as_classifier(model: Any) -> None:
    """The model zoo's: a 1 x 1 convolution behind the pooling, then Reshape."""
    weight = numpy_helper.to_array(tensor(model, "classifier.weight"))
    constant(model, "w4", weight[:, :, None, None])
    constant(model, "shape", [0, -1], "i8")
    tail(model, [
        node("GlobalAveragePool", "head", "pool"), node("Conv", "pool w4 classifier.bias", "pred"),
        node("Reshape", "pred shape", "logits"),
    ])  # fmt: skip


def mean_and_matmul(model: Any) -> None:
    weight = numpy_helper.to_array(tensor(model, "classifier.weight"))
    constant(model, "wt", weight.T)
    tail(model, [
        node("ReduceMean", "head", "m", axes=[2, 3], keepdims=0), node("MatMul", "m wt", "mm"),
        node("Add", "classifier.bias mm", "logits"),
    ])  # fmt: skip


def two_means_and_a_scaled_gemm(model: Any) -> None:
    weight = numpy_helper.to_array(tensor(model, "classifier.weight"))
    constant(model, "wt", weight.T / 2)
    constant(model, "b", numpy_helper.to_array(tensor(model, "classifier.bias")) * 4)
    tail(model, [
        node("ReduceMean", "head", "m3", axes=[3], keepdims=0),
        node("ReduceMean", "m3", "m", axes=[2], keepdims=0), node("Dropout", "m", "d"),
        node("Gemm", "d wt b", "logits", alpha=2.0, beta=0.25),
    ])  # fmt: skip


def average_pool_in_channels_last(model: Any) -> None:
    constant(model, "axes", [1, 2], "i8")
    tail(model, [
        node("AveragePool", "head", "p", kernel_shape=[2, 2]),
        node("Transpose", "p", "t", perm=[0, 2, 3, 1]), node("Squeeze", "t axes", "s"),
        node("Identity", "s", "i"),
        node("Gemm", "i classifier.weight classifier.bias", "logits", transB=1),
    ])  # fmt: skip


def channels_last_picture(model: Any) -> None:
    sides = model.graph.input[0].type.tensor_type.shape.dim
    sides[1].dim_value, sides[3].dim_value = sides[3].dim_value, 3
    model.graph.node.insert(0, node("Transpose", "input", "nchw", perm=[0, 3, 1, 2]))
    model.graph.node[1].input[0] = "nchw"


def aliased_constants(model: Any) -> None:
    """PyTorch's exporter shares equal constants by Identity nodes; others keep Constant nodes."""
    moved = [*model.graph.initializer]
    del model.graph.initializer[:]
    nodes = [*model.graph.node]
    del model.graph.node[:]
    for one in moved:
        name, one.name = one.name, f"{one.name}.stored"
        model.graph.node.append(helper.make_node("Constant", [], [one.name], value=one))
        model.graph.node.append(node("Identity", one.name, name))
    model.graph.node.extend(nodes)


def constants_among_the_inputs(model: Any) -> None:
    """As files of before 2019 have them, with attributes where there are inputs today."""

    def change(node: Any) -> Iterator[Any]:
        if node.op_type == "Clip":
            node = helper.make_node("Clip", node.input[:1], node.output, min=0.0, max=6.0)
        yield node

    rebuilt(model, change)
    for one in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(one.name, one.data_type, list(one.dims))
        )
    model.opset_import[0].version = 7
    model.ir_version = 3


def open_picture(model: Any) -> None:
    for side, name in zip(model.graph.input[0].type.tensor_type.shape.dim, "bchw", strict=True):
        side.dim_param = name


def computed_weight(model: Any) -> None:
    """A weight that is computed: (w * 2) / 2."""
    constant(model, "two", 2.0)
    model.graph.node.insert(0, node("Mul", "stem.conv.weight two", "doubled"))
    model.graph.node.insert(1, node("Div", "doubled two", "computed"))
    model.graph.node[2].input[1] = "computed"


def batch_norm_written_out(model: Any) -> None:
    """tf2onnx's: the product and the sum of a BatchNorm behind its convolution."""

    def change(node: Any) -> Iterator[Any]:
        if node.op_type != "Conv" or "depthwise" not in node.output[0]:
            yield node
            return
        (name,) = node.output
        bias = numpy_helper.to_array(tensor(model, node.input[2]))
        constant(model, f"{name}.half", np.full((1, bias.size, 1, 1), 0.5))
        constant(model, f"{name}.shift", (bias / 2).reshape(1, -1, 1, 1))
        for one in model.graph.initializer:
            if one.name == node.input[1]:
                one.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(one), one.name))
        yield helper.make_node("Conv", node.input, [f"{name}.c"], **attributes(node))
        yield helper.make_node("Mul", [f"{name}.c", f"{name}.half"], [f"{name}.m"])
        yield helper.make_node("Add", [f"{name}.m", f"{name}.shift"], [name])

    rebuilt(model, change)


def with_softmax(model: Any) -> None:
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(node("Softmax", "before", "logits", axis=1))


SPELLINGS: list[Edit] = [
    relu_and_min, max_and_min, explicit_pad, convolution_as_classifier, mean_and_matmul,
    two_means_and_a_scaled_gemm, average_pool_in_channels_last, channels_last_picture,
    aliased_constants, constants_among_the_inputs, computed_weight,
    batch_norm_written_out,
]  # fmt: skip


def logits(model: Any, spec: NetworkSpec, arrays: Arrays) -> tuple[NDArray, NDArray]:
    """ONNX Runtime's and the plain reference's, on two pictures."""
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra mobilenetv2[against]")
    network = plain.build(spec, dtype=np.float64)
    plain.load(network, arrays)
    session = runtime.InferenceSession(model.SerializeToString())
    (source,) = session.get_inputs()
    batch = source.shape[0] if isinstance(source.shape[0], int) else 2
    x = np.random.default_rng(0).normal(size=(batch, 3, *spec.size)).astype(np.float32)
    last = source.shape[3] == 3
    return session.run(None, {source.name: x.transpose(0, 2, 3, 1) if last else x})[0], network(x)


def imported(model: Any, folder: Path, labels: Labels | None = None) -> tuple[ModelConfig, Arrays]:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return import_file(path, labels)


@pytest.mark.parametrize("edit", SPELLINGS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("spec", [TORCH, SLIM], ids=["symmetric", "same"])
def test_a_network_in_another_spelling_is_the_same_network(
    spec: NetworkSpec, edit: Edit, tmp_path: Path
) -> None:
    model, arrays = made(spec)
    edit(model)
    found, expected = logits(model, spec, arrays)
    assert 0.5 < expected.std() < 20
    assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    config, back = imported(model, tmp_path)
    assert config.spec == spec
    assert config.origin is not None and config.origin.folded
    for name, pair in fold(spec, arrays).items():
        for one, other in zip(pair, fold(config.spec, back)[name], strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-7)


def test_auto_pad_is_same_by_name(tmp_path: Path) -> None:
    model, _ = made(SLIM)
    auto_pad(model)
    assert imported(model, tmp_path)[0].spec == SLIM
    model, _ = made(TORCH)
    auto_pad(model)
    assert imported(model, tmp_path)[0].spec.numerics.padding == "same"


def test_an_open_size_is_taken_as_the_published_one_and_said_to_be(tmp_path: Path) -> None:
    model, _ = made(TORCH)
    open_picture(model)
    config, _ = imported(model, tmp_path)
    assert config.spec == TORCH.replace(size=(224, 224))
    assert config.origin is not None and "224 x 224 is assumed" in config.origin.note


def test_softmax_at_the_end_is_left_out(tmp_path: Path) -> None:
    model, arrays = made(TORCH)
    with_softmax(model)
    config, back = imported(model, tmp_path)
    assert config.spec == TORCH
    np.testing.assert_array_equal(back["classifier.weight"], arrays["classifier.weight"])


@pytest.mark.parametrize("spec", [TORCH, SLIM, published("article-torch", width=0.35, size=64,
                                                          classes=7, dropout=0.2)])  # fmt: skip
def test_batch_norms_that_were_left_in_come_bit_for_bit(spec: NetworkSpec, tmp_path: Path) -> None:
    model, arrays = made(spec, folded=False)
    config, back = imported(model, tmp_path)
    assert config.spec == spec
    assert config.origin is not None and not config.origin.folded
    assert list(back) == list(arrays)
    for name in arrays:
        np.testing.assert_array_equal(back[name], arrays[name], strict=True)


def test_the_model_zoos_graph(tmp_path: Path) -> None:
    """mobilenetv2-7, by MXNet's exporter: an expansion always, BatchNorms of old, a bare 1 x 1
    convolution as the classifier."""
    spec = published("torchvision", width=0.35, size=64, classes=1000, expand="always")
    model, arrays = made(spec, folded=False)
    convolution_as_classifier(model)
    constants_among_the_inputs(model)
    for one in model.graph.node:
        if one.op_type == "BatchNormalization":
            one.attribute.append(helper.make_attribute("spatial", 1))
        if one.output[0] == "pred":
            del one.input[2]
    arrays["classifier.bias"][:] = 0
    found, expected = logits(model, spec, arrays)
    assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    config, back = imported(model, tmp_path)
    assert (config.spec, config.labels) == (spec, Labels.imagenet())
    for name in arrays:
        np.testing.assert_array_equal(back[name], arrays[name], strict=True)


# ---------------------------------------------------------------- quantised weights


@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_weights_are_dequantised_on_the_way_in(per_channel: bool, tmp_path: Path) -> None:
    model, arrays = made(TORCH)
    expected = fold(TORCH, arrays)
    for name, (weight, _) in expected.items():
        if name == "classifier":
            continue
        axes = (1, 2, 3) if per_channel else None
        scale = np.asarray(np.abs(weight).max(axes) / 127, np.float32)
        wide = scale.reshape(-1, 1, 1, 1) if per_channel else scale
        levels = np.rint(weight / wide).astype(np.int8)
        model.graph.initializer.remove(tensor(model, f"{name}.conv.weight"))
        constant(model, f"{name}.q", levels, "i1")
        constant(model, f"{name}.s", scale)
        constant(model, f"{name}.z", np.zeros_like(scale), "i1")
        model.graph.node.insert(0, node(
            "DequantizeLinear", f"{name}.q {name}.s {name}.z", f"{name}.conv.weight", axis=0,
        ))  # fmt: skip
        expected[name] = ((levels * wide).astype(np.float32), expected[name][1])
    config, back = imported(model, tmp_path)
    assert config.spec == TORCH
    for name, (weight, _) in expected.items():
        np.testing.assert_allclose(fold(TORCH, back)[name][0], weight, rtol=2e-7)


# ---------------------------------------------------------------- what travels with it


def normalised(model: Any, nodes: list[Any], kind: int = TensorProto.FLOAT) -> None:
    """Nodes between the picture 'input' and the stem, the last of which gives 'x'."""
    model.graph.input[0].type.tensor_type.elem_type = kind
    model.graph.node[0].input[0] = "x"
    for place, one in enumerate(nodes):
        model.graph.node.insert(place, one)


IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))


def sub_div(model: Any) -> None:
    mean, std = (values.reshape(1, 3, 1, 1) for values in IMAGENET)
    constant(model, "mean", mean), constant(model, "std", std)
    normalised(model, [node("Sub", "input mean", "y"), node("Div", "y std", "x")])


def uint8_mul_add(model: Any) -> None:
    constant(model, "factor", 1 / 127.5), constant(model, "minus", -1.0)
    normalised(model, [
        node("Cast", "input", "c", to=TensorProto.FLOAT), node("Mul", "factor c", "y"),
        node("Add", "y minus", "x"),
    ], TensorProto.UINT8)  # fmt: skip


def uint8_channels_last(model: Any) -> None:
    channels_last_picture(model)
    model.graph.node.pop(0)
    constant(model, "mean", 255 * IMAGENET[0]), constant(model, "std", 255 * IMAGENET[1])
    normalised(model, [
        node("Cast", "input", "c", to=TensorProto.FLOAT), node("Sub", "c mean", "y"),
        node("Div", "y std", "z"), node("Transpose", "z", "x", perm=[0, 3, 1, 2]),
    ], TensorProto.UINT8)  # fmt: skip


def batch_norm_first(model: Any) -> None:
    mean, std = (255 * values for values in IMAGENET)
    for name, values in {"s": np.ones(3), "b": np.zeros(3), "m": mean, "v": std**2 - 1e-5}.items():
        constant(model, name, values)
    normalised(model, [node("BatchNormalization", "input s b m v", "x", epsilon=1e-5)])


@pytest.mark.parametrize(
    ("edit", "mean", "std"),
    [
        (sub_div, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        (uint8_mul_add, (127.5,) * 3, (127.5,) * 3),
        (uint8_channels_last, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        (batch_norm_first, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    ],
)
def test_a_normalisation_inside_the_graph_becomes_the_preprocessing(
    edit: Edit, mean: tuple[float, ...], std: tuple[float, ...], tmp_path: Path
) -> None:
    model, arrays = made(SLIM)
    edit(model)
    onnx.checker.check_model(model, full_check=True)
    config, back = imported(model, tmp_path)
    assert config.spec == SLIM
    np.testing.assert_allclose(config.preprocessing.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(config.preprocessing.std, std, rtol=1e-5)
    folded = fold(SLIM, arrays)
    assert all(np.array_equal(fold(SLIM, back)[name][0], folded[name][0]) for name in folded)


def test_without_one_it_is_that_of_the_paddings_owner(tmp_path: Path) -> None:
    for spec, mean in ((TORCH, (123.675, 116.28, 103.53)), (SLIM, (127.5,) * 3)):
        config, _ = imported(made(spec)[0], tmp_path)
        assert config.preprocessing.mean == mean


@pytest.mark.parametrize(("classes", "expected"), [(1000, Labels.imagenet()),
                                                   (1001, Labels.imagenet("first")),
                                                   (7, Labels.numbered(7))])  # fmt: skip
def test_labels_are_the_usual_ones_or_those_given(
    classes: int, expected: Labels, tmp_path: Path
) -> None:
    model, _ = made(TORCH.replace(classes=classes))
    config, _ = imported(model, tmp_path)
    assert config.labels == expected
    assert config.spec.background == ("first" if classes == 1001 else None)
    mine = Labels(tuple(f"flower {index}" for index in range(classes)), (), classes - 1)
    config, _ = imported(model, tmp_path, mine)
    assert (config.labels, config.spec.background) == (mine, "last")
    with pytest.raises(DialectError, match=rf"net\.onnx: 2 labels for {classes} outputs"):
        imported(model, tmp_path, Labels(("a", "b")))


# ---------------------------------------------------------------- other networks, damage


def change_node(which: str, count: int = 0, **options: Any) -> Edit:
    def edit(model: Any) -> None:
        found = [one for one in model.graph.node if one.op_type == which][count]
        changed = {**attributes(found), **options}
        fresh = helper.make_node(
            changed.pop("kind", which), changed.pop("inputs", found.input), found.output,
            found.name, **changed,
        )  # fmt: skip
        found.CopyFrom(fresh)

    return edit


def two_inputs(model: Any) -> None:
    model.graph.input.append(model.graph.input[0])
    model.graph.input[-1].name = "other"


def no_pool(model: Any) -> None:
    gemm = node("Gemm", "f classifier.weight classifier.bias", "logits", transB=1)
    tail(model, [node("Flatten", "head", "f"), gemm])


def features_only(model: Any) -> None:
    model.graph.node.pop()
    model.graph.output[0].name = "features"


def six_is_five(model: Any) -> None:
    tensor(model, "six").CopyFrom(numpy_helper.from_array(np.array(5, np.float32), "six"))


OTHERS: list[tuple[Edit, str]] = [
    (change_node("Add", kind="Mul"), "Mul of two tensors .at the Mul 'blocks.2'"),
    (change_node("Add", kind="Sub"), "Sub of two tensors"),
    (change_node("Clip", kind="HardSwish", inputs=["stem.conv"]), "unexpected operator HardSwish"),
    (change_node("Clip", 3, kind="Elu", inputs=["stem.conv"]), "unexpected operator Elu"),
    (change_node("Conv", 1, dilations=[2, 2]), "with dilation .at the Conv 'blocks.0.dep"),
    (change_node("Conv", strides=[2, 1]), "unequal strides"),
    (change_node("Conv", pads=[0, 0, 0, 0]), "padded .0, 0. x .0, 0. at 64 x 64 pixels"),
    (change_node("Conv", 1, group=2), "in 2 groups of 16 channels"),
    (change_node("Conv", 3, strides=[2, 2]), "stride|shape"),
    (change_node("Conv", 5, inputs=["stem", "stem.conv"]), "Conv of two tensors"),
    (change_node("Gemm", transA=1), "a classifier with weights of shape"),
    (change_node("GlobalAveragePool", kind="GlobalMaxPool"), "unexpected operator GlobalMaxPool"),
    (change_node("Add", 2, inputs=["blocks.3.project", "blocks.5.project"]),
     "outside the block"),
    (two_inputs, "one input and one output"),
    (no_pool, r"a tensor of shape \[1, 1280, 2, 2\] is not pooled"),
    (features_only, "no classifier after the pooling"),
    (six_is_five, r"activations \['bounds 0 to 5'\]"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "message"), OTHERS)
def test_another_network_is_refused_with_what_and_where(
    edit: Edit, message: str, tmp_path: Path
) -> None:
    model, _ = made(TORCH)
    edit(model)
    with pytest.raises(DialectError, match=rf"net\.onnx: .*{message}"):
        imported(model, tmp_path)


@pytest.mark.parametrize(
    "values",
    [{"head.conv.weight": np.nan}, {"classifier.bias": np.inf}, {"stem.conv.bias": np.nan}],
)
def test_numbers_that_are_none_are_refused(values: dict[str, float], tmp_path: Path) -> None:
    model, _ = made(TORCH)
    for name, value in values.items():
        old = numpy_helper.to_array(tensor(model, name))
        tensor(model, name).CopyFrom(numpy_helper.from_array(np.full_like(old, value), name))
    with pytest.raises(WeightsError, match=r"net\.onnx: .* not finite"):
        imported(model, tmp_path)


TINY = published("small", width=0.1, size=32, classes=3)
ODD: list[Any] = [[1, 2], [-9, 9], [], 0, -1, 2**40, 0.5, float("nan"), "SAME_LOWER"]
NAMES = ("axes axis perm pads keepdims min max group strides dilations epsilon auto_pad alpha beta "
         "transA transB shape kernel_shape to momentum mode value").split()  # fmt: skip


def tangle(model: Any, random: np.random.Generator) -> None:
    """One change that leaves a file ONNX's parser takes: rewired, retyped, reshaped, renamed."""
    nodes, constants = model.graph.node, model.graph.initializer
    one = nodes[random.integers(len(nodes))]
    tensors = [name for other in nodes for name in (*other.input, *other.output)]
    some = tensors[random.integers(len(tensors))]
    what = int(random.integers(7))
    if not one.input and what in (0, 2):
        what = 3
    if what == 0:
        one.input[random.integers(len(one.input))] = some
    elif what == 1:
        one.op_type = nodes[random.integers(len(nodes))].op_type
    elif what == 2:
        del one.input[random.integers(len(one.input))]
    elif what == 3:
        one.output[0] = some
    elif what == 4:
        name = NAMES[random.integers(len(NAMES))]
        kept = [old for old in one.attribute if old.name != name]
        del one.attribute[:]
        value = ODD[random.integers(len(ODD))]
        kind = onnx.AttributeProto.INTS if value == [] else None
        one.attribute.extend([*kept, helper.make_attribute(name, value, attr_type=kind)])
    elif what == 5 and constants:
        old = constants[random.integers(len(constants))]
        array = numpy_helper.to_array(old)
        array = [array.T, array.reshape(-1), array[:1] if array.ndim else array][random.integers(3)]
        old.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), old.name))
    else:
        sides = model.graph.input[0].type.tensor_type.shape.dim
        sides[random.integers(4)].dim_value = [1, 3, 7, 224, 2**40][random.integers(5)]


@pytest.mark.parametrize("edit", [None, explicit_pad, aliased_constants, mean_and_matmul])
@pytest.mark.parametrize("folded", [True, False])
def test_a_tangled_graph_is_an_error_of_ours_or_imported_as_what_it_computes(
    folded: bool, edit: Edit | None, tmp_path: Path
) -> None:
    """Never silently as another network: what ONNX Runtime still runs gives the same logits."""
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra mobilenetv2[against]")
    quiet = runtime.SessionOptions()
    quiet.log_severity_level = 4
    random = np.random.default_rng(5)
    source, _ = made(TINY, folded)
    if edit:
        edit(source)
    refused = run = 0
    for _ in range(30):
        model = onnx.load_from_string(source.SerializeToString())
        tangle(model, random)
        try:
            config, arrays = imported(model, tmp_path)
        except WeightsError as error:
            assert str(error).startswith(f"{tmp_path / 'net.onnx'}: ")
            refused += 1
            continue
        check(config.spec, arrays, "imported")
        try:
            runtime.InferenceSession(model.SerializeToString(), quiet)
        except Exception:  # of many types; it reads attributes that mean nothing to us
            continue
        found, expected = logits(model, config.spec, arrays)
        assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
        run += 1
    assert refused > 10 and run > 2, (refused, run)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_imported_or_an_error_of_ours(
    seed: int, folded: bool, tmp_path: Path
) -> None:
    """Structure is hit, not weights: constants lie at the end of a graph and are most of it."""
    random = np.random.default_rng(seed)
    data = write(ModelConfig.default(TINY), random_arrays(TINY), folded)
    structure = data.index(b"stem.conv.weight", data.index(b"Gemm"))  # the first constant's name
    path = tmp_path / "net.onnx"
    outcomes = set()
    for _ in range(15):
        damaged = bytearray(data)
        for place in random.integers(0, structure, random.integers(1, 4)):
            damaged[place] = random.integers(0, 256)
        if random.random() < 0.2:
            damaged = damaged[: random.integers(0, len(data))]
        path.write_bytes(damaged)
        try:
            config, arrays = import_file(path)
        except WeightsError as error:
            assert str(error).startswith(f"{path}: ")
            outcomes.add("refused")
        else:
            check(config.spec, arrays, "imported")
            outcomes.add("imported")
    assert "refused" in outcomes
