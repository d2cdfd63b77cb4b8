"""A pass through a network of the keras edition that leaves it as it is."""

from pathlib import Path

import numpy as np
import pytest

import mobilenetv2 as mn

OTHER = "this network computes something else than the MobileNetV2 of its config"


@pytest.mark.parametrize("ending", [None, "softmax", "sigmoid"])
def test_layers_before_a_keras_body_are_not_dropped(ending: str | None, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    body = mn.load("embedded", "keras", include_top=False, pooling="avg")
    top = [keras.layers.Dropout(0.2), keras.layers.Dense(3, activation=ending)]
    start = keras.Input(body.input_shape[1:])
    for front in (keras.layers.Rescaling(1 / 255), keras.layers.Rescaling(1 / 127.5, offset=-1)):
        with pytest.raises(mn.MobileNetV2Error, match=OTHER):
            mn.save(keras.Sequential([start, front, body, *top]), tmp_path / "m")
    augmented = keras.Sequential([start, keras.layers.RandomFlip(), body, *top])
    mn.save(augmented, tmp_path / "m")  # an identity in evaluation mode
    assert mn.load(tmp_path / "m", "numpy").config.spec.dropout == 0.2


def test_a_whole_keras_network_inside_a_model_is_saved(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    whole = mn.load("embedded", "keras")
    start = keras.Input(whole.input_shape[1:])
    nested = keras.Sequential([start, keras.layers.RandomFlip(), keras.Sequential([whole])])
    mn.save(nested, tmp_path / "m")
    again = mn.load(tmp_path / "m", "numpy")
    assert again.config.labels == whole.config.labels
    kernel = keras.ops.convert_to_numpy(whole.get_layer("predictions").kernel)
    np.testing.assert_array_equal(again.arrays["classifier.weight"], kernel.T)
    mn.save(keras.Sequential([start, whole, keras.layers.Softmax()]), tmp_path / "m")
    unbuilt = keras.Sequential([keras.layers.RandomFlip(), whole])
    with pytest.raises(mn.MobileNetV2Error, match="is not built yet"):
        mn.save(unbuilt, tmp_path / "m")
