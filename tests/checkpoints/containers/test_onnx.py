"""The ONNX reader: what it reads, what it refuses, and files that someone damaged."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mobilenetv2.checkpoints.containers import onnx as container
from mobilenetv2.checkpoints.containers.onnx import (
    Graph,
    Schema,
    parse_onnx,
    read_onnx,
    require_few_fields,
)
from mobilenetv2.errors import WeightsError

WEIGHT = np.arange(36, dtype=np.float32).reshape(4, 1, 3, 3)
SIX = np.array([6], np.float32)


def model(change: Callable[[Any], None] = lambda model: None, **options: Any) -> bytes:
    """One convolution and a Clip, changed before it is written."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], "first", group=4, strides=[2, 2], pads=[1] * 4),
        helper.make_node("Clip", ["y", "", "six"], ["z"], "second"),
        helper.make_node("Constant", [], ["six"], value=numpy_helper.from_array(SIX)),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 8, 8]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(WEIGHT, "w")]
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], **options)
    helper.set_model_props(built, {"key": "value"})
    change(built)
    return bytes(built.SerializeToString())


def test_a_graph_comes_with_its_nodes_constants_and_metadata() -> None:
    graph = parse_onnx(model())
    first, second = graph.nodes
    assert (first.kind, first.name, first.inputs, first.outputs) == (
        "Conv", "first", ("x", "w"), ("y",),
    )  # fmt: skip
    assert first.attributes == {"group": 4, "strides": [2, 2], "pads": [1, 1, 1, 1]}
    assert (second.kind, second.inputs) == ("Clip", ("y", "", "six"))
    np.testing.assert_array_equal(graph.constants["w"], WEIGHT, strict=True)
    np.testing.assert_array_equal(graph.constants["six"], SIX, strict=True)
    assert (graph.inputs, graph.outputs, graph.opset) == ({"x": (None, 4, 8, 8)}, ("z",), 13)
    assert graph.metadata == {"key": "value"}


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("kind", "dtype", "becomes"),
    [
        ("FLOAT", "f4", "f4"), ("DOUBLE", "f8", "f8"), ("FLOAT16", "f2", "f4"),
        ("INT8", "i1", "i1"), ("UINT8", "u1", "u1"), ("INT32", "i4", "i4"), ("INT64", "i8", "i8"),
        ("BOOL", "?", "?"), ("BFLOAT16", "f4", "f4"),
    ],
)  # fmt: skip
def test_every_type_in_either_storage(kind: str, dtype: str, becomes: str, raw: bool) -> None:
    values = np.array([[0, 1, 2], [3, 1, 0]], dtype)
    number = getattr(TensorProto, kind)
    if raw:
        content: Any = values.tobytes()
        if kind == "BFLOAT16":  # the upper half of a float32
            content = (values.view("<u4") >> 16).astype("<u2").tobytes()
        tensor = helper.make_tensor("w", number, values.shape, content, raw=True)
    else:
        tensor = helper.make_tensor("w", number, values.shape, values.ravel().tolist())

    def change(model: Any) -> None:
        model.graph.initializer[0].CopyFrom(tensor)

    found = parse_onnx(model(change)).constants["w"]
    np.testing.assert_array_equal(found, values.astype(becomes), strict=True)


def test_an_epsilon_is_the_number_that_was_meant() -> None:
    def change(model: Any) -> None:
        model.graph.node[0].attribute.append(helper.make_attribute("epsilon", 1e-3))

    assert parse_onnx(model(change)).nodes[0].attributes["epsilon"] == 1e-3


def external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../etc/passwd")


def dims(*sides: int) -> Callable[[Any], None]:
    return lambda model: model.graph.initializer[0].dims.__setitem__(slice(None), sides)


def domain(model: Any) -> None:
    model.graph.node[0].domain = "com.example"


def compiled(model: Any) -> None:
    model.graph.node[0].domain = "com.microsoft.nchwc"


def control_flow(model: Any) -> None:
    inner = helper.make_attribute("then_branch", model.graph)
    model.graph.node.append(helper.make_node("If", ["x"], ["q"]))
    model.graph.node[-1].attribute.append(inner)


def function(model: Any) -> None:
    model.functions.append(
        helper.make_function("d", "F", ["a"], ["b"], [], [helper.make_opsetid("", 13)])
    )


def text(model: Any) -> None:
    model.graph.initializer[0].CopyFrom(TensorProto(name="w", data_type=TensorProto.STRING))


def many(model: Any) -> None:
    model.graph.node.extend([helper.make_node("Relu", ["x"], ["y"])] * 20_001)


def fields(model: Any) -> None:
    model.graph.node[0].input.extend([""] * 500_001)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file"),
        (b"PK\x03\x04" + bytes(64), "not an ONNX file"),
        (b"\x08\x07", "it has no graph"),
        (model(lambda m: m.graph.ClearField("node")), "it has no graph"),
        (
            model(external),
            "'w' is in the file '../../etc/passwd', which is not in this file's folder",
        ),
        (model(dims(2**40, 2**40)), "'w' has 36 values for shape"),
        (model(dims(-4, 1, 3, -3)), "'w' has 4 dimensions or one below 0"),
        (model(dims(*[1] * 17)), "'w' has 17 dimensions"),
        (model(dims(5, 1, 3, 3)), r"'w' has 36 values for shape \[5, 1, 3, 3\]"),
        (model(domain), "operator set 'com.example'"),
        (model(compiled), "optimised by ONNX Runtime for one kind of processor"),
        (model(control_flow), "If holds a graph of its own"),
        (model(function), "functions or training graphs"),
        (model(text), "'w' has values of type 8"),
        (model(many), "more than 20,000 nodes"),
        (model(fields), "more than 500,000 fields"),
        (model(lambda m: m.graph.node[2].ClearField("output")), "Constant has 0 outputs"),
        (model(lambda m: m.graph.node[2].ClearField("attribute")), "no value that is read"),
        (model(lambda m: m.graph.sparse_initializer.add()), "sparse constants"),
    ],
)
def test_what_is_not_read_is_refused_with_the_reason(
    data: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=rf"net\.onnx: .*{message}"):
        read_onnx(path)


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "net.onnx").open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no space
    with pytest.raises(WeightsError, match="more than the limit of 536,870,912"):
        read_onnx(tmp_path / "net.onnx")


def test_a_file_that_is_not_there_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_onnx(tmp_path / "net.onnx")


def test_a_million_empty_nodes_are_refused_before_they_take_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(container, "MOST_FIELDS", 20_000)  # counting memory takes its time
    data = b"\x3a\x80\x80\x80\x01" + b"\x0a\x00" * 2**20  # ModelProto.graph, 2**20 times node {}
    tracemalloc.start()
    with pytest.raises(WeightsError, match="more than 20,000 fields"):
        parse_onnx(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(data)


SMALL = model()


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=6)),
                   max_size=4),
    keep=st.one_of(st.just(len(SMALL)), st.integers(0, len(SMALL))),
)  # fmt: skip
def test_a_damaged_file_is_a_graph_or_an_error(edits: list[tuple[int, bytes]], keep: int) -> None:
    damaged = bytearray(SMALL)
    for place, new in edits:
        damaged[place : place + len(new)] = new
    try:
        graph = parse_onnx(bytes(damaged[:keep]))
    except WeightsError:
        return
    assert isinstance(graph, Graph)


def varint(value: int) -> bytes:
    groups = []
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


NESTED: Schema = {7: {1: {5: {}}}}


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"", 0),
        (varint(8) + varint(300), 1),
        (varint(1 << 3 | 1) + bytes(8) + varint(2 << 3 | 5) + bytes(4), 2),
        (message(9, b"\xff" * 1000), 1),  # no message lies in field 9: its bytes are not looked at
        (message(7, message(1, message(5, varint(8) + b"\x01") * 10) * 3), 1 + 3 * (1 + 10 * 2)),
    ],
)
def test_the_fields_are_counted_down_to_the_innermost_message(data: bytes, fields: int) -> None:
    require_few_fields(data, NESTED, fields)
    if fields:
        with pytest.raises(WeightsError, match=f"more than {fields - 1} fields"):
            require_few_fields(data, NESTED, fields - 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x80", "truncated at byte 1"),
        (b"\x08", "truncated"),
        (b"\xff" * 11, "a number without an end"),
        (b"\x0a\x05abc", "truncated in field 1"),
        (b"\x09abc", "truncated in field 1"),
        (b"\x0b", "a field of kind 3"),
        (message(7, b"\x0a\x02\x0a\x09"), "truncated in field 1"),  # beyond its message's end
    ],
)
def test_what_is_no_message_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        require_few_fields(data, NESTED, 100)
