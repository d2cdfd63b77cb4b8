"""Every head in every edition: the same named tensors, within 1e-4, at small and full width; and
heads that are described by their parts."""

from typing import Any

import numpy as np
import pytest
from heads import HEADS, with_head
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions.edition import find
from mobilenetv2.editions.heads import (
    ActivationPart,
    DropoutPart,
    Head,
    LinearPart,
    OtherPart,
    OutputPart,
    describe_head,
    head_config,
)
from mobilenetv2.errors import SpecError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.count import layers, parameters
from mobilenetv2.spec.names import intermediate_names, parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

WIDTHS = [
    0.1,
    pytest.param(0.35, marks=pytest.mark.slow),
    pytest.param(1.0, marks=pytest.mark.slow),
]
FRAMEWORKS = {"torch": "torch", "keras": "keras", "jax": "flax"}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_named_tensor_is_the_plain_editions(name: Any, head: str, width: float) -> None:
    pytest.importorskip(FRAMEWORKS[name], reason=f"{name} is not installed (extra: {name})")
    spec = with_head(head, (65, 48), width)
    arrays = random_arrays(spec)
    x = np.random.default_rng(0).normal(size=(2, *spec.size, 3)).astype(np.float32)
    reference = plain.build(spec, dtype="float64")
    plain.load(reference, arrays)
    wanted = plain.intermediates(reference, x)
    edition = find(name)
    network = edition.build(spec)
    edition.load(network, arrays)
    found = edition.intermediates(network, x)
    assert list(found) == list(intermediate_names(spec)) == list(wanted)
    assert found["logits"].shape == (2, spec.logits)
    for tensor, values in wanted.items():
        difference = np.abs(found[tensor] - values).max()
        assert difference <= 1e-4 * max(1.0, np.abs(values).max()), tensor
    again = edition.dump(network)
    assert all(np.array_equal(again[key], array) for key, array in arrays.items())
    assert again.keys() == arrays.keys()


@pytest.mark.parametrize("head", HEADS)
def test_a_seed_gives_the_same_head_in_every_edition(head: str) -> None:
    spec = with_head(head)
    dumped: list[dict[str, NDArray]] = []
    for name in ("numpy", "torch"):
        edition = find(name)
        dumped.append(edition.dump(edition.build(spec, seed=3)))
    for key, array in dumped[0].items():
        np.testing.assert_array_equal(array, dumped[1][key])


@pytest.mark.parametrize("head", HEADS)
def test_counts_are_those_of_the_tensors(head: str) -> None:
    spec = with_head(head)
    shapes = parameter_shapes(spec)
    trained = [shape for key, shape in shapes.items() if not key.endswith((".mean", ".variance"))]
    assert parameters(spec) == sum(int(np.prod(shape)) for shape in trained)
    rows = [row for row in layers(spec) if row.role == "classifier"]
    assert len(rows) == 1 + len(spec.classifier.hidden)
    for row in rows:
        assert row.multiply_adds == int(np.prod(shapes[f"{row.name}.weight"]))


TINY = NetworkSpec(width=0.1, size=(32, 32), classes=5, head_channels=24)


def test_parts_become_a_spec_and_keep_the_layers() -> None:
    parts: list[Any] = [
        DropoutPart(0.5), DropoutPart(0.5), LinearPart(24, 8, False, "a"), DropoutPart(0.1),
        ActivationPart("relu"), LinearPart(8, 3, True, "b"), OutputPart("sigmoid"),
    ]  # fmt: skip
    head: Head[Any] = describe_head(parts, TINY)
    assert head.layers == ("a", "b") and head.spec.dropout == 0.75 and head.spec.classes == 3
    assert head.spec.classifier == ClassifierSpec(
        hidden=(HiddenSpec(8, "relu", False, 0.1),), outputs="sigmoid"
    )


@pytest.mark.parametrize("name", HEADS)
def test_a_described_head_is_the_specs_own(name: str) -> None:
    """The parts of every head in the suite describe it; a softmax needs none."""
    spec = with_head(name)
    parts: list[Any] = [DropoutPart(spec.dropout)]
    for linear in resolve(spec).linears:
        parts.append(LinearPart(linear.in_features, linear.out_features, linear.bias, linear.name))
        parts += [ActivationPart(linear.activation)] if linear.activation else []
        parts.append(DropoutPart(linear.dropout))
    assert describe_head(parts, spec).spec == spec


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "no linear layer"),
        ([OtherPart("GELU")], "it has a GELU"),
        ([OutputPart("softmax"), DropoutPart(0.1)], "a layer follows its softmax"),
        ([LinearPart(24, 1, True, "a"), OutputPart("softmax")], "one output is always 1"),
        ([LinearPart(23, 2, True, "a")], "has 23 inputs but gets 24 features"),
        ([LinearPart(24, 2, True, "a"), DropoutPart(0.1)], "follows its last linear layer"),
        (
            [LinearPart(24, 2, True, "a"), DropoutPart(0.1), ActivationPart("relu6")],
            "its relu6 does not follow",
        ),
    ],
)
def test_what_cannot_be_described_is_named(parts: list[Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"cannot be saved: .*{message}"):
        describe_head(parts, TINY)


def test_labels_stay_only_where_they_are_the_new_classifiers() -> None:
    config = ModelConfig(
        TINY, Preprocessing.default(TINY), Labels(tuple("abcde")), metrics={"x": 1}
    )
    assert head_config(config, TINY, named=True) == config
    renamed = head_config(config, TINY, named=False)
    assert renamed.labels == Labels.numbered(5) and not renamed.metrics
    assert head_config(config, TINY.replace(classes=2), named=True).labels == Labels.numbered(2)
