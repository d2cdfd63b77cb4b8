"""Which layer is which, in files whose layers have other names than today's."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenetv2.checkpoints.dialects.keras import DIALECT
from mobilenetv2.checkpoints.dialects.keras_names import usual_names
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published

SPECS = (
    published("keras", width=0.35, classes=3),
    published("article-keras", width=0.35, classes=3),  # its first block has an expansion
    published("small", width=0.1, classes=3),
)
ARRAYS = [DIALECT.encode(spec, random_arrays(spec)) for spec in SPECS]


def renamed(arrays: dict[str, NDArray], prefix: str = "l") -> dict[str, NDArray]:
    """Every layer under a number of its own."""
    layers = list(dict.fromkeys(name.split("/")[0] for name in arrays))
    return {
        f"{prefix}{layers.index(name.split('/')[0])}/{name.split('/')[1]}": array
        for name, array in arrays.items()
    }


@pytest.mark.parametrize("arrays", ARRAYS)
def test_every_layer_is_known_by_its_place(arrays: dict[str, NDArray]) -> None:
    names = usual_names(renamed(arrays))
    assert list(names.values())[1:] == [
        layer for layer in dict.fromkeys(name.split("/")[0] for name in arrays)
        if layer != "predictions"
    ]  # fmt: skip
    assert next(iter(names.values())) == "predictions"


def test_layers_of_todays_names_keep_them_whatever_their_order() -> None:
    shuffled = dict(sorted(ARRAYS[0].items()))
    assert usual_names(shuffled) == {}


@pytest.mark.parametrize("name", ["Logits", "dense", "my_head"])
def test_the_only_linear_layer_is_the_classifier(name: str) -> None:
    arrays = {re.sub(r"^predictions/", f"{name}/", key): a for key, a in ARRAYS[0].items()}
    assert usual_names(arrays) == {name: "predictions"}
    assert usual_names(arrays | {"another/kernel": np.zeros((3, 2), np.float32)}) == {}
    # Nothing takes the place of what is there.
    assert usual_names(arrays | {"predictions/bias": np.zeros(3, np.float32)}) == {}


@pytest.mark.parametrize("missing", ["l1/gamma", "l4/kernel", "l5/gamma", "l102/kernel"])
def test_other_layers_keep_their_names(missing: str) -> None:
    arrays = renamed(ARRAYS[0])
    layer = missing.split("/")[0]
    less = {name: array for name, array in arrays.items() if name.split("/")[0] != layer}
    assert list(usual_names(less)) == ["l104"]  # the classifier


@given(st.dictionaries(
    st.from_regex(r"(a|b|Conv1|predictions)?(/(kernel|gamma|beta|x))?", fullmatch=True),
    st.sampled_from([(), (2,), (2, 3), (3, 3, 1, 2), (1, 1, 2, 2)]), max_size=8,
))  # fmt: skip
def test_any_names_give_different_names(shapes: dict[str, tuple[int, ...]]) -> None:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    names = usual_names(arrays)
    assert len(set(names.values())) == len(names)
    layers = {name.split("/")[0] for name in arrays}
    assert names.keys() <= layers and not set(names.values()) & (layers - names.keys())
