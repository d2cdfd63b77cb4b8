"""Engine LiteRT (TensorFlow Lite) for phones and small boards (extra: litert), and its files."""

import dataclasses
import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import require
from mobilenetv2.graph.graph import (
    LOGITS,
    PROBABILITIES,
    Constant,
    Conv,
    Linear,
    Operation,
    Steps,
    zero_integers,
)
from mobilenetv2.graph.litert import CONFIG, SIGNED, Storage, outline
from mobilenetv2.graph.lowering import lower_shapes
from mobilenetv2.model import seal
from mobilenetv2.model.outputs import logits_of, require_probabilities
from mobilenetv2.process import suppress_native_output
from mobilenetv2.runtime.engines.engine import (
    Artifact,
    Engine,
    Output,
    Program,
    another_network,
    archived_config,
    cannot_run,
    embedded_config,
    read_bounded,
)
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import ModelConfig

if TYPE_CHECKING:
    from mobilenetv2.checkpoints.containers.litert import Graph, Tensor


def read_artifact(path: Path) -> Artifact:
    """Read a LiteRT file, with the config in the archive behind its graph."""
    from mobilenetv2.checkpoints.containers.litert import parse_litert

    data = read_bounded(path)
    graph = parse_litert(data, path)
    text = None
    if zipfile.is_zipfile(io.BytesIO(data)):
        text = archived_config(data, CONFIG, path, "the archive behind its graph is damaged")
    config = embedded_config(text, path)
    seal.check(data, str(path))
    given = [list(graph.tensors[at].shape) for at in graph.inputs]
    ends = {graph.tensors[at].name: list(graph.tensors[at].shape) for at in graph.outputs}
    spec, answers = config.spec, ends.get(LOGITS, ends.get(PROBABILITIES))
    if given != [[1, *spec.size, spec.input_channels]] or answers != [1, spec.logits]:
        raise another_network(path, config, f"takes {given} and gives {ends}")
    if reason := difference(data, graph, config):
        raise another_network(path, config, f"has {reason}")
    return Artifact(config, "litert", data, str(path))


def difference(data: bytes, found: "Graph", config: ModelConfig) -> str:
    """Return what in a file differs from the file that is written for its config, in words.

    Returns:
        The first difference of a tensor, an operator or a constant; '' if only numbers of weights
        and quantisation differ.
    """
    from mobilenetv2.checkpoints.containers.litert import structure

    named = {tensor.name: tensor for tensor in found.tensors}
    (given,), ends = found.inputs, [found.tensors[at].name for at in found.outputs]
    unsigned = found.tensors[given].dtype == "uint8"
    pictures = unsigned and found.tensors[given].scale is None
    graph = lower_shapes(config)
    try:
        graph = graph.with_outputs(*(name for name in ends if name not in (LOGITS, PROBABILITIES)))
        for output in graph.outputs.values():
            graph.tensors[output]  # raises KeyError for a tensor that the network does not have
    except KeyError:
        return f"outputs {', '.join(ends)}"
    if pictures:
        graph = graph.with_normalisation()
    called = {tensor: name for name, tensor in graph.outputs.items()}
    tensors = {
        name: dataclasses.replace(tensor, steps=_steps(named, name, called.get(name, name)))
        for name, tensor in graph.tensors.items()
    }
    operations = tuple(_layer_as_stored(op, named) for op in graph.operations)
    storage: Storage = "float32"
    if any(tensor.dtype == "float16" for tensor in found.tensors):
        storage = "float16"
    elif any(f"{layer.name}.weight.int8" in named for layer in graph.layers()):
        storage = "int8"
    try:
        body, learned = outline(
            graph.replace(tensors=tensors, operations=operations), storage,
            unsigned and not pictures, PROBABILITIES in ends,
        )  # fmt: skip
    except (OverflowError, struct.error):  # of a zero point
        return "a quantisation that is not its own"
    here, wanted = structure(data), structure(body)
    if len(here.operators) != len(wanted.operators) or len(here.tensors) != len(wanted.tensors):
        return f"{len(here.operators)} operators, not {len(wanted.operators)}"
    for at, pair in enumerate(zip(here.tensors, wanted.tensors, strict=True)):
        same = bool(here.stored[at]) if at in learned else here.stored[at] == wanted.stored[at]
        if pair[0] != pair[1] or not same:
            return f"another tensor {found.tensors[at].name}"
    for at, values in ((at, found.tensors[at].values) for at in learned):
        if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
            return f"a constant {found.tensors[at].name} that is not finite"
    for one, other in zip(here.operators, wanted.operators, strict=True):
        if one != other:
            return f"an operator with the tensors {one[1]} and {one[2]} that is not its own"
    return "" if here.ends == wanted.ends else "other outputs"


def _steps(named: Mapping[str, "Tensor"], name: str, called: str) -> Steps | None:
    """Return the quantisation that the file has for a tensor of the graph."""
    tensor = named.get(f"{name}.int8") or named.get(called)
    if tensor is None or tensor.scale is None or tensor.zero_point is None:
        return None
    extra = SIGNED if tensor.dtype == "int8" else 0
    return Steps(float(tensor.scale[0]), int(tensor.zero_point[0]) + extra)


def _layer_as_stored(operation: Operation, named: Mapping[str, "Tensor"]) -> Operation:
    if not isinstance(operation, Conv | Linear):
        return operation
    weight = _integers(operation.weight, np.int8, named.get(f"{operation.name}.weight"))
    bias = _integers(operation.bias, np.int32, named.get(f"{operation.name}.bias"))
    assert weight is not None
    return dataclasses.replace(operation, weight=weight, bias=bias)


def _integers(value: Constant | None, dtype: Any, stored: "Tensor | None") -> Constant | None:
    """Return a constant of the same shape in integers, if the file has scales for it."""
    if value is None or stored is None or stored.scale is None:
        return value
    return zero_integers(value, dtype, per_channel=stored.scale.size > 1)


class LiteRt(Engine):
    """Engine for float and quantised LiteRT files.

    It computes one image at a time. A batch is not faster (measured on a CPU with XNNPACK), and
    each new batch size would prepare all weights again. Inputs and outputs of quantised graphs are
    float32, too.

    Args:
        kind: meaning of the network's logits, for files that give probabilities.
    """

    title = "LiteRT"

    def __init__(self, interpreter: Any, where: str, kind: Outputs = "softmax") -> None:
        super().__init__(where)
        self.kind = kind
        self.interpreter, self._lock = interpreter, Lock()
        (self._input,) = interpreter.get_input_details()
        self._ends = {end["name"]: end for end in interpreter.get_output_details()}
        self.outputs, self.batch = tuple(self._ends), int(self._input["shape"][0])
        if PROBABILITIES in self._ends:
            self.outputs = (*self.outputs, LOGITS)
        scale, _ = self._input["quantization"]
        self.takes_pictures = self._input["dtype"] == np.uint8 and not scale

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Compute one output of a batch of the graph's batch size."""
        if output == LOGITS and LOGITS not in self._ends:
            given = self.compute(x, "probabilities")
            found = logits_of(require_probabilities(given, self.kind, self.where), self.kind)
            return np.asarray(found, np.float32)
        found = self.answer(x if self.takes_pictures else x.transpose(0, 2, 3, 1), output)
        return found.transpose(0, 3, 1, 2) if output == "map" else found

    def answer(self, x: NDArray, output: str) -> NDArray:
        """Compute one output of a batch in the graph's own layout."""
        end, given = self._ends[output], stored(x, self._input)
        with self._lock:  # an interpreter has one set of tensors
            try:
                self.interpreter.set_tensor(self._input["index"], given)
                self.interpreter.invoke()
                found = real(self.interpreter.get_tensor(end["index"]), end)
            except (RuntimeError, ValueError) as error:
                raise self.failure(_reason(error)) from None
        return found


def create_engine(
    artifact: Program, threads: int | None = None, shape: Sequence[int] | None = None
) -> LiteRt:
    """Start an interpreter on the CPU, with XNNPACK.

    Args:
        artifact: the artifact.
        threads: number of threads; default: the interpreter's own choice.
        shape: shape of the input, for a graph that takes any size; default: the graph's own.
    """
    library: Any = require("ai_edge_litert.interpreter")
    try:
        with suppress_native_output():  # a message about its delegate
            # From bytes, so that the checked bytes are the ones run.
            interpreter = library.Interpreter(model_content=artifact.graph, num_threads=threads)
            if shape is not None:
                (given,) = interpreter.get_input_details()
                if list(given["shape"]) != list(shape):
                    interpreter.resize_tensor_input(given["index"], list(shape))
            interpreter.allocate_tensors()
        kind: Outputs = "softmax"
        if isinstance(artifact, Artifact):
            kind = artifact.config.spec.classifier.outputs
        return LiteRt(interpreter, artifact.where, kind)
    except (RuntimeError, ValueError) as error:
        raise cannot_run(artifact.where, LiteRt.title, _reason(error)) from None


def stored(values: NDArray, tensor: Any) -> NDArray:
    """Quantise values for a tensor of the graph.

    Args:
        values: float32 values.
        tensor: the interpreter's description of the tensor.

    Returns:
        Integers, rounded half to even, for a quantised tensor or one of integers; else the values.
    """
    scale, zero_point = tensor["quantization"]
    if not scale and np.issubdtype(tensor["dtype"], np.floating):
        return values.astype(tensor["dtype"], copy=False)
    bounds = np.iinfo(tensor["dtype"])
    levels = np.rint(values / np.float32(scale or 1)) + zero_point
    return np.asarray(np.clip(levels, bounds.min, bounds.max), tensor["dtype"])


def real(values: NDArray, tensor: Any) -> NDArray:
    """Dequantise values of a tensor of the graph to float32."""
    scale, zero_point = tensor["quantization"]
    if not scale:
        return np.asarray(values, np.float32)
    return (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
