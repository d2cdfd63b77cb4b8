"""Facts of a foreign ONNX file of any network.

Only names, shapes, metadata and small constants are read. The fields are counted before the file is
parsed, as in :mod:`mobilenetv2.checkpoints.containers.onnx`. Weights outside of the file are
refused here; :mod:`mobilenetv2.checkpoints.foreign.onnx_inside` takes them in.
"""

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.checkpoints.containers.onnx import LONGEST_METADATA
from mobilenetv2.checkpoints.description import Normalisation
from mobilenetv2.checkpoints.foreign import (
    LARGEST_FIRST,
    End,
    Facts,
    largest_norm,
    picture_end,
    require_room,
    vector_end,
)
from mobilenetv2.checkpoints.foreign.onnx_inside import parse_model, require_inside
from mobilenetv2.checkpoints.foreign.wiring import (
    MOST_VALUES,
    Node,
    Wiring,
    front,
    last_operator,
    source,
)
from mobilenetv2.errors import WeightsError
from mobilenetv2.spec.records import Labels, Resize

RANGES: dict[str, Normalisation] = {
    "NominalRange_0_255": ((0.0,), (1.0,)), "Normalized_0_1": ((0.0,), (255.0,)),
    "Normalized_1_1": ((127.5,), (127.5,)),
}  # fmt: skip
"""Mean and standard deviation by ONNX's own metadata ``Image.NominalPixelRange``."""
ULTRALYTICS = "Ultralytics"
UNIT: Normalisation = ((0.0,), (255.0,))
LABEL_KEYS = ("names", "labels", "classes", "class_names", "id2label", "class_to_idx")
"""Keys of metadata in which programs keep their class names."""
LONGEST_TEXT = 1024**2
FROM_TENSORFLOW = ("tf2onnx", "keras", "tensorflow")


def onnx_facts(data: bytes, path: Path) -> Facts:
    """Return the facts of a file's bytes.

    Args:
        data: the whole file.
        path: the file's name, for messages.

    Raises:
        WeightsError: the file is damaged, needs other files, or has operators of another program.
        DialectError: the network takes no picture, or gives no vector.
    """
    with bounds.damage("ONNX file", path):
        return _facts(parse_model(data))


def _facts(model: Any) -> Facts:
    graph = model.graph
    if max(len(graph.node), len(graph.initializer)) > bounds.MOST_ENTRIES:
        raise WeightsError(f"more than {bounds.MOST_ENTRIES:,} nodes or constants in it")
    require_inside(model)
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [_end(value) for value in graph.input if value.name not in stored]
    outputs = [_end(value) for value in graph.output]
    layout, size, channels, batch = picture_end(inputs)
    classes = vector_end(outputs, frozenset(node.op_type for node in graph.node))
    wiring = _wiring(graph)
    meaning, last = last_operator(wiring, outputs[0].name)
    begin = front(wiring, inputs[0].name)
    said = {p.key: p.value for p in model.metadata_props if len(p.value) <= LONGEST_METADATA}
    if size is None and (size := _stated_size(said)) is not None:
        require_room(size, channels, batch or 1, "its metadata 'imgsz'")
    normalisation, normalisation_from = _normalisation(said, channels)
    labels, labels_from = _labels(said, classes)
    made_by = f"{model.producer_name} {model.doc_string[:200]}".lower()
    return Facts(
        "onnx", size, channels, layout, batch, classes, meaning, last,
        input_type=inputs[0].dtype, input_range=_range(graph, inputs[0].name),
        scaled=begin.scaled, largest_filter=_largest_filter(graph, wiring, begin.filters),
        normalisation=normalisation,
        normalisation_from=normalisation_from,
        bgr=said.get("Image.BitmapPixelFormat", "").lower().startswith("bgr"),
        fit=_fit(said), labels=labels, labels_from=labels_from,
        licence=said.get("license") or None,
        from_tensorflow=layout == "NHWC" or any(name in made_by for name in FROM_TENSORFLOW),
    )  # fmt: skip


def _end(value: Any) -> End:
    import onnx

    tensor = value.type.tensor_type
    names = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64"}
    kind = names.get(tensor.elem_type) or _type_name(onnx.TensorProto, tensor.elem_type)
    sides = tensor.shape.dim
    if len(sides) > bounds.MOST_SIDES:
        raise ValueError(f"{value.name!r} has {len(sides)} dimensions")
    shape = tuple(side.dim_value if side.dim_value > 0 else None for side in sides)
    return End(value.name, shape, kind)


def _type_name(proto: Any, number: int) -> str:
    try:
        return str(proto.DataType.Name(number)).lower()
    except ValueError:
        return "unknown"


def _wiring(graph: Any) -> Wiring:
    nodes = [Node(n.op_type, tuple(n.input), tuple(n.output)) for n in graph.node]
    constants: dict[str, NDArray] = {}
    for tensor in graph.initializer:
        _add_small(constants, tensor.name, tensor)
    for node in graph.node:
        if node.op_type == "Constant" and len(node.output) == 1:
            for attribute in node.attribute:
                if attribute.name == "value":
                    _add_small(constants, node.output[0], attribute.t)
                elif attribute.name == "value_float":
                    constants[node.output[0]] = np.array([attribute.f])
    return Wiring(nodes, constants)


def _add_small(constants: dict[str, NDArray], name: str, tensor: Any) -> None:
    import onnx

    if int(np.prod(tensor.dims, dtype=np.float64)) <= MOST_VALUES and tensor.data_type in (
        onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
        onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
    ):  # fmt: skip
        constants[name] = np.asarray(onnx.numpy_helper.to_array(tensor), np.float64)


def _largest_filter(graph: Any, wiring: Wiring, name: str | None) -> float | None:
    """Return the largest norm of the first convolution's filters (filters, k, height, width)."""
    import onnx

    stored = "" if name is None else source(wiring, name)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    for tensor in graph.initializer:
        small = 0 < 4 * np.prod(tensor.dims, dtype=np.float64) <= LARGEST_FIRST
        if tensor.name == stored and tensor.data_type in floats and len(tensor.dims) == 4 and small:
            return largest_norm(np.asarray(onnx.numpy_helper.to_array(tensor)))
    return None


def _range(graph: Any, name: str) -> tuple[float, float] | None:
    """Return the range to which a QuantizeLinear behind the input clips it."""
    wiring = _wiring(graph)
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] == name and len(node.input) == 3:
            scale, zero = (wiring.constants.get(other) for other in node.input[1:])
            if scale is None or zero is None or scale.size != 1 or zero.size != 1:
                return None
            signed = any(
                tensor.name == node.input[2] and tensor.data_type == 3
                for tensor in graph.initializer
            )
            low, high = (-128, 127) if signed else (0, 255)
            step, middle = float(scale.ravel()[0]), float(zero.ravel()[0])
            return (low - middle) * step, (high - middle) * step
    return None


def _normalisation(said: Mapping[str, str], channels: int) -> tuple[Normalisation | None, str]:
    key = "Image.NominalPixelRange"
    if said.get(key) in RANGES:
        return _spread(RANGES[said[key]], channels), f"its metadata {key}"
    if _classifies_by_ultralytics(said):
        return _spread(UNIT, channels), f"its metadata (author {ULTRALYTICS})"
    return None, ""


def _spread(values: Normalisation, channels: int) -> Normalisation:
    mean, std = values
    return mean * channels, std * channels


def _classifies_by_ultralytics(said: Mapping[str, str]) -> bool:
    return said.get("author") == ULTRALYTICS and said.get("task") == "classify"


def _fit(said: Mapping[str, str]) -> Resize | None:
    return "cover" if _classifies_by_ultralytics(said) else None


def _stated_size(said: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the size that Ultralytics writes as '[224, 224]', for a graph of any size."""
    found = _literal(said.get("imgsz", ""))
    if isinstance(found, list) and len(found) == 2 and all(isinstance(n, int) for n in found):
        return (found[0], found[1]) if all(1 <= side <= 8192 for side in found) else None
    return None


def _labels(said: Mapping[str, str], classes: int | None) -> tuple[Labels | None, str]:
    """Return the class names in the metadata, and their key."""
    for key in LABEL_KEYS:
        names = _names(_literal(said.get(key, "")))
        if names and (classes is None or len(names) == max(2, classes)):
            return Labels(names), f"its metadata {key!r}"
    return None, ""


def _literal(text: str) -> Any:
    """Return a list or a table written as JSON or as Python prints it; None for anything else."""
    if len(text) > LONGEST_TEXT:
        return None
    for parse in (json.loads, ast.literal_eval):  # the second reads constants only
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _names(found: Any) -> tuple[str, ...]:
    """Return class names of a list, of index to name, or of name to index; () for others."""
    if isinstance(found, dict):
        keys, values = list(found), list(found.values())
        if all(isinstance(value, int) for value in values):
            keys, values = values, keys
        order = {str(key): value for key, value in zip(keys, values, strict=True)}
        found = [order.get(str(index)) for index in range(len(order))]
    if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
        return ()
    return tuple(found)
