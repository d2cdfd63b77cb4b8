"""Facts of a foreign LiteRT (TensorFlow Lite) file of any network.

Only names, shapes and small constants are read; the weights stay bytes for the runtime, which
verifies the file itself.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import bounds, kinds
from mobilenetv2.checkpoints.containers.litert import DTYPES, IDENTIFIER
from mobilenetv2.checkpoints.foreign import (
    LARGEST_FIRST,
    End,
    Facts,
    largest_norm,
    picture_end,
    vector_end,
)
from mobilenetv2.checkpoints.foreign.litert_metadata import Metadata, archived_texts, read_metadata
from mobilenetv2.checkpoints.foreign.wiring import (
    MOST_VALUES,
    WIDENING,
    Node,
    Wiring,
    front,
    last_operator,
    source,
)
from mobilenetv2.checkpoints.labels import labels_among
from mobilenetv2.errors import WeightsError
from mobilenetv2.spec.records import Labels

EDGE_TPU, DETECTION = "edgetpu-custom-op", "TFLite_Detection_PostProcess"
FLEX = "Flex"
"""Beginning of the names of TensorFlow's own operators in a LiteRT file."""
FUSED = frozenset({"FULLY_CONNECTED", "CONV_2D", "ADD"})
"""Operators that may have an activation fused behind them, which makes their values bounded."""


def litert_facts(data: bytes, path: Path) -> Facts:
    """Return the facts of a file's bytes.

    Args:
        data: the whole file.
        path: the file's name, for messages.

    Raises:
        WeightsError: the file is damaged, or holds operators that need another program.
        DialectError: the network takes no picture, or gives no vector.
    """
    with bounds.damage("LiteRT file", path):
        if data[4:8] != IDENTIFIER:
            raise WeightsError("not a LiteRT file (its identifier is not TFL3)")
        return _facts(data)


def _facts(data: bytes) -> Facts:
    import tflite

    model = tflite.Model.GetRootAs(data, 0)
    if model.SubgraphsLength() < 1:
        raise WeightsError("a LiteRT file without a graph")
    graph = model.Subgraphs(0)
    codes = _operators(model)
    _require_builtin(codes)
    inputs = [_end(graph, index) for index in _indices(graph.InputsAsNumpy())]
    outputs = [_end(graph, index) for index in _indices(graph.OutputsAsNumpy())]
    layout, size, channels, batch = picture_end(inputs)
    classes = vector_end(outputs, frozenset(codes))
    wiring = _wiring(model, graph, codes)
    given, answer = (
        str(_indices(ends)[0]) for ends in (graph.InputsAsNumpy(), graph.OutputsAsNumpy())
    )
    meaning, last = last_operator(wiring, answer)
    begin, said = front(wiring, given), read_metadata(model)
    labels, labels_from = _labels(said, archived_texts(data), classes)
    return Facts(
        "litert", size, channels, layout, batch or 1, classes, meaning, last,
        input_type=inputs[0].dtype, input_range=_range(graph, wiring, given),
        scaled=begin.scaled,
        largest_filter=_largest_filter(model, graph, wiring, begin.filters),
        normalisation=said.normalisation(channels),
        normalisation_from="the metadata in it",
        labels=labels, labels_from=labels_from, licence=said.licence,
        from_tensorflow=layout == "NHWC",
    )  # fmt: skip


def _operators(model: Any) -> list[str]:
    """Return the name of each operator code; that of a custom operator is its own."""
    import tflite

    names = {n: name for name, n in vars(tflite.BuiltinOperator).items() if isinstance(n, int)}
    found = []
    for index in range(_bounded(model.OperatorCodesLength())):
        code = model.OperatorCodes(index)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = names.get(number, f"operator {number}")
        custom = code.CustomCode()
        found.append(
            custom.decode("utf-8", "replace")[:80] if name == "CUSTOM" and custom else name
        )
    return found


def _require_builtin(codes: list[str]) -> None:
    import tflite

    for name in codes:
        if name == EDGE_TPU:
            raise WeightsError(kinds.sentence("edge-tpu"))
        if name.startswith(FLEX):
            raise WeightsError(
                f"a LiteRT file with TensorFlow's own operator {name!r}; convert it again with "
                "built-in operators only (without SELECT_TF_OPS)"
            )
        if not hasattr(tflite.BuiltinOperator, name) and name != DETECTION:
            raise WeightsError(
                f"a LiteRT file with the custom operator {name!r}, which only its own program has; "
                "convert it again with built-in operators only"
            )


def _bounded(length: int) -> int:
    if not 0 <= length <= bounds.MOST_ENTRIES:
        raise ValueError(f"a list of {length:,} entries")
    return length


def _indices(vector: Any) -> tuple[int, ...]:
    # The schema's reader returns 0 for an absent vector.
    return () if isinstance(vector, int) else tuple(map(int, vector[: bounds.MOST_ENTRIES]))


def _end(graph: Any, index: int) -> End:
    import tflite

    types = {n: name for name, n in vars(tflite.TensorType).items() if isinstance(n, int)}
    tensor = graph.Tensors(index)
    shape = _indices(tensor.ShapeAsNumpy())
    signature = _indices(tensor.ShapeSignatureAsNumpy()) or shape
    if len(shape) > bounds.MOST_SIDES or len(signature) != len(shape):
        raise ValueError("a tensor with impossible sides")
    sides = tuple(None if side < 0 else side for side in signature)
    name = (tensor.Name() or b"").decode("utf-8", "replace")
    return End(name, sides, types.get(tensor.Type(), "unknown").lower())


def _wiring(model: Any, graph: Any, codes: list[str]) -> Wiring:
    import tflite

    nodes, wanted = [], set[int]()
    for index in range(_bounded(graph.OperatorsLength())):
        operator = graph.Operators(index)
        kind = codes[operator.OpcodeIndex()]
        ends = _indices(operator.InputsAsNumpy()), _indices(operator.OutputsAsNumpy())
        if kind in FUSED and _activation(tflite, kind, operator):
            kind += " with an activation"
        if len(ends[0]) == 2 or kind in WIDENING:
            wanted.update(ends[0])
        nodes.append(Node(kind, *(tuple(map(str, end)) for end in ends)))
    constants = {
        str(at): values for at in wanted if (values := _constant(model, graph, at)) is not None
    }
    return Wiring(nodes, constants)


def _activation(tflite: Any, kind: str, operator: Any) -> bool:
    table = operator.BuiltinOptions()
    if table is None:
        return False
    names = {"FULLY_CONNECTED": "FullyConnectedOptions", "CONV_2D": "Conv2DOptions"}
    options = getattr(tflite, names.get(kind, "AddOptions"))()
    options.Init(table.Bytes, table.Pos)
    return bool(options.FusedActivationFunction())


def _constant(model: Any, graph: Any, index: int) -> NDArray | None:
    """Return a small constant as real values; None for any other tensor."""
    if not 0 <= index < graph.TensorsLength():
        return None
    tensor = graph.Tensors(index)
    buffer = model.Buffers(tensor.Buffer())
    dtype = DTYPES.get(tensor.Type())
    if buffer is None or dtype is None or not 0 < buffer.DataLength() <= 8 * MOST_VALUES:
        return None
    values = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype).astype(np.float64)
    scale, zero_point = _quantisation(tensor)
    return values if scale is None else (values - zero_point) * scale


def _largest_filter(model: Any, graph: Any, wiring: Wiring, name: str | None) -> float | None:
    """Return the largest norm of the first convolution's filters (filters, height, width, k)."""
    if name is None:
        return None
    tensor = graph.Tensors(int(source(wiring, name)))
    buffer, dtype = model.Buffers(tensor.Buffer()), DTYPES.get(tensor.Type())
    count = int(tensor.ShapeAsNumpy()[0]) if tensor.ShapeLength() == 4 else 0
    if buffer is None or dtype is None or not 0 < buffer.DataLength() <= LARGEST_FIRST or count < 1:
        return None
    values = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype).astype(np.float64)
    if values.size % count:
        return None
    filters, record = values.reshape(count, -1), tensor.Quantization()
    if dtype in ("u1", "i1"):
        if record is None or record.ScaleLength() not in (1, count):
            return None
        zero = record.ZeroPointAsNumpy() if record.ZeroPointLength() == record.ScaleLength() else 0
        filters = (filters - np.reshape(zero, (-1, 1))) * record.ScaleAsNumpy().reshape(-1, 1)
    return largest_norm(filters)


def _quantisation(tensor: Any) -> tuple[float | None, float]:
    """Return (scale, zero point) of a tensor with one pair; (None, 0) for any other."""
    record = tensor.Quantization()
    if record is None or record.ScaleLength() != 1:
        return None, 0.0
    zero = float(record.ZeroPointAsNumpy()[0]) if record.ZeroPointLength() else 0.0
    return float(record.ScaleAsNumpy()[0]), zero


def _range(graph: Any, wiring: Wiring, name: str) -> tuple[float, float] | None:
    """Return the range of an input of integers, or of floats that only become integers."""
    readers = [node for node in wiring.nodes if name in node.inputs]
    if len(readers) == 1 and readers[0].kind == "QUANTIZE" and _whole_type(graph, name) is None:
        name = readers[0].outputs[0]
    dtype, (scale, zero) = _whole_type(graph, name), _quantisation(graph.Tensors(int(name)))
    if scale is None or dtype is None:
        return None
    bounds_ = np.iinfo(dtype)
    return (bounds_.min - zero) * scale, (bounds_.max - zero) * scale


def _whole_type(graph: Any, name: str) -> str | None:
    """Return the type of a tensor of integers; None for any other."""
    dtype = _end(graph, int(name)).dtype
    return dtype if dtype in ("uint8", "int8") else None


def _labels(
    said: Metadata, texts: dict[str, str], classes: int | None
) -> tuple[Labels | None, str]:
    """Return the labels in the archive and their file's name, the one that the metadata names."""
    named = {name: texts[name] for name in said.label_files if name in texts} or texts
    found = labels_among(named, None if classes is None else max(2, classes))
    return (found[0], f"{found[1][:80]!r} in the file") if found else (None, "")
