"""What can be asked of a graph, and how one graph becomes another."""

import numpy as np
import pytest
from graph_forms import graph_of
from numpy.typing import NDArray

from mobilenetv2.errors import SpecError
from mobilenetv2.graph.graph import (
    FEATURES,
    INPUT,
    LOGITS,
    MAP,
    PICTURES,
    Conv,
    Graph,
    Integers,
    Linear,
    Normalise,
    Pool,
    Tensor,
    real,
)
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, Numerics

SPEC = NetworkSpec(
    width=0.1, size=(48, 65), classes=5, classifier=ClassifierSpec(hidden=(HiddenSpec(7),))
)
HEADLESS = SPEC.replace(head="none")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of(SPEC)


def test_layers_come_in_the_order_in_which_they_run(graph: Graph) -> None:
    network = resolve(SPEC)
    names = [*(conv.name for conv in network.convolutions), "hidden.0", "classifier"]
    assert [layer.name for layer in graph.layers()] == names
    for layer, conv in zip(graph.layers(), network.convolutions, strict=False):
        assert isinstance(layer, Conv)
        assert (layer.kernel, layer.stride, layer.groups) == (conv.kernel, conv.stride, conv.groups)


def test_every_operation_takes_what_was_computed_before_it(graph: Graph) -> None:
    known = {INPUT}
    for operation in graph.operations:
        assert known.issuperset(operation.inputs)
        assert operation.output not in known
        known.add(operation.output)
    assert known == set(graph.tensors)


def test_tensors_say_their_channels_and_pixels() -> None:
    assert Tensor("a", (3, 5, 7)).channels == 3 and Tensor("a", (3, 5, 7)).pixels == 35
    assert Tensor("b", (9,)).channels == 9 and Tensor("b", (9,)).pixels == 1


@pytest.mark.parametrize(("spec", "last"), [(SPEC, "head"), (HEADLESS, "blocks.16.project")])
def test_the_last_map_is_what_is_pooled(spec: NetworkSpec, last: str) -> None:
    graph = graph_of(spec)
    assert graph.last_map == last
    found = graph.with_outputs(FEATURES, MAP)
    assert found.outputs == {LOGITS: LOGITS, FEATURES: FEATURES, MAP: last}
    assert graph.outputs == {LOGITS: LOGITS}  # a copy: the first stays


def test_intermediates_are_all_tensors_but_the_input(graph: Graph) -> None:
    found = graph.with_intermediates().outputs
    assert found == {name: name for name in graph.tensors if name != INPUT}


def test_with_normalisation_it_takes_pictures(graph: Graph) -> None:
    record = graph.config.preprocessing
    found = graph.with_normalisation()
    assert found.takes_pictures and not graph.takes_pictures
    assert found.operations[0] == Normalise(PICTURES, INPUT, record.mean, record.std)
    assert found.operations[1:] == graph.operations


def test_any_size_is_refused_where_padding_depends_on_it(graph: Graph) -> None:
    assert graph.for_any_size().any_size and not graph.any_size
    with pytest.raises(SpecError, match="'same' padding depends on the image's size"):
        graph_of(SPEC.replace(numerics=Numerics("same"))).for_any_size()


def test_every_weight_is_changed_and_no_bias(graph: Graph) -> None:
    found = graph.with_weights(lambda weight: weight + 1)
    for old, new in zip(graph.layers(), found.layers(), strict=True):
        np.testing.assert_array_equal(real(new.weight), real(old.weight) + 1)
        assert new.bias is old.bias
    kinds = [type(operation) for operation in graph.operations]
    assert [type(operation) for operation in found.operations] == kinds
    assert {Conv, Linear, Pool} <= set(kinds)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 2, 2)])
def test_integers_stand_for_scale_times_value_along_the_first_axis(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.int8).reshape(shape)
    scales = np.array([0.5, 2.0, 4.0], np.float32)
    found = real(Integers(values, scales))
    assert found.dtype == np.float32 and found.shape == Integers(values, scales).shape == shape
    for channel, scale in enumerate(scales):
        np.testing.assert_array_equal(found[channel], values[channel] * scale)


def test_floats_stand_for_themselves() -> None:
    weight: NDArray = np.ones((2, 3), np.float32)
    assert real(weight) is weight
