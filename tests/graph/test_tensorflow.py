"""The folded network in TensorFlow's operations against the plain reference."""

from typing import Any

import numpy as np
import pytest
from graph_forms import graph_of

from mobilenetv2.editions import numpy as plain
from mobilenetv2.graph.tensorflow import GraphFunction
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, Numerics
from mobilenetv2.spec.published import published

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra: keras)")
TINY: Any = {"width": 0.1, "classes": 5}
HEAD = ClassifierSpec("max", (HiddenSpec(7), HiddenSpec(6, "none", bias=False)), bias=False)
SPECS = {
    "symmetric, odd": NetworkSpec(size=(65, 48), **TINY),
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "relu6 projections": NetworkSpec(size=(48, 33), projection="relu6", **TINY),
    "another head": NetworkSpec(size=(40, 33), classifier=HEAD, **TINY),
    "relu, grey": published(
        "small", input_channels=1, numerics=Numerics(activation="relu"), shortcut="none", **TINY
    ),
}


@pytest.mark.parametrize("name", SPECS)
def test_logits_are_those_of_the_plain_reference(name: str) -> None:
    spec = SPECS[name]
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    shape = (2, *spec.size, spec.input_channels)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    wanted = plain.intermediates(network, x)["logits"]
    found = GraphFunction(tf, graph_of(spec))(tf.constant(x)).numpy()
    assert found.dtype == np.float32 and found.std() > 0.1
    assert np.abs(found - wanted).max() < 1e-4 * max(1, np.abs(wanted).max())


def test_with_normalisation_inside_it_takes_pictures() -> None:
    spec = SPECS["symmetric, odd"]
    graph = graph_of(spec)
    pictures = np.random.default_rng(0).integers(0, 256, (2, *spec.size, 3)).astype(np.uint8)
    outside = normalise(pictures, graph.config.preprocessing)
    wanted = GraphFunction(tf, graph)(tf.constant(outside)).numpy()
    found = GraphFunction(tf, graph.with_normalisation())(tf.constant(pictures)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_variables_have_the_canonical_names_and_are_not_trained() -> None:
    graph = graph_of(SPECS["another head"])
    variables = GraphFunction(tf, graph).variables
    assert list(variables) == [layer.name for layer in graph.layers()]
    assert [len(pair) for pair in variables.values()][-3:] == [2, 1, 1]  # without a bias: one
    names = {variable.name for pair in variables.values() for variable in pair}
    assert {"stem.weight:0", "stem.bias:0", "classifier.weight:0"} <= names
    assert not any(variable.trainable for pair in variables.values() for variable in pair)
