"""An ONNX file that a runtime gets names no other file, wherever the name could be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign_networks import WEIGHT, Foreign
from onnx import TensorProto, helper, numpy_helper

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.checkpoints.foreign.onnx import onnx_facts
from mobilenetv2.checkpoints.foreign.onnx_inside import inlined
from mobilenetv2.errors import WeightsError


def outside(location: str = "w") -> TensorProto:
    """Return a constant in another file."""
    tensor = TensorProto(name="secret", dims=[2], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def sparse() -> onnx.SparseTensorProto:
    places = numpy_helper.from_array(np.array([0, 1]), "places")
    return helper.make_sparse_tensor(outside(), places, [4])


def constant(**given: object) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["unused"], **given)


def branch(*nodes: onnx.NodeProto) -> onnx.NodeProto:
    """Return an If whose branches hold operators."""
    end = helper.make_tensor_value_info("unused", TensorProto.FLOAT, [2])
    graph = helper.make_graph([*nodes], "branch", [], [end])
    return helper.make_node("If", ["yes"], ["taken"], then_branch=graph, else_branch=graph)


def add_sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.append(sparse())


def add_function(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    model.functions.append(
        helper.make_function("own", "F", [], ["unused"], [node], [helper.make_opsetid("", 13)])
    )


HIDDEN: dict[str, Callable[[onnx.ModelProto], object]] = {
    "initializer": lambda m: m.graph.initializer.append(outside()),
    "sparse initializer": add_sparse,
    "attribute": lambda m: m.graph.node.append(constant(value=outside())),
    "sparse attribute": lambda m: m.graph.node.append(constant(sparse_value=sparse())),
    "branch": lambda m: m.graph.node.append(branch(constant(value=outside()))),
    "sparse branch": lambda m: m.graph.node.append(branch(constant(sparse_value=sparse()))),
    "function": lambda m: add_function(m, constant(value=outside())),
    "sparse function": lambda m: add_function(m, constant(sparse_value=sparse())),
    "branch of a function": lambda m: add_function(m, branch(constant(value=outside()))),
}


@pytest.mark.parametrize("place", HIDDEN)
def test_another_file_is_refused_wherever_it_is_named(place: str) -> None:
    model = Foreign().model()
    HIDDEN[place](model)
    expected = "sparse weights" if "sparse" in place else "'secret' are in another file.*one file"
    with pytest.raises(WeightsError, match=rf"^net\.onnx: .*{expected}"):
        onnx_facts(model.SerializeToString(), Path("net.onnx"))


def test_an_operator_of_a_function_is_looked_at() -> None:
    model = Foreign().model()
    add_function(model, helper.make_node("Other", [], ["unused"], domain="my.operators"))
    with pytest.raises(WeightsError, match=r"'Other' of the operator set 'my\.operators'"):
        onnx_facts(model.SerializeToString(), Path("net.onnx"))


def test_weights_beside_it_are_put_into_it(tmp_path: Path) -> None:
    model, path = Foreign().model(), tmp_path / "net.onnx"
    whole = model.SerializeToString()
    assert inlined(whole, path) == whole
    onnx.save(model, str(path), save_as_external_data=True, location="w", size_threshold=0)
    found = onnx.ModelProto.FromString(inlined(path.read_bytes(), path))
    (weight,) = (t for t in found.graph.initializer if t.name == "weight")
    np.testing.assert_array_equal(numpy_helper.to_array(weight), WEIGHT[:, :5])
    assert onnx_facts(found.SerializeToString(), path).classes == 5


@pytest.mark.parametrize("location", ["../w", "/w", "missing"])
def test_weights_elsewhere_are_not_read(location: str, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(bytes(8))
    (tmp_path / "in").mkdir()
    model = Foreign().model()
    model.graph.initializer.append(outside(location))
    with pytest.raises(WeightsError, match=r"net\.onnx: .*'secret' is in the file"):
        inlined(model.SerializeToString(), tmp_path / "in" / "net.onnx")


def test_weights_beyond_the_limit_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = Foreign().model(), tmp_path / "net.onnx"
    (tmp_path / "w").write_bytes(bytes(8))
    model.graph.initializer.append(outside())
    data = model.SerializeToString()
    assert len(inlined(data, path)) > 0
    monkeypatch.setattr(bounds, "LARGEST_GRAPH", len(data) + 7)
    with pytest.raises(WeightsError, match="larger than"):
        inlined(data, path)
