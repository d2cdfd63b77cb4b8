"""Facts of a foreign ONNX file of any network.

Only names, shapes, metadata and small constants are read. The fields are counted before the file is
parsed, as in :mod:`mobilenetv2.checkpoints.containers.onnx`. Weights outside of the file are
refused here; :mod:`mobilenetv2.checkpoints.foreign.onnx_inside` takes them in.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.checkpoints.containers.onnx import LONGEST_METADATA
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
from mobilenetv2.checkpoints.foreign.onnx_metadata import Metadata
from mobilenetv2.checkpoints.foreign.wiring import (
    MOST_VALUES,
    Node,
    Wiring,
    front,
    last_operator,
    source,
)
from mobilenetv2.errors import WeightsError

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
    said = Metadata(
        {p.key: p.value for p in model.metadata_props if len(p.value) <= LONGEST_METADATA}
    )
    if size is None and (size := said.size) is not None:
        require_room(size, channels, batch or 1, "its metadata 'imgsz'")
    normalisation, normalisation_from = said.normalisation(channels)
    labels, labels_from = said.labels(classes)
    made_by = f"{model.producer_name} {model.doc_string[:200]}".lower()
    return Facts(
        "onnx", size, channels, layout, batch, classes, meaning, last,
        input_type=inputs[0].dtype, input_range=_range(graph, inputs[0].name),
        scaled=begin.scaled, largest_filter=_largest_filter(graph, wiring, begin.filters),
        normalisation=normalisation,
        normalisation_from=normalisation_from,
        bgr=said.bgr,
        fit=said.fit, labels=labels, labels_from=labels_from,
        licence=said.licence,
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
