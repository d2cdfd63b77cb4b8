"""A network as an ONNX file: the operators that every runtime fuses, and its config inside."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.spec.blocks import Convolution, require_inverted, resolve
from mobilenetv2.spec.names import BATCH_NORM
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.version import __version__
from mobilenetv2.weights.canonical import Arrays, check
from mobilenetv2.weights.dialects.onnx import CONFIG_KEY
from mobilenetv2.weights.folding import fold

OPSET, IR = 17, 8
"""Of 2022, and both are what runtimes since then take."""
INPUT, OUTPUT, FEATURES = "input", "logits", "features"


def write(
    config: ModelConfig, arrays: Arrays, folded: bool = True, features: bool = False
) -> bytes:
    """The network as an ONNX model. The same arguments give the same bytes.

    It takes ``input``, float32 (any batch, channels, height, width), normalised as
    ``config.preprocessing`` says, of the config's size, and gives ``logits`` (batch, classes).
    The metadata has the whole config, which :func:`mobilenetv2.weights.dialects.onnx.import_file`
    reads back.

    Args:
        arrays: canonical.
        folded: BatchNorm folded into the convolutions, for inference. False keeps it, so that the
            arrays come back bit for bit.
        features: a second output, ``features``: what is pooled, (batch, channels).

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
        WeightsError: the arrays do not fit the config.
    """
    import onnx
    from onnx import helper

    spec = config.spec
    require_inverted(spec, "ONNX")
    check(spec, arrays, "weights to write")
    graph = _Graph(config, arrays, folded)
    graph.network()
    height, width = spec.size
    ends: tuple[tuple[str, list[str | int | None]], ...] = (
        (INPUT, ["batch", spec.input_channels, height, width]),
        (OUTPUT, ["batch", spec.classes]),
    )
    if features:
        ends += ((FEATURES, ["batch", resolve(spec).classifier_shape[1]]),)
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, s) for name, s in ends]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "mobilenetv2", values[:1], values[1:], graph.constants),
        producer_name="mobilenetv2", producer_version=__version__, ir_version=IR,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )  # fmt: skip
    helper.set_model_props(model, {CONFIG_KEY: config.to_json()})
    data: bytes = model.SerializeToString(deterministic=True)
    return data


class _Graph:
    """Nodes and constants, in the order in which they run. Names are the canonical ones."""

    def __init__(self, config: ModelConfig, arrays: Arrays, folded: bool) -> None:
        self.spec, self.arrays = config.spec, arrays
        self.folded = fold(config.spec, arrays) if folded else None
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def network(self) -> None:
        """From the picture to the logits."""
        network = resolve(self.spec)
        if self.spec.numerics.activation == "relu6":
            self.constant("zero", np.float32(0))
            self.constant("six", np.float32(6))
        y = self.layer(network.stem, INPUT)
        for block in network.blocks:
            x = y
            for step in block.steps:
                y = self.layer(step, y)
            if block.shortcut:
                x = self.layer(block.shortcut, x)
            if block.residual:
                y = self.node("Add", f"blocks.{block.index}", [x, y])
        if network.head:
            y = self.layer(network.head, y)
        y = self.node("GlobalAveragePool", "pool", [y])
        y = self.node("Flatten", FEATURES, [y], axis=1)
        names = [self.constant(f"classifier.{part}", self.arrays[f"classifier.{part}"])
                 for part in ("weight", "bias")]  # fmt: skip
        self.node("Gemm", OUTPUT, [y, *names], transB=1)

    def layer(self, layer: Convolution, x: str) -> str:
        """A convolution with its BatchNorm and activation; the name of its output."""
        name, (rows, columns) = layer.name, layer.padding
        if self.folded is not None:
            weight, bias = self.folded[name]
            inputs = [self.constant(f"{name}.conv.weight", weight),
                      self.constant(f"{name}.conv.bias", bias)]  # fmt: skip
        else:
            parts = ["conv.weight", "conv.bias"] if layer.bias else ["conv.weight"]
            inputs = [self.constant(f"{name}.{p}", self.arrays[f"{name}.{p}"]) for p in parts]
        y = self.node(
            "Conv", f"{name}.conv", [x, *inputs], kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2, group=layer.groups,
            pads=[rows[0], columns[0], rows[1], columns[1]],
        )  # fmt: skip
        if self.folded is None:
            names = [f"{name}.bn.{part}" for part in BATCH_NORM]
            numerics = self.spec.numerics
            y = self.node(
                "BatchNormalization", f"{name}.bn",
                [y, *(self.constant(part, self.arrays[part]) for part in names)],
                epsilon=numerics.epsilon, momentum=1 - numerics.update_rate,
            )  # fmt: skip
        if layer.linear:
            return y
        if self.spec.numerics.activation == "relu6":
            return self.node("Clip", name, [y, "zero", "six"])
        return self.node("Relu", name, [y])

    def constant(self, name: str, values: NDArray | np.float32) -> str:
        """A float32 constant; its name."""
        from onnx import numpy_helper

        # Not ascontiguousarray, which makes a vector of a scalar.
        array = np.asarray(values, np.float32, order="C")
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, output: str, inputs: list[str], **attributes: Any) -> str:
        """An operator named after its one output; that name."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output
