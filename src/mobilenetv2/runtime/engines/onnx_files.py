"""ONNX files that this package exported: reading, and the check that they are their config's.

A file's operators and constants are those that the writer gives the network of its config, apart
from the numbers of the weights: a seal proves only that a file was not damaged by accident.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import Graph, parse_onnx, short
from mobilenetv2.errors import SpecError
from mobilenetv2.graph.graph import (
    LOGITS,
    Constant,
    Conv,
    Linear,
    Operation,
    Steps,
    zero_integers,
)
from mobilenetv2.graph.graph import Graph as Network
from mobilenetv2.graph.lowering import lower_shapes
from mobilenetv2.graph.onnx import CONFIG_KEY, FLOAT16, OPSETS, outline
from mobilenetv2.model import seal
from mobilenetv2.runtime.engines.engine import (
    Artifact,
    another_network,
    embedded_config,
    read_bounded,
)
from mobilenetv2.spec.records import ModelConfig

STEPS = "scale", "zero_point"
"""Ends of the names of the constants that quantise a tensor."""


def read_file(path: Path) -> Artifact:
    """Read an ONNX file; raise if it needs data of other files."""
    data = read_bounded(path)
    graph = parse_onnx(data, path)
    config = embedded_config(graph.metadata.get(CONFIG_KEY), path)
    seal.check(data, str(path))
    (shape,) = graph.inputs.values()
    wanted, sides = (*config.spec.size, config.spec.input_channels), tuple(shape[1:])
    if len(sides) == 3 and sides[0] in (1, 3):  # channels first; images have them last
        sides = (*sides[1:], sides[0])
    if len(sides) != 3 or any(s not in (None, w) for s, w in zip(sides, wanted, strict=True)):
        raise another_network(path, config, f"takes {list(shape)}")
    if reason := difference(graph, config):
        raise another_network(path, config, f"has {reason}")
    return Artifact(config, "onnx", data, str(path))


def difference(found: Graph, config: ModelConfig) -> str:
    """Return what in a file differs from the file that is written for its config, in words.

    Returns:
        The first difference of an operator or a constant; '' if only numbers of weights differ.
    """
    if found.opset not in OPSETS:
        return f"opset {found.opset}"
    if LOGITS not in found.outputs:
        return f"no output {LOGITS}, only {', '.join(map(str, found.outputs))}"
    try:
        # 'weights export' leaves every BatchNorm in.
        folded = all(node.kind != "BatchNormalization" for node in found.nodes)
        graph = _as_stored(lower_shapes(config, folded), found)
        half = any(node.attributes.get("to") == FLOAT16 for node in found.nodes)
        expected = outline(graph, half)
    except (IndexError, OverflowError):  # of a scale without a value, or a zero point above 255
        return "a quantisation that is not its own"
    except (KeyError, SpecError):
        return f"outputs {', '.join(map(str, found.outputs))}"
    if len(found.nodes) != len(expected.nodes):
        return f"{len(found.nodes)} operators, not {len(expected.nodes)}"
    for node, wanted in zip(found.nodes, expected.nodes, strict=True):
        given = (node.kind, node.inputs, node.outputs, node.attributes)
        attributes = {
            key: short(value) if isinstance(value, float) else value
            for key, value in wanted.attributes.items()
        }
        if given != (wanted.kind, wanted.inputs, (wanted.output,), attributes):
            return (
                f"an operator {node.kind} ({', '.join(map(str, node.outputs))}) that is not its own"
            )
    for name, values in expected.constants.items():
        stored = found.constants.get(name)
        if stored is None or not _alike(stored, values, exact=name not in expected.weights):
            return f"another constant {name}"
    return ""


def _alike(given: NDArray, values: NDArray, exact: bool) -> bool:
    """Return True for constants of one shape and type, and if ``exact`` of the same values.

    The reader of ONNX files widens float16; the runtime itself refuses floats of mixed types.
    """
    floats = given.dtype.kind == "f" == values.dtype.kind
    if given.shape != values.shape or not (floats or given.dtype == values.dtype):
        return False
    if exact:
        return bool((given == values).all())
    return not floats or bool(np.isfinite(given).all())


def _as_stored(graph: Network, found: Graph) -> Network:
    """Return the graph with the file's input, outputs and quantisation."""
    names = [name for name in found.outputs if name != LOGITS]
    graph = graph.with_outputs(*names)
    for output in graph.outputs.values():
        graph.tensors[output]  # raises KeyError for a tensor that the network does not have
    if found.nodes[0].kind == "Transpose":
        graph = graph.with_normalisation()
    tensors = {}
    for name, tensor in graph.tensors.items():
        scale, zero_point = (found.constants.get(f"{name}.{part}") for part in STEPS)
        if scale is not None and zero_point is not None:
            steps = Steps(float(scale.reshape(-1)[0]), int(zero_point.reshape(-1)[0]))
            tensor = dataclasses.replace(tensor, steps=steps)
        tensors[name] = tensor
    operations = tuple(_layer_as_stored(op, found.constants) for op in graph.operations)
    return graph.replace(tensors=tensors, operations=operations)


def _layer_as_stored(operation: Operation, constants: Mapping[str, NDArray]) -> Operation:
    if not isinstance(operation, Conv | Linear):
        return operation
    prefix = operation.name + (".conv" if isinstance(operation, Conv) else "")
    weight = _integers(operation.weight, np.int8, constants.get(f"{prefix}.weight.scale"))
    bias = _integers(operation.bias, np.int32, constants.get(f"{prefix}.bias.scale"))
    assert weight is not None
    return dataclasses.replace(operation, weight=weight, bias=bias)


def _integers(value: Constant | None, dtype: Any, scales: NDArray | None) -> Constant | None:
    """Return a constant of the same shape in integers, if the file has scales for it."""
    if value is None or scales is None:
        return value
    return zero_integers(value, dtype, per_channel=scales.ndim > 0)
