"""Classifiers that are built on the Keras edition as on keras.applications' models, and saved."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.editions import keras as edition
from mobilenetv2.editions.keras_backend import choose
from mobilenetv2.errors import MobileNetV2Error, SpecError
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Origin

choose(os.environ.get("KERAS_BACKEND", "tensorflow"))

import keras  # noqa: E402
from keras import layers  # noqa: E402

from mobilenetv2.editions.keras import top  # noqa: E402

SPEC = NetworkSpec(width=0.1, size=(32, 32), classes=5, head_channels=24)
X = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)


def base(pooling: Any = "avg") -> Any:
    return edition.build(SPEC, seed=1, include_top=False, pooling=pooling)


def flat() -> Any:
    body = base()
    y = layers.Dense(16, activation="relu")(body.output)
    return keras.Model(body.input, layers.Dense(4, activation="softmax")(layers.Dropout(0.3)(y)))


def nested() -> Any:
    inputs = keras.Input((32, 32, 3))
    y = layers.Dropout(0.4)(base()(inputs, training=False))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(y))


def sequential() -> Any:
    model = keras.Sequential(
        [base(None), layers.GlobalMaxPooling2D(), layers.Dense(8), layers.ReLU(6.0)]
    )
    model.add(layers.Dense(3, use_bias=False))
    model.build((None, 32, 32, 3))
    return model


CASES: dict[str, tuple[Callable[[], Any], ClassifierSpec, Any]] = {
    "layers on its output": (
        flat, ClassifierSpec(hidden=(HiddenSpec(16, dropout=0.3),)), keras.ops.softmax,
    ),
    "the body as a layer": (nested, ClassifierSpec(outputs="logit"), keras.ops.sigmoid),
    "Sequential": (
        sequential, ClassifierSpec("max", (HiddenSpec(8, "relu6"),), bias=False), lambda y: y,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_is_built_on_the_body_is_saved(case: str, tmp_path: Path) -> None:
    make, classifier, ending = CASES[case]
    model = make()
    mn.save(model, tmp_path / "model")
    again: Any = mn.load(tmp_path / "model", edition="keras")
    assert again.config.spec.classifier == classifier
    assert again.config.labels == Labels.numbered(again.config.spec.classes)
    found, expected = (keras.ops.convert_to_numpy(y) for y in (ending(again(X)), model(X)))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    found = edition.dump(model)
    assert all(np.array_equal(found[key], array) for key, array in edition.dump(again).items())
    renewed = edition.reset_classifier(model, ["a", "b", "c"])
    assert renewed(X).shape == (2, 3) and renewed.config.labels.names == ("a", "b", "c")
    assert renewed.config.spec.classifier.hidden == classifier.hidden


def test_labels_that_are_given_afterwards_are_kept(tmp_path: Path) -> None:
    model = flat()
    labels = Labels(("hat", "pants", "shoes", "skirt"))
    model.config = dataclasses.replace(edition.config_of(model), labels=labels)
    mn.save(model, tmp_path / "model")
    assert mn.load(tmp_path / "model", edition="keras").config.labels == labels


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda y: layers.BatchNormalization()(y), "it has a BatchNormalization"),
        (lambda y: layers.Dense(4, activation="gelu")(y), "it has a gelu activation"),
        (lambda y: layers.Concatenate()([y, y]), "not a chain"),
        (lambda y: layers.Dense(2)(layers.ReLU(3.0)(layers.Dense(4)(y))), "ReLU of its own"),
    ],
)
def test_what_no_folder_can_hold_is_an_error_when_it_is_saved(
    layer: Callable[[Any], Any], message: str, tmp_path: Path
) -> None:
    body = base()
    with pytest.raises(SpecError, match=f"cannot be saved: .*{message}"):
        mn.save(keras.Model(body.input, layer(body.output)), tmp_path / "model")


def test_layers_that_do_not_stand_on_the_last_map_are_an_error() -> None:
    body = base()
    early = layers.GlobalAveragePooling2D(name="early")(body.get_layer("block_2_add").output)
    model = keras.Model(body.input, [layers.Dense(2)(early), body.output])
    with pytest.raises(SpecError, match="not a chain"):
        edition.config_of(model)
    inputs = keras.Input((32, 32, 3))
    beside = keras.Model(inputs, [base()(inputs), layers.Flatten()(inputs)])
    with pytest.raises(MobileNetV2Error):
        edition.config_of(beside)


def test_a_model_without_a_body_or_with_a_lost_config_is_an_error() -> None:
    inputs = keras.Input((8,))
    with pytest.raises(MobileNetV2Error, match="no MobileNetV2"):
        top.body_of(keras.Model(inputs, layers.Dense(2)(inputs)))
    model = keras.models.clone_model(edition.build(SPEC))
    with pytest.raises(MobileNetV2Error, match="has no config"):
        edition.config_of(model)


def test_a_new_top_on_a_bare_body_has_its_hidden_layers() -> None:
    spec = SPEC.replace(classifier=ClassifierSpec(hidden=(HiddenSpec(6, dropout=0.1),)))
    body = edition.build(spec, include_top=False)
    model = edition.reset_classifier(body, 3, seed=2)
    assert model(X).shape == (2, 3) and edition.dump(model)["hidden.0.weight"].shape == (6, 24)
    assert model.transform == body.transform


def test_weights_that_came_folded_are_named_when_they_are_loaded() -> None:
    from mobilenetv2.model.arrays import random_arrays

    origin = Origin("net.tflite", folded=True)
    config = dataclasses.replace(ModelConfig.default(SPEC), origin=origin)
    network = edition.build(config)
    with pytest.warns(UserWarning, match="is folded"):
        edition.load(network, random_arrays(SPEC))
