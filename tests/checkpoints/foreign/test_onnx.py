"""Facts of ONNX files of other programs, and what is no classifier."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign_networks import Foreign
from onnx import TensorProto, helper

from mobilenetv2.checkpoints.foreign.onnx import onnx_facts
from mobilenetv2.errors import DialectError, WeightsError

PATH = Path("net.onnx")


def test_the_facts_of_a_classifier() -> None:
    found = onnx_facts(Foreign(last="Softmax", batch=2).model().SerializeToString(), PATH)
    assert (found.size, found.channels, found.layout) == ((24, 32), 3, "NCHW")
    assert (found.batch, found.classes, found.meaning, found.last) == (2, 5, "softmax", "Softmax")
    assert found.input_type == "float32" and found.scaled is None and not found.from_tensorflow
    free = onnx_facts(Foreign(size=("h", "w"), layout="NHWC").model().SerializeToString(), PATH)
    assert free.size is None and free.batch is None and free.from_tensorflow
    tf = onnx_facts(Foreign(producer="tf2onnx").model().SerializeToString(), PATH)
    assert tf.from_tensorflow


def test_a_quantised_input_has_a_range() -> None:
    model = Foreign().model()
    model.graph.initializer.extend([
        onnx.numpy_helper.from_array(np.float32(1 / 127.5), "scale"),
        onnx.numpy_helper.from_array(np.uint8(127), "zero"),
    ])  # fmt: skip
    nodes = [*model.graph.node]
    nodes[0].input[0] = "again"
    del model.graph.node[:]
    model.graph.node.extend([
        helper.make_node("QuantizeLinear", ["picture", "scale", "zero"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "scale", "zero"], ["again"]), *nodes,
    ])  # fmt: skip
    found = onnx_facts(model.SerializeToString(), PATH)
    assert found.input_range == pytest.approx((-0.996, 1.004), abs=1e-3)


def value(name: str, shape: list[int | str], dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ([value("a", [1, 3, 8, 8]), value("b", [1, 3, 8, 8])], [value("y", [1, 5])], "2 inputs"),
        ([value("a", [1, 16000])], [value("y", [1, 5])], "no picture"),
        ([value("a", [1, 3, 8, 8], TensorProto.INT64)], [value("y", [1, 5])], "no picture"),
        ([value("a", [1, 4, 8, 8])], [value("y", [1, 5])], "other channels"),
        ([value("a", [1, 3, 8, 8])], [value("y", [1, 2, 8, 8])], "segmenter"),
        ([value("a", [1, 3, 8, 8])], [value("y", [1, 8, 8], TensorProto.INT64)], "segmenter"),
        ([value("a", [1, 3, 8, 8])], [value("y", [1, 84, 8400])], "detector"),
        ([value("a", [1, 3, 8, 8])], [value("y", [1, 5]), value("z", [1, 9])], "2 outputs"),
        (
            [value("a", [1, 3, 8, 8])], [value("boxes", [1, 10, 4]), value("z", [1, 10])],
            "object detector",
        ),
        ([value("a", [1, 3, 8, 8])], [value("y", [1], TensorProto.STRING)], "no vector"),
    ],
)  # fmt: skip
def test_what_is_no_classifier_is_said(
    inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto], reason: str
) -> None:
    node = helper.make_node("Identity", ["a"], ["y"])
    model = helper.make_model(helper.make_graph([node], "g", inputs, outputs))
    with pytest.raises(DialectError, match=rf"^net\.onnx: .*{reason}.*one picture in"):
        onnx_facts(model.SerializeToString(), PATH)


@pytest.mark.parametrize(
    ("network", "batch"),
    [
        (Foreign(batch=2_000_000), "2,000,000"),
        (Foreign(batch=40_000), "40,000"),
        (Foreign(batch=2000, size=("h", "w")), "2,000"),
        (Foreign(size=(8000, 8000)), "1"),
        (Foreign(size=("h", "w"), batch=20, metadata={
            "imgsz": "[4000, 4000]"}), "20"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_batch_beyond_the_memory_is_refused(network: Foreign, batch: str) -> None:
    with pytest.raises(DialectError, match=rf"^net\.onnx: .*batches of {batch} pictures.* MB"):
        onnx_facts(network.model().SerializeToString(), PATH)


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x08\x08"], ids=["empty", "html", "no graph"])
def test_other_bytes_are_no_onnx_file(data: bytes) -> None:
    with pytest.raises(WeightsError, match=r"^net\.onnx: not an ONNX file"):
        onnx_facts(data, PATH)


def test_class_names_in_metadata_are_data() -> None:
    for text in ("{0: 'a', 1: 'b'}", '{"a": 0, "b": 1}', "['a', 'b']"):
        found = onnx_facts(
            Foreign(classes=2, metadata={"names": text}).model().SerializeToString(), PATH
        )
        assert found.labels is not None and found.labels.names == ("a", "b")
    very_long = "{0x" + "f" * 5000 + ": 'a', 1: 'b'}"
    for text in ("{{}: 1}", "{0: 'a', 1: 'a'}", very_long):
        network = Foreign(classes=2, metadata={"names": text})
        assert onnx_facts(network.model().SerializeToString(), PATH).labels is None
    for text in ("__import__('os')", "{0: 1}", "(" * 500, "[" * 5000, "['a', 2]", "['a']"):
        network = Foreign(classes=2, metadata={"names": text})
        assert onnx_facts(network.model().SerializeToString(), PATH).labels is None
