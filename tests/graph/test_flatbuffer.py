"""What the builder writes, read back with the schema's own readers."""

import numpy as np
import tflite

from mobilenetv2.graph.flatbuffer import Builder, Quantisation


def test_quantised_tensors_versions_and_metadata_come_back() -> None:
    builder = Builder()
    given = builder.tensor("x", (1, 4, 4, 2), "int8", Quantisation(np.array([0.5]), -7))
    zeros = builder.constant("zeros", np.array([(0, 0), (1, 1), (1, 1), (0, 0)], np.int32))
    padded = builder.operator("PAD", [given, zeros], builder.like(given, "padded", (1, 6, 6, 2)))
    weight = builder.constant(
        "w", np.ones((1, 3, 3, 2), np.int8), Quantisation(np.array([0.1, 0.2]), axis=3)
    )
    bias = builder.constant("b", np.zeros(2, np.int32), Quantisation(np.array([0.05, 0.1])))
    out = builder.tensor("y", (1, 4, 4, 2), "int8", Quantisation(np.array([0.3]), 5))
    builder.operator("DEPTHWISE_CONV_2D", [padded, weight, bias], out, padding="VALID")
    assert builder.shape(padded) == (1, 6, 6, 2)
    model = tflite.Model.GetRootAs(builder.finish(given, [out, padded], {"NOTE": b"text"}), 0)
    graph = model.Subgraphs(0)
    versions = {
        model.OperatorCodes(index).BuiltinCode(): model.OperatorCodes(index).Version()
        for index in range(model.OperatorCodesLength())
    }
    assert versions == {
        tflite.BuiltinOperator.PAD: 2, tflite.BuiltinOperator.DEPTHWISE_CONV_2D: 3
    }  # fmt: skip
    assert graph.OutputsAsNumpy().tolist() == [out, padded]
    records = {at: graph.Tensors(at).Quantization() for at in (given, padded, weight)}
    assert records[given].ZeroPointAsNumpy().tolist() == [-7]
    np.testing.assert_array_equal(records[padded].ScaleAsNumpy(), [np.float32(0.5)])
    assert records[padded].ZeroPointAsNumpy().tolist() == [-7]
    assert records[weight].QuantizedDimension() == 3
    np.testing.assert_array_equal(records[weight].ScaleAsNumpy(), np.array([0.1, 0.2], np.float32))
    assert records[weight].ZeroPointAsNumpy().tolist() == [0, 0]
    assert graph.Tensors(zeros).Quantization() is None
    assert model.Metadata(0).Name() == b"NOTE"
    assert model.Buffers(model.Metadata(0).Buffer()).DataAsNumpy().tobytes() == b"text"


def test_one_operator_of_two_types_has_two_versions() -> None:
    builder = Builder()
    axes = builder.constant("axes", np.array([1, 2], np.int32))
    scale = Quantisation(np.array([0.5]))
    for dtype, record in (("float32", None), ("int8", scale)):
        x = builder.tensor(f"x {dtype}", (1, 2, 2, 1), dtype, record)
        end = builder.operator("MEAN", [x, axes], builder.tensor("y", (1, 1), dtype, record))
    model = tflite.Model.GetRootAs(builder.finish(x, [end]), 0)
    assert [model.OperatorCodes(index).Version() for index in range(2)] == [1, 2]
    assert [model.Subgraphs(0).Operators(index).OpcodeIndex() for index in range(2)] == [0, 1]
