"""Everything that an ONNX file refers to, inside its bytes, before a runtime gets them.

A runtime that meets the name of another file opens it, seen from the current folder. So weights in
files beside the ONNX file are read here, in its folder only, and put into it; whatever could name
another file after that is refused, in every graph and function of the model.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.checkpoints.containers.external import ExternalData
from mobilenetv2.checkpoints.containers.onnx import (
    MESSAGES,
    MOST_FIELDS,
    STORED,
    require_few_fields,
)
from mobilenetv2.errors import WeightsError

OWN_SETS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator sets that ONNX Runtime has."""
DEEPEST = 8
"""Maximum depth of graphs within graphs."""
ONE_FILE = "write it as one file (external_data=False in torch.onnx.export)"


def parse_model(data: bytes) -> Any:
    """Return the ModelProto of a file's bytes, whose fields are counted before.

    Raises:
        WeightsError: the bytes are none, or too many fields.
    """
    import onnx

    try:
        require_few_fields(data, MESSAGES, MOST_FIELDS)
        model = onnx.ModelProto.FromString(data)
    except WeightsError as error:
        raise WeightsError(f"not an ONNX file, or {error}") from None
    except Exception as error:  # protobuf's DecodeError, whose package is not a dependency
        raise WeightsError(f"not an ONNX file, or damaged ({error})") from None
    if not model.HasField("graph") or not model.graph.node:
        raise WeightsError("not an ONNX file (it has no graph)")
    return model


def inlined(data: bytes, path: Path) -> bytes:
    """Return a file's bytes with the weights of the files beside it.

    Args:
        data: the whole file; it is returned as it is if it has all its weights.
        path: the file, in whose folder the others are.

    Raises:
        WeightsError: the file is damaged, or another file is missing, too short, too large, or
            lies elsewhere.
    """
    with bounds.damage("ONNX file", path):
        model = parse_model(data)
        outside = [t for graph in _graphs(model) for t in graph.initializer if _is_outside(t)]
        if not outside:
            return data
        if len(outside) > bounds.MOST_ENTRIES:
            raise WeightsError(f"more than {bounds.MOST_ENTRIES:,} constants in other files")
        beside, left = ExternalData(path.parent), bounds.LARGEST_GRAPH - len(data)
        for tensor in outside:
            count = _bytes(tensor)
            left -= count
            if left < 0:
                raise WeightsError(
                    "its weights in other files are larger than "
                    f"{bounds.LARGEST_GRAPH // 2**20} MB together"
                )
            entries = [(entry.key, entry.value) for entry in tensor.external_data]
            tensor.raw_data = beside.read(tensor.name[:80], entries, count)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
        return bytes(model.SerializeToString())


def _bytes(tensor: Any) -> int:
    """Return the number of bytes that a constant's shape and type have."""
    shape = tuple(tensor.dims)
    if len(shape) > bounds.MOST_SIDES or any(side < 0 for side in shape):
        raise ValueError(f"{tensor.name[:80]!r} has {len(shape)} dimensions or one below 0")
    if tensor.data_type not in STORED:
        raise WeightsError(
            f"{tensor.name[:80]!r}, in another file, has values of type {tensor.data_type}, which "
            f"are not read; {ONE_FILE}"
        )
    return int(STORED[tensor.data_type][0] * math.prod(shape))


def require_inside(model: Any) -> None:
    """Raise if a model needs other files, or operators that ONNX Runtime does not have.

    Raises:
        WeightsError: it does.
    """
    own = OWN_SETS | {function.domain for function in model.functions}
    if len(model.training_info):
        raise WeightsError("training graphs in it are not run; export it for inference")
    for graph in _graphs(model):
        for tensor in graph.initializer:
            _require_stored(tensor)
        if len(graph.sparse_initializer):
            raise _sparse()
    for node in _nodes(model):
        if node.domain not in own:
            raise WeightsError(
                f"operator {node.op_type[:80]!r} of the operator set {node.domain[:80]!r}, "
                "which ONNX Runtime does not have; export it with ONNX's own operators"
            )
    for attribute in _attributes(model):
        if attribute.HasField("sparse_tensor") or len(attribute.sparse_tensors):
            raise _sparse()
        for tensor in ([attribute.t] if attribute.HasField("t") else [], attribute.tensors):
            for one in tensor:
                _require_stored(one)


def _require_stored(tensor: Any) -> None:
    if _is_outside(tensor):
        raise WeightsError(
            f"its weights {tensor.name[:80]!r} are in another file, which is not opened; {ONE_FILE}"
        )


def _is_outside(tensor: Any) -> bool:
    import onnx

    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    return bool(external or len(tensor.external_data))


def _sparse() -> WeightsError:
    return WeightsError("sparse weights in it are not read; export it with dense ones")


def _graphs(model: Any) -> list[Any]:
    """Return the graph, and those inside operators such as If and Loop, also in functions."""
    bodies = [_inner(function.node, 0) for function in model.functions]
    return [model.graph, *_inner(model.graph.node, 0), *(g for body in bodies for g in body)]


def _inner(nodes: Iterable[Any], depth: int) -> list[Any]:
    if depth > DEEPEST:
        raise WeightsError(f"graphs within graphs, more than {DEEPEST} deep")
    found = []
    for node in nodes:
        for attribute in node.attribute:
            given = [attribute.g] if attribute.HasField("g") else []
            for graph in [*given, *attribute.graphs]:
                found += [graph, *_inner(graph.node, depth + 1)]
    return found


def _nodes(model: Any) -> Iterator[Any]:
    for holder in (*_graphs(model), *model.functions):
        yield from holder.node


def _attributes(model: Any) -> Iterator[Any]:
    """Return the attributes of all operators, and what functions have where one is not given."""
    for node in _nodes(model):
        yield from node.attribute
    for function in model.functions:
        yield from function.attribute_proto
