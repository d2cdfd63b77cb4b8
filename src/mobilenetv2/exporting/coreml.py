"""Writer of Core ML: an ML Program for Apple's CPU, GPU and Neural Engine.

The program is converted here but runs only on Apple's systems. :func:`reload` therefore computes
the saved package in NumPy, operator by operator. The operators are those of MIL, the language of ML
Programs, that a MobileNetV2 needs. Every result is rounded to the type that the program declares;
sums are float32.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenetv2.editions.numpy import operations
from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.exporting.direct import graph_of
from mobilenetv2.exporting.job import Options
from mobilenetv2.graph.onnx import CONFIG_KEY
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.card import PROBABILITIES, kind
from mobilenetv2.process import suppress_greetings
from mobilenetv2.runtime.engines.engine import Engine, Output, read_bounded
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import first_line

INPUT, OUTPUT = "input", "logits"
LABELS = "labels"
"""Key of the metadata with the names of the classes, a JSON list for apps."""
MODEL = Path("Data", "com.apple.CoreML", "model.mlmodel")
WEIGHTS = Path("Data", "com.apple.CoreML", "weights", "weight.bin")
CONSTANT = "const"
FUNCTION = "main"
TYPES = {"fp16": np.float16, "fp32": np.float32}
"""NumPy's types by MIL's names."""
Arguments = Mapping[str, Any]
"""Arguments of an operator by name: arrays, numbers and texts."""


def write_coreml(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write a sealed package (a folder) for one image at a time.

    ``input`` is float32 (1, channels, height, width), normalised, for any precision of the weights.
    """
    network, half = GraphModule(graph_of(config, arrays, options)), options.precision == "float16"
    x = torch.zeros(1, config.spec.input_channels, *config.spec.size)
    # It names every package that it was not tested with, and draws its progress on stderr.
    with suppress_greetings():
        tools: Any = require("coremltools")
        try:
            made = tools.convert(
                torch.jit.trace(network, (x,)),
                inputs=[tools.TensorType(INPUT, tuple(x.shape))],
                outputs=[tools.TensorType(OUTPUT)],
                compute_precision=tools.precision.FLOAT16 if half else tools.precision.FLOAT32,
                # The first with ML Programs. Later ones would take float16 for what goes in.
                minimum_deployment_target=tools.target.iOS15,
                skip_model_load=True,
            )
        except Exception as error:  # its passes raise whatever comes
            raise ArtifactError(
                f"coremltools cannot convert the network ({first_line(error)})"
            ) from None
        describe(made, config)
        made.save(str(out))
        _close(tools, out)


def describe(made: Any, config: ModelConfig) -> None:
    """Set the texts that Xcode shows, and the metadata for apps."""
    spec, record = config.spec, config.preprocessing
    made.short_description = (
        f"{kind(spec)}, {spec.classes} classes, {spec.size[0]} x {spec.size[1]} pixels"
    )
    if config.origin and config.origin.licence:
        made.license = config.origin.licence
    made.input_description[INPUT] = (
        f"A picture, channels first: (value - mean) / std on values from 0 to 255, with mean "
        f"{list(record.mean)} and std {list(record.std)}"
    )
    made.output_description[OUTPUT] = PROBABILITIES[spec.classifier.outputs]
    made.user_defined_metadata[CONFIG_KEY] = config.to_json()
    made.user_defined_metadata[LABELS] = json.dumps(config.labels.names, ensure_ascii=False)


def _close(tools: Any, out: Path) -> None:
    """Append the seal to the model's file."""
    # Protobuf takes a message that is appended to another of its kind as part of it.
    last = tools.proto.Model_pb2.Model()
    last.description.metadata.userDefined[seal.KEY] = "0" * seal.DIGITS
    body = (out / MODEL).read_bytes() + last.SerializeToString()[: -seal.DIGITS]
    digest = seal.digest(body, (out / WEIGHTS).read_bytes())
    (out / MODEL).write_bytes(body + digest.encode())


def reload(out: Path, threads: int | None = None) -> "MilProgram":
    """Return a package of this program, computed in NumPy; ``threads`` is ignored.

    Raises:
        ArtifactError: the package was changed, or has an unknown operator.
        MissingExtra: coremltools is not installed.
    """
    try:
        data, weights = (read_bounded(out / part) for part in (MODEL, WEIGHTS))
    except OSError as error:
        raise ArtifactError(f"{out}: not a Core ML package ({error.strerror})") from None
    seal.check(data, str(out), weights)
    with suppress_greetings():
        tools: Any = require("coremltools")
        model = tools.proto.Model_pb2.Model.FromString(data)
        from coremltools.converters.mil.frontend.milproto.load import load

        program = load(model, model.specificationVersion, str((out / WEIGHTS).parent))
    return MilProgram(program, str(out))


class MilProgram(Engine):
    """Engine that computes a program image by image.

    Args:
        program: the program as coremltools reads it.
        where: its name for an error message.
    """

    def __init__(self, program: Any, where: str) -> None:
        super().__init__(where)
        self.function = program.functions[FUNCTION]
        ((self.input, given),) = self.function.inputs.items()
        self.batch, *sides = given.shape
        self.shape = tuple(sides)
        self.outputs = tuple(output.name for output in self.function.outputs)

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Return one output for a batch of the graph's size."""
        found: dict[str, Any] = {self.input: x}
        for operation in self.function.operations:
            if operation.op_type == CONSTANT:
                continue
            compute = OPERATORS.get(operation.op_type)
            if compute is None:
                raise ArtifactError(f"{self.where}: the operator {operation.op_type} is unknown")
            arguments = {
                name: found.get(value.name, value.val)
                for name, value in operation.inputs.items()
                if value is not None
            }
            try:
                y = compute(arguments)
            except (KeyError, ValueError, IndexError) as error:
                raise ArtifactError(
                    f"{self.where}: {operation.op_type} {operation.name} cannot be ({error})"
                ) from None
            (made,) = operation.outputs
            if y.shape != tuple(made.shape):
                raise ArtifactError(
                    f"{self.where}: {made.name} is {list(y.shape)}, not {list(made.shape)}"
                )
            found[made.name] = y.astype(TYPES[made.dtype.__type_info__().name])
        return np.asarray(found[output], np.float32)


def convolve(given: Arguments) -> NDArray:
    """Return a dense or depthwise convolution.

    Raises:
        ValueError: it is dilated, or has unequal strides or other groups.
    """
    x, weight = wide(given["x"]), wide(given["weight"])
    strides, groups = list(given.get("strides", [1, 1])), int(given.get("groups", 1))
    if strides[0] != strides[1] or any(side != 1 for side in given.get("dilations", [1])):
        raise ValueError(f"strides {strides} or dilations")
    kind = given.get("pad_type", "valid")
    if kind not in ("valid", "custom"):
        raise ValueError(f"padding {kind!r}")
    top, bottom, left, right = given["pad"] if kind == "custom" else (0, 0, 0, 0)
    if groups not in (1, x.shape[1]):
        raise ValueError(f"{groups} groups of {x.shape[1]} channels")
    # One channel in and one group are both: dense it is.
    compute = operations.convolution if groups == 1 else operations.depthwise_convolution
    y = compute(x, weight, int(strides[0]), ((int(top), int(bottom)), (int(left), int(right))))
    return y + wide(given["bias"])[:, None, None] if "bias" in given else y


def pad(given: Arguments) -> NDArray:
    """Return the tensor with constant values before and after its last axes.

    Raises:
        ValueError: the padding is not constant.
    """
    if given.get("mode", "constant") != "constant":
        raise ValueError(f"padding {given['mode']!r}")
    x, amounts = wide(given["x"]), np.reshape(given["pad"], (-1, 2)).tolist()
    amounts = [[0, 0]] * (x.ndim - len(amounts)) + amounts
    return np.pad(x, amounts, constant_values=float(given.get("constant_val", 0)))


def reduce(given: Arguments, compute: Any) -> NDArray:
    """Return a reduction, such as the mean, over some axes."""
    axes = tuple(int(axis) for axis in given["axes"])
    return np.asarray(compute(wide(given["x"]), axes, keepdims=bool(given.get("keep_dims", False))))


def linear(given: Arguments) -> NDArray:
    """Return ``x @ weight.T + bias``."""
    y: NDArray = wide(given["x"]) @ wide(given["weight"]).T
    return y + wide(given["bias"]) if "bias" in given else y


def wide(values: Any) -> NDArray:
    """Return the values in float32."""
    return np.asarray(values, np.float32)


OPERATORS: dict[str, Callable[[Arguments], NDArray]] = {
    "conv": convolve,
    "pad": pad,
    "clip": lambda given: np.clip(wide(given["x"]), given["alpha"], given["beta"]),
    "relu6": lambda given: np.clip(wide(given["x"]), 0, 6),
    "relu": lambda given: np.maximum(wide(given["x"]), 0),
    "add": lambda given: wide(given["x"]) + wide(given["y"]),
    "reduce_mean": lambda given: reduce(given, np.mean),
    "reduce_max": lambda given: reduce(given, np.max),
    "reshape": lambda given: wide(given["x"]).reshape([int(side) for side in given["shape"]]),
    "linear": linear,
    "cast": lambda given: wide(given["x"]),
}
"""Functions by MIL's names of operators; the rounding of its result performs a cast."""
