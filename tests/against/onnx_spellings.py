"""The same network in the spellings in which ONNX files have it, and graphs that are another one.

Every spelling is made from a file of our own writer.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.editions import numpy as plain
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig

Edit = Callable[[Any], None]
TORCH = published("torchvision", width=0.35, size=64, classes=7)
SLIM = published("paper", width=0.35, size=64, classes=7)


def made(spec: NetworkSpec, folded: bool = True) -> tuple[Any, Arrays]:
    """Our writer's model without its metadata, and the weights."""
    arrays = random_arrays(spec)
    model = onnx.load_from_string(write_onnx(lower(ModelConfig.default(spec), arrays, folded)))
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
    runtime = pytest.importorskip(
        "onnxruntime", reason="onnxruntime is not installed (extra: against)"
    )
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
    return read_checkpoint(path, ImportOptions(labels=labels))


# ---------------------------------------------------------------- normalisation inside


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
