"""Variables of the JAX edition by their canonical names."""

import numpy as np
from flax import nnx

from mobilenetv2.editions import jax as edition
from mobilenetv2.editions.jax.weights import assign, dump, variables
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, StageSpec

SPEC = NetworkSpec(
    width=0.25, size=(32, 32), classes=5, head_channels=24, conv_bias=True,
    stages=(StageSpec(1, 16, 1, 2),),
)  # fmt: skip


def test_every_canonical_array_has_a_variable() -> None:
    network = edition.build(SPEC)
    assert list(variables(network)) == list(parameter_shapes(SPEC))
    assign(network, {"stem.conv.bias": np.arange(8.0)})
    np.testing.assert_array_equal(dump(network)["stem.conv.bias"], np.arange(8.0))


def test_arrays_go_into_a_classifier_that_was_put_in() -> None:
    network = edition.build(SPEC)
    network.classifier = nnx.Linear(24, 2, rngs=nnx.Rngs(0))
    assign(network, {"classifier.weight": np.ones((2, 24)), "classifier.bias": np.zeros(2)})
    assert (dump(network)["classifier.weight"] == 1).all()
    assert network.classifier.kernel.shape == (24, 2)
