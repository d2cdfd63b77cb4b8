"""A network as an ONNX file: the operators that every runtime fuses, and its config inside."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import SpecError
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays, check
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.spec.blocks import Convolution, require_inverted, resolve
from mobilenetv2.spec.names import BATCH_NORM
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.version import __version__

CONFIG_KEY = "mobilenetv2.config"
"""Of ``metadata_props``: what :meth:`ModelConfig.to_json` gives."""
OPSET = 17
"""Of 2022: what runtimes since then take."""
OPSETS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10}
"""Opset -> the version of the file format that came with it."""
INPUT, OUTPUT, FEATURES, MAP = "input", "logits", "features", "map"


@dataclass(frozen=True, slots=True)
class Form:
    """What the graph takes and gives."""

    features: bool = False
    """A second output, ``features``: what is pooled, (batch, channels)."""
    last_map: bool = False
    """Another output, ``map``: the last feature map, (batch, channels, height, width)."""
    intermediates: bool = False
    """Every layer's and block's tensor as an output, under its name."""
    pictures: bool = False
    """It takes uint8 (batch, height, width, channels) and normalises by itself."""
    batch: int | None = None
    """None: any."""
    any_size: bool = False
    """Any height and width, not only the config's."""
    opset: int = OPSET

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise SpecError(f"opset {self.opset} must be from {min(OPSETS)} to {max(OPSETS)}")
        if self.batch is not None and self.batch < 1:
            raise SpecError(f"batch {self.batch} must be at least 1")


def write(
    config: ModelConfig,
    arrays: Arrays,
    folded: bool = True,
    features: bool = False,
    last_map: bool = False,
) -> bytes:
    """The network as an ONNX model. The same arguments give the same bytes.

    It takes ``input``, float32 (any batch, channels, height, width), normalised as
    ``config.preprocessing`` says, of the config's size, and gives ``logits`` (batch, classes).
    The metadata has the whole config, which the importer reads back.

    Args:
        arrays: canonical.
        folded: BatchNorm folded into the convolutions, for inference. False keeps it, so that the
            arrays come back bit for bit.
        features: a second output, ``features``: what is pooled, (batch, channels).
        last_map: another output, ``map``: the last feature map, before it is pooled, (batch,
            channels, height, width).

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
        WeightsError: the arrays do not fit the config.
    """
    require_inverted(config.spec, "ONNX")
    check(config.spec, arrays, "weights to write")
    form = Form(features=features, last_map=last_map)
    if folded:
        return write_folded(config, fold(config.spec, arrays), form)
    return _WithBatchNorm(config, arrays, form).finish()


def write_folded(config: ModelConfig, folded: Folded, form: Form | None = None) -> bytes:
    """:func:`write` of a network that is folded already, in another form if asked for.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's, or 'same' padding in a graph of
            any size, which ONNX's fixed pads cannot say.
    """
    return GraphWriter(config, folded, form or Form()).finish()


class GraphWriter:
    """Nodes and constants, in the order in which they run. Names are the canonical ones.

    A subclass may write a layer's parts (:meth:`parameters`) and what comes after a tensor
    (:meth:`settle`) in its own way.
    """

    def __init__(self, config: ModelConfig, folded: Folded, form: Form) -> None:
        require_inverted(config.spec, "ONNX")
        self.config, self.spec, self.folded, self.form = config, config.spec, folded, form
        if form.any_size and self.spec.numerics.padding == "same":
            raise SpecError(
                "this network's 'same' padding depends on the picture's size, which an ONNX file "
                "has to fix; export it without the option for any size"
            )
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def finish(self) -> bytes:
        """The whole file, sealed."""
        import onnx
        from onnx import helper

        self.network()
        types = onnx.TensorProto
        height, width = ("height", "width") if self.form.any_size else self.spec.size
        channels, batch = self.spec.input_channels, self.form.batch or "batch"
        if self.form.pictures:
            given = helper.make_tensor_value_info(
                INPUT, types.UINT8, [batch, height, width, channels]
            )
        else:
            given = helper.make_tensor_value_info(
                INPUT, types.FLOAT, [batch, channels, height, width]
            )
        ends = [
            helper.make_tensor_value_info(name, types.FLOAT, [batch, *sides])
            for name, sides in self.ends()
        ]
        model = helper.make_model(
            helper.make_graph(self.nodes, "mobilenetv2", [given], ends, self.constants),
            producer_name="mobilenetv2", producer_version=__version__,
            ir_version=OPSETS[self.form.opset],
            opset_imports=[helper.make_opsetid("", self.form.opset)],
        )  # fmt: skip
        helper.set_model_props(model, {CONFIG_KEY: self.config.to_json()})
        body: bytes = model.SerializeToString(deterministic=True)
        # Protobuf takes a field that is appended to a message as part of it.
        last = onnx.ModelProto()
        last.metadata_props.add(key=seal.KEY, value="0" * seal.DIGITS)
        body += last.SerializeToString(deterministic=True)[: -seal.DIGITS]
        return body + seal.digest(body).encode()

    def ends(self) -> list[tuple[str, tuple[int | str, ...]]]:
        """Names of the outputs with their sides, without the batch."""
        network = resolve(self.spec)
        found: list[tuple[str, tuple[int | str, ...]]] = [(OUTPUT, (self.spec.classes,))]
        if self.form.features or self.form.intermediates:
            found.append((FEATURES, (network.classifier_shape[1],)))
        if self.form.last_map:
            last = network.head or network.blocks[-1]
            sides = ("map height", "map width") if self.form.any_size else last.out_size
            found.append((MAP, (network.classifier_shape[1], *sides)))
        if self.form.intermediates:
            found += [(c.name, (c.out_channels, *c.out_size)) for c in network.convolutions]
            found += [
                (f"blocks.{b.index}", (b.out_channels, *b.out_size))
                for b in network.blocks if b.residual
            ]  # fmt: skip
        return found

    def network(self) -> None:
        """From the picture to the logits."""
        network = resolve(self.spec)
        y = self.settle(INPUT, self.normalised() if self.form.pictures else INPUT)
        if self.spec.numerics.activation == "relu6":
            self.constant("zero", np.float32(0))
            self.constant("six", np.float32(6))
        y = self.layer(network.stem, y)
        for block in network.blocks:
            x = y
            for step in block.steps:
                y = self.layer(step, y)
            if block.shortcut:
                x = self.layer(block.shortcut, x)
            if block.residual:
                name = f"blocks.{block.index}"
                y = self.settle(name, self.node("Add", name, [x, y]))
        if network.head:
            y = self.layer(network.head, y)
        if self.form.last_map:
            self.node("Identity", MAP, [y])
        y = self.node("GlobalAveragePool", "pool", [y])
        y = self.settle(FEATURES, self.node("Flatten", FEATURES, [y], axis=1))
        self.settle(
            OUTPUT, self.node("Gemm", OUTPUT, [y, *self.parameters("classifier")], transB=1)
        )

    def normalised(self) -> str:
        """(value - mean) / std on pictures as they come, with the numbers of ``images``."""
        record = self.config.preprocessing
        # Dividing, not multiplying by 1 / std, gives the same floats as outside.
        names = [
            self.constant(name, np.array(values, np.float32).reshape(1, -1, 1, 1))
            for name, values in (("mean", record.mean), ("std", record.std))
        ]
        y = self.node("Transpose", "pixels", [INPUT], perm=[0, 3, 1, 2])
        y = self.node("Cast", "values", [y], to=1)  # TensorProto.FLOAT
        y = self.node("Sub", "centred", [y, names[0]])
        return self.node("Div", "normalised", [y, names[1]])

    def layer(self, layer: Convolution, x: str) -> str:
        """A convolution with its activation; the name of its output."""
        rows, columns = layer.padding
        y = self.node(
            "Conv", self.named(layer), [x, *self.parameters(layer.name)],
            kernel_shape=[layer.kernel] * 2, strides=[layer.stride] * 2, group=layer.groups,
            pads=[rows[0], columns[0], rows[1], columns[1]],
        )  # fmt: skip
        return self.settle(layer.name, self.activated(layer, y))

    def named(self, layer: Convolution) -> str:
        """What a convolution's own output is called: a linear layer's is the layer's."""
        return layer.name if layer.linear else f"{layer.name}.conv"

    def activated(self, layer: Convolution, y: str) -> str:
        """The activation of a layer, where it has one."""
        if layer.linear:
            return y
        if self.spec.numerics.activation == "relu6":
            return self.node("Clip", layer.name, [y, "zero", "six"])
        return self.node("Relu", layer.name, [y])

    def parameters(self, name: str) -> list[str]:
        """Names of a folded layer's weight and bias, as inputs of its operator."""
        prefix = name if name == "classifier" else f"{name}.conv"
        weight, bias = self.folded[name]
        return [self.constant(f"{prefix}.weight", weight), self.constant(f"{prefix}.bias", bias)]

    def settle(self, name: str, y: str) -> str:
        """What others take for the tensor ``name`` of the network, now called ``y``."""
        return y

    def constant(self, name: str, values: Any) -> str:
        """A constant of the values' own type; its name."""
        from onnx import numpy_helper

        # Not ascontiguousarray, which makes a vector of a scalar.
        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def node(self, kind: str, output: str, inputs: list[str], **attributes: Any) -> str:
        """An operator named after its one output; that name."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output


class _WithBatchNorm(GraphWriter):
    """The same with every BatchNorm left in."""

    def __init__(self, config: ModelConfig, arrays: Arrays, form: Form) -> None:
        classifier = (arrays["classifier.weight"], arrays["classifier.bias"])
        super().__init__(config, {"classifier": classifier}, form)
        self.arrays = arrays

    def named(self, layer: Convolution) -> str:
        return f"{layer.name}.conv"

    def parameters(self, name: str) -> list[str]:
        if name == "classifier":
            return super().parameters(name)
        parts = [f"{name}.conv.weight", f"{name}.conv.bias"]
        return [self._array(part) for part in parts if part in self.arrays]

    def activated(self, layer: Convolution, y: str) -> str:
        numerics = self.spec.numerics
        y = self.node(
            "BatchNormalization", layer.name if layer.linear else f"{layer.name}.bn",
            [y, *(self._array(f"{layer.name}.bn.{part}") for part in BATCH_NORM)],
            epsilon=numerics.epsilon, momentum=1 - numerics.update_rate,
        )  # fmt: skip
        return super().activated(layer, y)

    def _array(self, name: str) -> str:
        values: NDArray = self.arrays[name]
        return self.constant(name, values.astype(np.float32))
