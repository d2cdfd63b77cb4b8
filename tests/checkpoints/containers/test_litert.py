"""The LiteRT reader: hand-made files, published files, and files that someone damaged."""

import math
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.litert import Graph, Operator, read_litert
from mobilenetv2.errors import WeightsError

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}
FILES = [
    "tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "mobilenet_v2_1.0_224_quant.tflite",
    "mobilenet_v2_1.0_224_inat_bird_quant.tflite",
    "deeplabv3_mnv2_pascal_quant.tflite",
]


def build(
    values: NDArray, scale: Sequence[float] = (), zero_point: Sequence[int] = (), axis: int = 0,
    shape: Sequence[int] | None = None, copies: int = 1, subgraphs: int = 1, buffer: int = 1,
) -> bytes:  # fmt: skip
    """A model with one strided convolution and a constant, which is listed ``copies`` times."""
    b = flatbuffers.Builder(1024)

    def vector(array: NDArray) -> int:
        return int(b.CreateNumpyVector(np.ascontiguousarray(array)))

    def offsets(tables: Sequence[int]) -> int:
        b.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            b.PrependUOffsetTRelative(table)
        return int(b.EndVector())

    def table(kind: str, **fields: Any) -> int:
        getattr(tflite, f"{kind}Start")(b)
        for name, value in fields.items():
            getattr(tflite, f"{kind}Add{name}")(b, value)
        return int(getattr(tflite, f"{kind}End")(b))

    data = vector(np.frombuffer(values.tobytes(), np.uint8))
    buffers = offsets([table("Buffer"), table("Buffer", Data=data)])
    parameters = {}
    if scale:
        parts = {"Scale": vector(np.array(scale, "f4")), "ZeroPoint": vector(np.array(zero_point))}
        quantization = table("QuantizationParameters", **parts, QuantizedDimension=axis)
        parameters = {"Quantization": quantization}
    name, sides = b.CreateString("kernel"), vector(np.array(shape or values.shape, "i4"))
    constant = table(
        "Tensor", Shape=sides, Type=TYPES[values.dtype.name], Buffer=buffer, Name=name,
        **parameters,
    )  # fmt: skip
    options = table(
        "Conv2DOptions", StrideH=2, StrideW=2, Padding=tflite.Padding.SAME,
        FusedActivationFunction=tflite.ActivationFunctionType.RELU6,
        DilationHFactor=1, DilationWFactor=1,
    )  # fmt: skip
    operator = table(
        "Operator", OpcodeIndex=0, Inputs=vector(np.array([0, 0, -1], "i4")),
        Outputs=vector(np.array([0], "i4")), BuiltinOptions=options,
        BuiltinOptionsType=tflite.BuiltinOptions.Conv2DOptions,
    )  # fmt: skip
    ends = vector(np.array([0], "i4"))
    graph = table(
        "SubGraph", Tensors=offsets([constant] * copies), Inputs=ends, Outputs=ends,
        Operators=offsets([operator]),
    )  # fmt: skip
    number = tflite.BuiltinOperator.CONV_2D
    codes = offsets([table("OperatorCode", DeprecatedBuiltinCode=number, BuiltinCode=number)])
    model = table(
        "Model", Version=3, Subgraphs=offsets([graph] * subgraphs), Buffers=buffers,
        OperatorCodes=codes,
    )  # fmt: skip
    b.Finish(model, b"TFL3")
    return bytes(b.Output())


def read_bytes(data: bytes, folder: Path) -> Graph:
    path = folder / "net.tflite"
    path.write_bytes(data)
    return read_litert(path)


INTEGERS = np.random.default_rng(0).integers(0, 128, (2, 3, 3, 4))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32"])
def test_one_scale_for_the_tensor_means_stored_minus_zero_point_times_scale(
    dtype: str, tmp_path: Path
) -> None:
    stored = INTEGERS.astype(dtype)
    (tensor,) = read_bytes(build(stored, [0.25], [100]), tmp_path).tensors
    assert tensor.values is not None and tensor.values.dtype == np.float32
    np.testing.assert_array_equal(tensor.values, (INTEGERS - 100) * 0.25)
    assert (tensor.name, tensor.shape) == ("kernel", stored.shape)


@pytest.mark.parametrize("axis", range(4))
def test_one_scale_for_each_slice_goes_along_its_own_axis(axis: int, tmp_path: Path) -> None:
    count = INTEGERS.shape[axis]
    scale, zero_point = [2.0**-k for k in range(count)], [7 * k - 3 for k in range(count)]
    data = build(INTEGERS.astype("int8"), scale, zero_point, axis)
    (tensor,) = read_bytes(data, tmp_path).tensors
    assert tensor.values is not None
    for place in np.ndindex(*INTEGERS.shape):
        k = place[axis]
        assert tensor.values[place] == (INTEGERS[place] - zero_point[k]) * scale[k]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64", "uint8"])
def test_without_a_scale_the_numbers_are_as_stored(dtype: str, tmp_path: Path) -> None:
    stored = INTEGERS.astype(dtype)
    (tensor,) = read_bytes(build(stored), tmp_path).tensors
    assert tensor.scale is None and tensor.values is not None
    np.testing.assert_array_equal(tensor.values, stored, strict=True)


def test_an_operator_comes_with_its_options(tmp_path: Path) -> None:
    graph = read_bytes(build(INTEGERS.astype("int8")), tmp_path)
    expected = Operator("CONV_2D", (0, 0, -1), (0,), (2, 2), "SAME", "RELU6", (1, 1))
    assert graph.operators == (expected,)
    assert (graph.inputs, graph.outputs) == ((0,), (0,))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a LiteRT file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a LiteRT file"),
        (bytes(4) + b"TFL3", "0 subgraphs"),
        (b"\xff" * 4 + b"TFL3" + b"\xff" * 64, "damaged LiteRT file"),
        (build(INTEGERS.astype("u1"), shape=(2, 3, 3, 5)), r"'kernel' has 72 bytes for shape"),
        (build(INTEGERS.astype("u1"), shape=(-2, -3, 3, 4)), "'kernel' has 72 bytes for shape"),
        (build(INTEGERS.astype("u1"), shape=(2**30, 2**30, 2**30)), "'kernel' has 72 bytes"),
        (build(INTEGERS.astype("u1"), [1, 2], [0, 0, 0]), "scales and zero points differ"),
        (build(INTEGERS.astype("u1"), [1, 2, 3, 4, 5], [0] * 5, 3), "damaged LiteRT file"),
        (build(INTEGERS.astype("u1"), [math.inf], [0]), "damaged LiteRT file"),
        (build(INTEGERS.astype("u1"), subgraphs=2), "2 subgraphs"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_file(
    data: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=rf"net\.tflite: .*{message}"):
        read_bytes(data, tmp_path)


def test_a_file_that_is_not_there_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_litert(tmp_path / "net.tflite")


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "net.tflite").open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no space
    with pytest.raises(WeightsError, match="more than the limit of 536,870,912"):
        read_litert(tmp_path / "net.tflite")


@pytest.mark.parametrize("kind", ["values", "shape"])
def test_one_tensor_listed_many_times_does_not_multiply_memory(kind: str, tmp_path: Path) -> None:
    values = np.zeros(250_000, np.uint8)
    data = build(values, [1.0], [0], copies=400)
    if kind == "shape":
        data = build(values[:1], shape=(1,) * 5000, copies=500, buffer=0)
    tracemalloc.start()
    try:
        read_bytes(data, tmp_path)
    except WeightsError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 60 * len(data)


@pytest.mark.parametrize("file", FILES)
def test_published_constants_are_those_of_googles_interpreter(
    file: str, public_folder: Callable[[str], Path]
) -> None:
    interpreters = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra: litert)"
    )
    path = public_folder("published") / file
    tensors = read_litert(path).tensors
    plain = interpreters.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = interpreters.Interpreter(str(path), experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    constants = 0
    for details in interpreter.get_tensor_details()[: len(tensors)]:
        tensor = tensors[details["index"]]
        assert (tensor.name, tensor.shape) == (details["name"], tuple(details["shape"]))
        if tensor.values is None:
            continue
        expected = np.asarray(interpreter.get_tensor(details["index"]), np.float64)
        quantization = details["quantization_parameters"]
        if len(quantization["scales"]):
            sides = [1] * expected.ndim
            if len(quantization["scales"]) > 1:
                sides[quantization["quantized_dimension"]] = -1
            expected -= quantization["zero_points"].reshape(sides)
            expected *= quantization["scales"].astype(np.float64).reshape(sides)
        np.testing.assert_allclose(tensor.values, expected, rtol=2e-7, atol=0)
        constants += tensor.values.size
    assert constants > 2_000_000


EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)),
    min_size=1, max_size=4,
)  # fmt: skip
SMALL = build(INTEGERS.astype("int8"), [0.5, 0.25], [0, 0])


def mutate(data: bytes, edits: list[tuple[float, bytes]], keep: float, folder: Path) -> None:
    """Overwrite some bytes, cut the end, and read within bounds."""
    damaged = bytearray(data)
    for place, new in edits:
        start = 8 + int(place * (len(data) - 8))
        damaged[start : start + len(new)] = new
    started = time.perf_counter()
    try:
        graph = read_bytes(bytes(damaged[: int(len(damaged) * keep)]), folder)
    except WeightsError as error:
        assert str(error).startswith(str(folder / "net.tflite"))
    else:
        assert isinstance(graph, Graph)
    assert time.perf_counter() - started < 5


KEEP = st.one_of(st.just(1.0), st.floats(0, 1))
ONE_FOLDER = [HealthCheck.function_scoped_fixture]


@settings(max_examples=500, suppress_health_check=ONE_FOLDER, deadline=None)
@given(edits=EDITS, keep=KEEP)
def test_a_damaged_small_file_is_a_graph_or_an_error(
    edits: list[tuple[float, bytes]], keep: float, tmp_path: Path
) -> None:
    mutate(SMALL, edits, keep, tmp_path)


@pytest.mark.parametrize("file", FILES[:2])
@settings(max_examples=30, suppress_health_check=ONE_FOLDER, deadline=None)
@given(edits=EDITS, keep=KEEP)
def test_a_damaged_published_file_is_a_graph_or_an_error(
    file: str,
    edits: list[tuple[float, bytes]],
    keep: float,
    tmp_path: Path,
    public_folder: Callable[[str], Path],
) -> None:
    mutate((public_folder("published") / file).read_bytes(), edits, keep, tmp_path)
