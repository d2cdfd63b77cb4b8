"""Names of the Keras layers; test_weights has those of convolutions."""

import os

from mobilenetv2.editions.keras_backend import choose

choose(os.environ.get("KERAS_BACKEND", "tensorflow"))

from mobilenetv2.editions.keras import names  # noqa: E402
from mobilenetv2.spec.names import intermediate_names  # noqa: E402
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec  # noqa: E402


def test_every_named_tensor_but_the_logits_has_a_layer() -> None:
    head = ClassifierSpec(hidden=(HiddenSpec(4, "relu6"), HiddenSpec(3, "none")))
    spec = NetworkSpec(width=0.1, size=32, classifier=head)  # type: ignore[arg-type]
    sources = names.intermediate_layers(spec)
    assert [*sources, "logits"] == list(intermediate_names(spec))
    assert (sources["hidden.0"], sources["hidden.1"]) == ("hidden_0_relu6", "hidden_1")
    assert sources["blocks.0"] == "expanded_conv_add"
    assert sources["blocks.1"] == "block_1_project_BN"
