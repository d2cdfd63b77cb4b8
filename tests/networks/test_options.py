"""Options of the editions: the unknown are met with what is meant, in every verb."""

from collections.abc import Callable
from typing import Any

import pytest

import mobilenetv2 as mn
from mobilenetv2.errors import SpecError
from mobilenetv2.networks.creation import create_model
from mobilenetv2.networks.options import ELSEWHERE, KerasOptions, Options, check_names

SPEC = mn.NetworkSpec(width=0.1, size=(32, 32), classes=3)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("seeds", "did you mean 'seed'"),
        ("dtyp", "did you mean 'dtype'"),
        ("alpha", "it is called 'width' here"),
        ("weights", "it is called 'pretrained' here"),
        ("backend", "edition 'keras' has it"),
        ("input_shape", "edition 'keras' has it; it is called 'size' here"),
    ],
)
def test_an_unknown_option_is_named_with_what_is_meant(option: str, message: str) -> None:
    options: dict[str, Any] = {option: 1}
    calls: dict[str, Callable[[], object]] = {
        "create_model": lambda: create_model("mobilenet_v2", **options),
        "build": lambda: mn.build(SPEC, **options),
        "load": lambda: mn.load("embedded", **options),
        "convert": lambda: mn.convert(mn.build(SPEC, "numpy"), "torch", **options),
    }
    for verb, call in calls.items():
        with pytest.raises(SpecError, match=f"{verb} has no argument '{option}'; {message}"):
            call()


def test_keras_has_all_its_options() -> None:
    check_names("build", "keras", dict.fromkeys(KerasOptions.__annotations__))
    assert Options.__annotations__.keys() < KerasOptions.__annotations__.keys()


def test_the_options_are_those_that_the_editions_take() -> None:
    import inspect

    from mobilenetv2.editions import numpy, torch

    for module in (torch, numpy):
        assert [*inspect.signature(module.build).parameters][1:] == [*Options.__annotations__]


@pytest.mark.slow
def test_the_options_are_those_that_keras_and_jax_take() -> None:
    pytest.importorskip("keras", reason="keras is not installed (extra: keras)")
    pytest.importorskip("flax", reason="flax is not installed (extra: jax)")
    import inspect

    from mobilenetv2.editions import jax, keras

    # Flax's metaclass hides the signature of the class.
    made = inspect.signature(jax.MobileNetV2.__init__)
    assert [*made.parameters][2:] == [*Options.__annotations__]
    mn.build(SPEC, "keras")
    from mobilenetv2.editions.keras.network import MobileNetV2

    known = {*inspect.signature(keras.build).parameters, *inspect.signature(MobileNetV2).parameters}
    assert known - {"config", "options", "name"} == KerasOptions.__annotations__.keys()


def test_a_misspelt_argument_of_the_verb_itself_is_suggested() -> None:
    with pytest.raises(SpecError, match="did you mean 'num_classes'"):
        create_model("mobilenet_v2", classes=3)  # type: ignore[call-overload]
    with pytest.raises(SpecError, match="did you mean 'classes'"):
        mn.load("embedded", num_classes=3)  # type: ignore[call-overload]


def test_foreign_arguments_are_no_options_of_ours() -> None:
    assert not ELSEWHERE.keys() & Options.__annotations__.keys()
