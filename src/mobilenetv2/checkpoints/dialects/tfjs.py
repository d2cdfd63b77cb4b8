"""Dialect of TensorFlow.js: layers models, as Teachable Machine exports and as browsers load them.

A layers model is a Keras model as JSON, so it is read as one. What is written has Keras 2's form,
which TensorFlow.js reads from version 2 on; its outputs are probabilities, as is usual there. Our
whole config is in its ``userDefinedMetadata``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.tfjs import MODEL, WEIGHTS, read_tfjs
from mobilenetv2.checkpoints.description import ImportOptions, describe_config, parse_config
from mobilenetv2.checkpoints.dialects.keras import model_checkpoint
from mobilenetv2.checkpoints.graphs.network import GraphCheckpoint, GraphDialect, by_padding
from mobilenetv2.errors import DialectError
from mobilenetv2.files import atomic_folder, write_atomically
from mobilenetv2.model.arrays import (
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
    Arrays,
)
from mobilenetv2.spec.blocks import Convolution, resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

OURS = "mobilenetv2"
"""Key of our config in ``userDefinedMetadata``."""
ENDINGS = {"softmax": "softmax", "sigmoid": "sigmoid", "logit": "sigmoid"}
"""Activation of the last layer, by the meaning of the outputs."""
NUMERICS = published("keras").numerics


@dataclass(frozen=True, slots=True)
class WebDialect(GraphDialect):
    """Layers models, which are two files: JSON, and the weights."""

    def places(self, out: Path) -> list[Path]:
        """Return the paths that an export to a folder or to a JSON file writes."""
        if out.suffix.lower() != ".json":
            return [out]
        return [out, out.with_name(_weights_of(out.name))]

    def write(self, config: ModelConfig, arrays: Arrays, out: Path) -> None:
        """Write a folder with both files, or both beside one another."""
        spec = config.spec
        topology, order = layers_model(spec, arrays)
        weights = b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in order.values())
        if out.suffix.lower() == ".json":
            write_atomically(out.with_name(_weights_of(out.name)), weights)
            write_atomically(out, _json(config, topology, order, _weights_of(out.name)))
            return
        with atomic_folder(out) as folder:
            write_atomically(folder / WEIGHTS, weights)
            write_atomically(folder / MODEL, _json(config, topology, order, WEIGHTS))


def _weights_of(name: str) -> str:
    """Return the name of the weights beside a JSON file."""
    return WEIGHTS if name == MODEL else f"{name[: -len('.json')]}.{WEIGHTS}"


def _json(config: ModelConfig, topology: Mapping[str, Any], arrays: Arrays, file: str) -> str:
    """Return the text of ``model.json``."""
    listed = [
        {"name": name, "shape": list(array.shape), "dtype": "float32"}
        for name, array in arrays.items()
    ]
    content = {
        "format": "layers-model",
        "generatedBy": "mobilenetv2",
        "convertedBy": None,
        "modelTopology": {
            "keras_version": "2.15.0", "backend": "tensorflow", "model_config": topology,
        },
        "weightsManifest": [{"paths": [file], "weights": listed}],
        "userDefinedMetadata": {OURS: json.loads(config.to_json())},
    }  # fmt: skip
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


# ---------------------------------------------------------------- reading


def open_model(container: Container, _: Path, options: ImportOptions) -> GraphCheckpoint:
    """Follow a layers model, and read the config in it if it is ours.

    Raises:
        DialectError: another network, or a damaged config.
    """
    user = container.metadata.get("user")
    ours = user.get(OURS) if isinstance(user, Mapping) else None
    inside = None if ours is None else describe_config(parse_config(json.dumps(ours)))
    config = container.metadata["config"]
    return model_checkpoint(DIALECT, container, config, options.body, inside)


# ---------------------------------------------------------------- writing


class _Rows:
    """Layers of a model in Keras 2's form, each behind the last one."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.rows: list[dict[str, Any]] = []
        self.last = ""
        shape = [None, *spec.size, spec.input_channels]
        self.add("InputLayer", "input_1", batch_input_shape=shape, dtype="float32", sparse=False)

    def add(self, kind: str, name: str, *sources: str, **settings: Any) -> str:
        """Add a layer that takes the last one's output, or those of ``sources``."""
        taken = sources or ([self.last] if self.last else [])
        nodes = [[[source, 0, 0, {}] for source in taken]] if taken else []
        self.rows.append({
            "class_name": kind, "name": name, "inbound_nodes": nodes,
            "config": {"name": name, "trainable": True, **settings},
        })  # fmt: skip
        self.last = name
        return name

    def convolve(self, layer: Convolution, spec: NetworkSpec) -> None:
        """Add a convolution with its padding, BatchNorm and activation."""
        numerics, name = spec.numerics, layer_name(layer.name)
        rule = "same"
        if layer.stride == 2 and layer.kernel > 1 and numerics.padding == "symmetric":
            rule = "valid"
            pads = [list(pair) for pair in layer.padding]
            self.add("ZeroPadding2D", f"{name}_pad", padding=pads, data_format="channels_last")
        settings: dict[str, Any] = {
            "kernel_size": [layer.kernel] * 2, "strides": [layer.stride] * 2, "padding": rule,
            "data_format": "channels_last", "dilation_rate": [1, 1], "activation": "linear",
            "use_bias": layer.bias,
        }  # fmt: skip
        if layer.role == "depthwise":
            self.add("DepthwiseConv2D", name, depth_multiplier=1, **settings)
        else:
            self.add("Conv2D", name, filters=layer.out_channels, **settings)
        self.add(
            "BatchNormalization", f"{name}_BN", axis=3, epsilon=numerics.epsilon,
            momentum=round(1 - numerics.update_rate, 12), center=True, scale=True,
        )  # fmt: skip
        if layer.activation is not None:
            bound = {"max_value": 6.0} if layer.activation == "relu6" else {}
            self.add("ReLU", f"{name}_relu", **bound)


def layer_name(canonical: str) -> str:
    """Return a layer's name for its canonical one: 'blocks_3_expand' for 'blocks.3.expand'."""
    return canonical.replace(".", "_")


def layers_model(spec: NetworkSpec, arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Return a network as a layers model: its config, and its weights by name.

    Raises:
        DialectError: the network has blocks that the readers of such files do not know.
    """
    if {stage.kind for stage in spec.stages} != {"inverted"} or spec.head == "none":
        raise DialectError("tfjs has MobileNetV2's inverted residual blocks only")
    if spec.projection != "linear":
        raise DialectError("tfjs has linear projections only")
    network, rows = resolve(spec), _Rows(spec)
    rows.convolve(network.stem, spec)
    for block in network.blocks:
        start = rows.last
        for step in block.steps:
            rows.convolve(step, spec)
        if block.residual:
            end = rows.last
            if block.shortcut is not None:
                rows.last = start
                rows.convolve(block.shortcut, spec)
                start = rows.last
            rows.add("Add", f"blocks_{block.index}_add", start, end)
    assert network.head is not None
    rows.convolve(network.head, spec)
    kind = "Average" if spec.classifier.pooling == "average" else "Max"
    rows.add(f"Global{kind}Pooling2D", "pool", data_format="channels_last")
    rows.add("Dropout", "dropout", rate=spec.dropout)
    for linear in network.linears:
        last = linear.name == "classifier"
        activation = ENDINGS[spec.classifier.outputs] if last else linear.activation or "linear"
        name = layer_name(linear.name)
        rows.add(
            "Dense", name, units=linear.out_features, activation=activation, use_bias=linear.bias
        )
        if linear.dropout:
            rows.add("Dropout", f"{name}_dropout", rate=linear.dropout)
    config = {
        "name": "mobilenetv2", "trainable": True, "layers": rows.rows,
        "input_layers": [["input_1", 0, 0]], "output_layers": [[rows.last, 0, 0]],
    }  # fmt: skip
    return {"class_name": "Functional", "config": config}, _weights(arrays)


def _weights(arrays: Arrays) -> Arrays:
    """Return the weights under TensorFlow.js's names, in its layouts."""
    named: Arrays = {}
    norm = {"scale": "gamma", "shift": "beta", "mean": "moving_mean", "variance": "moving_variance"}
    for canonical, array in arrays.items():
        layer, _, part = canonical.rpartition(".")
        if layer.endswith(".bn"):
            named[f"{layer_name(layer.removesuffix('.bn'))}_BN/{norm[part]}"] = array
            continue
        name, word = layer_name(layer.removesuffix(".conv")), "bias"
        if part == "weight":
            depthwise = layer.endswith(".depthwise.conv")
            word = "depthwise_kernel" if depthwise else "kernel"
            layout = TENSORFLOW_DEPTHWISE if depthwise else TENSORFLOW_CONVOLUTION
            layout = TENSORFLOW_LINEAR if array.ndim == 2 else layout
            array = layout.from_canonical(array)
        named[f"{name}/{word}"] = array
    return named


DIALECT = WebDialect(
    "tfjs", (), read_tfjs, open_model, lambda *_: b"",
    by_padding(NUMERICS), folder=frozenset({MODEL, WEIGHTS}),
)  # fmt: skip
