"""Other networks by other converters, run as they are: the answers of the original's framework."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from litert_converter import converter_of
from numpy.typing import NDArray
from PIL import Image

import mobilenetv2 as mn

pytestmark = pytest.mark.slow
RANDOM = np.random.default_rng(0)
PHOTO = Image.fromarray(RANDOM.integers(0, 256, (90, 70, 3), np.uint8))
PIXELS = np.asarray(PHOTO.resize((64, 48), Image.Resampling.BILINEAR), np.float32)
"""The photo, stretched to the networks' 48 x 64."""
PHOTOS = [RANDOM.integers(0, 256, (1, 48, 64, 3)).astype(np.float32) for _ in range(20)]
Scale = Callable[[NDArray], NDArray]


class Residual(torch.nn.Module):
    """A small ResNet: a stem, two blocks with shortcuts, pooling, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, 2, 1), torch.nn.BatchNorm2d(16), torch.nn.ReLU()
        )
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Conv2d(16, 16, 3, 1, 1), torch.nn.BatchNorm2d(16))
            for _ in range(2)
        )
        self.linear = torch.nn.Linear(16, 6)

    def forward(self, x: Any) -> Any:
        """Return logits."""
        x = self.stem(x)
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.linear(x.mean((2, 3)))


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_residual_network_of_pytorch(dynamo: bool, runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(runtime)
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    network, path = Residual().eval(), tmp_path / "resnet.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, 3, 48, 64),), str(path), dynamo=dynamo, external_data=False
        )
    mean, std = (np.array(v) for v in (mn.Preprocessing().mean, mn.Preprocessing().std))
    x = torch.tensor(((PIXELS - mean) / std).transpose(2, 0, 1)[None], dtype=torch.float32)
    with torch.no_grad():
        expected = network(x).softmax(1)[0].numpy()
    (found,) = mn.Classifier(path, runtime=runtime)([PHOTO])
    np.testing.assert_allclose(found.probabilities, expected, rtol=0, atol=1e-4)


CASES: dict[str, tuple[tuple[float, float] | None, str | None, int]] = {
    "plain": (None, "softmax", 5),
    "rescaling": ((1 / 255, 0.0), "softmax", 5),
    "rescaling_around_0": ((1 / 127.5, -1.0), None, 5),
    "sigmoids": (None, "sigmoid", 5),
    "one_sigmoid": (None, "sigmoid", 1),
}
"""Rescaling inside, activation of the last layer, and number of outputs."""


def keras_network(rescaling: tuple[float, float] | None, last: str | None, outputs: int) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    x = given = keras.Input((48, 64, 3))
    if rescaling:
        x = keras.layers.Rescaling(*rescaling)(x)
    for channels in (8, 16):
        x = keras.layers.Conv2D(channels, 3, 2, "same", activation="relu")(x)
        x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(given, keras.layers.Dense(outputs, activation=last)(x))


def converted(network: Any, kind: str, scale: Scale) -> bytes:
    import tensorflow as tf

    converter = converter_of(network)
    if kind == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    elif kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([scale(x)] for x in PHOTOS)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own affair
        return bytes(converter.convert())


@pytest.mark.parametrize("case", CASES)
def test_a_network_of_keras_as_litert(case: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("ai_edge_litert")
    rescaling, last, outputs = CASES[case]
    network = keras_network(rescaling, last, outputs)
    scale: Scale = (lambda x: x) if rescaling else (lambda x: np.asarray(x / 127.5 - 1, np.float32))
    answer = network.predict(scale(PIXELS[None]), verbose=0)[0].astype(np.float64)
    if last is None:
        answer = np.exp(answer) / np.exp(answer).sum()
    if outputs == 1:
        answer = np.array([1 - answer[0], answer[0]])
    tolerances = {"float32": 1e-4, "float16": 1e-3, "int8": 0.01, "uint8": 0.01}
    for kind, most in tolerances.items():
        path = tmp_path / f"{kind}.tflite"
        path.write_bytes(converted(network, kind, scale))
        found = mn.Classifier(path)(PHOTO).probabilities
        np.testing.assert_allclose(found, answer, rtol=0, atol=most, err_msg=kind)
