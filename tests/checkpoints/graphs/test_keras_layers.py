"""Layers of a Keras config, of every age and with models inside models."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.graphs.keras_layers import read
from mobilenetv2.errors import DialectError

Row = dict[str, Any]


def tensor(name: str) -> Row:
    """As Keras 3 writes what a layer takes."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}


def row(kind: str, name: str, *inputs: str, age: int = 3, **settings: Any) -> Row:
    found: Row = {"class_name": kind, "config": {"name": name, **settings}}
    if inputs and age == 3:
        args = [tensor(inputs[0])] if len(inputs) == 1 else [[tensor(one) for one in inputs]]
        found["inbound_nodes"] = [{"args": args, "kwargs": {"mask": None}}]
    elif inputs:
        found["inbound_nodes"] = [[[one, 0, 0, {"training": False}] for one in inputs]]
    return found


def model(*rows: Row, kind: str = "Functional", **more: Any) -> Row:
    return {"class_name": kind, "config": {"layers": [*rows], **more}}


PICTURE = row("InputLayer", "picture", batch_shape=[None, 8, 8, 3])


@pytest.mark.parametrize("age", [2, 3])
def test_layers_with_what_they_take(age: int) -> None:
    found = read(model(
        PICTURE, row("Conv2D", "a", "picture", age=age), row("Conv2D", "b", "a", age=age),
        row("Add", "c", "a", "b", age=age), output_layers=[["c", 0, 0]],
    ))  # fmt: skip
    assert [layer.inputs for layer in found.values()] == [(), ("picture",), ("a",), ("a", "b")]
    assert str(found["c"]) == "layer c (Add)" and found["picture"].settings == PICTURE["config"]


@pytest.mark.parametrize("age", [2, 3])
def test_a_model_inside_a_model(age: int) -> None:
    inner = model(
        row("InputLayer", "inside"), row("Conv2D", "a", "inside", age=age),
        row("ReLU", "b", "a", age=age), output_layers=["b", 0, 0],
    )  # fmt: skip
    base = inner | row("Functional", "base", "picture", age=age)
    base["config"] = {**inner["config"], "name": "base"}
    found = read(model(PICTURE, base, row("Dense", "c", "base", age=age)))
    assert {name: layer.inputs for name, layer in found.items()} == {
        "picture": (), "a": ("picture",), "b": ("a",), "c": ("b",),
    }  # fmt: skip


def test_a_sequential_model_is_a_row() -> None:
    inner = model(row("InputLayer", "inside"), row("Conv2D", "a", "inside"), name="base")
    for first in ((PICTURE,), ()):
        found = read(model(*first, inner, row("Dense", "c"), kind="Sequential"))
        start = "picture" if first else "inside"
        assert {name: layer.inputs for name, layer in found.items()} == {
            start: (), "a": (start,), "c": ("a",),
        }  # fmt: skip
    # The oldest: no input layer, and a bare list.
    oldest = row("Conv2D", "a", batch_input_shape=[None, 8, 8, 3])
    found = read({"config": [oldest, row("BatchNormalizationV1", "b")]})
    assert [(layer.kind, layer.inputs) for layer in found.values()] == [
        ("InputLayer", ()), ("Conv2D", ("a_input",)), ("BatchNormalization", ("a",)),
    ]  # fmt: skip


A = row("Conv2D", "a", "picture")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "not that of a functional Keras model"),
        ({"config": {}}, "not that of a functional Keras model"),
        ({"config": {"layers": [3]}}, "not that of a functional Keras model"),
        (model(), "not that of a functional Keras model"),
        (model(PICTURE, row("Conv2D", "a", "x")), "a takes the output of x, which is not there"),
        (model(PICTURE, A, A), "two layers are named 'a'"),
        (model(PICTURE, row("InputLayer", "other")), "more than one picture"),
        (model(PICTURE, A, row("Conv2D", "b", "picture")), "outputs of a, b are not used"),
        (model(PICTURE, A, output_layers=[["a", 0, 0], ["picture", 0, 0]]), "it has 2 outputs"),
        (model(PICTURE, A, output_layers=[["picture", 0, 0]]), "outputs of a are not used"),
        (
            model(PICTURE, A | {"inbound_nodes": [*A["inbound_nodes"]] * 2}),
            r"layer a \(Conv2D\) is used 2 times",
        ),
    ],
)
def test_what_is_no_single_path(config: Row, message: str) -> None:
    with pytest.raises(DialectError, match=message):
        read(config)


def test_models_too_deep_inside_one_another() -> None:
    config = model(PICTURE)
    for _ in range(20):
        config = model(config, name="x")
    with pytest.raises(DialectError, match="models more than 8 deep"):
        read(config)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("picture"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["config", "layers", "class_name", "name", "keras_history"]), inner
        )
    ),
    max_leaves=12,
)


@given(ANYTHING, st.sampled_from(["inbound_nodes", "config", "class_name", "output_layers"]))
def test_any_config_is_read_or_refused(value: Any, key: str) -> None:
    changed = model(PICTURE, {**A, key: value}, row("ReLU", "b", "a"), **{key: value})
    for config in (changed, {"config": value}):
        try:
            assert read(config)
        except DialectError as error:
            assert str(error)
