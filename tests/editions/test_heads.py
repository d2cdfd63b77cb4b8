"""Every head in every edition: the same named tensors, within 1e-4, at small and full width."""

from typing import Any

import numpy as np
import pytest
from heads import HEADS, with_head
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions.edition import find
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.count import layers, parameters
from mobilenetv2.spec.names import intermediate_names, parameter_shapes

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
