"""ONNX files of other exporters, read into our editions: the logits of the exported model itself.

PyTorch's two exporters (with and without folding, old and new operator sets), tf2onnx, and ONNX
Runtime's quantiser. tf2onnx is in no extra: ``pip install --no-deps tf2onnx`` beside the extra
``keras`` runs its tests, ``pip install torchvision`` that of torchvision.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as runtime
import pytest
import torch
from numpy.typing import NDArray

from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions import torch as edition
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

Fixture = Callable[..., Any]
FAMILIES: dict[str, dict[str, Any]] = {
    "torchvision": {"width": 0.35, "size": 64},
    "paper": {"width": 0.35, "size": (66, 97)},
    "article-torch": {"width": 0.35, "size": 64},
}


def spec_of(family: str) -> NetworkSpec:
    return published(family, classes=7, **{"dropout": 0.2, **FAMILIES[family]})


def export(model: Any, path: Path, size: tuple[int, int], **options: Any) -> None:
    """By torch.onnx.export, whose warnings about itself are PyTorch's affair."""
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(2, 3, *size),), path, **options)


def agree(path: Path, pictures: Fixture, assert_same: Fixture) -> tuple[ModelConfig, Arrays]:
    """The file, run by ONNX Runtime, and what came in, run by the plain reference."""
    config, arrays = read_checkpoint(path)
    network = plain.build(config, dtype=np.float64)
    plain.load(network, arrays)
    x: NDArray = pictures(config.spec.size)
    session = runtime.InferenceSession(path)
    (source,) = session.get_inputs()
    given = x if source.shape[3] == 3 else x.transpose(0, 3, 1, 2)
    assert_same(session.run(None, {source.name: given})[0], network(x.transpose(0, 3, 1, 2)))
    return config, arrays


def ours(family: str) -> tuple[Any, NetworkSpec, Arrays]:
    spec = spec_of(family)
    network, arrays = edition.build(spec), random_arrays(spec)
    edition.load(network, arrays)
    return network, spec, arrays


def without_bias(spec: NetworkSpec) -> NetworkSpec:
    """What a folded file can say: the convolutions' own biases are in BatchNorm's."""
    return spec.replace(conv_bias=False)


@pytest.mark.slow
@pytest.mark.parametrize("opened", ["", "b", "bhw"])
@pytest.mark.parametrize("opset", [11, 13, 17, 20])
@pytest.mark.parametrize("family", FAMILIES)
def test_pytorchs_older_exporter_folded(
    family: str, opset: int, opened: str, tmp_path: Path, pictures: Fixture, assert_same: Fixture
) -> None:
    network, spec, _ = ours(family)
    path = tmp_path / "net.onnx"
    axes = {"bchw".index(axis): axis for axis in opened}
    export(network, path, spec.size, dynamo=False, opset_version=opset, input_names=["x"],
           dynamic_axes={"x": axes})  # fmt: skip
    config, _ = agree(path, pictures, assert_same)
    spec = spec.replace(size=(224, 224)) if "h" in opened else spec
    assert config.spec == without_bias(spec)
    assert config.origin is not None and config.origin.folded


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 13, 15, 20])
@pytest.mark.parametrize("family", FAMILIES)
def test_pytorchs_older_exporter_with_its_batch_norms(
    family: str, opset: int, tmp_path: Path, pictures: Fixture, assert_same: Fixture
) -> None:
    network, spec, arrays = ours(family)
    path = tmp_path / "net.onnx"
    export(network, path, spec.size, dynamo=False, opset_version=opset, do_constant_folding=False,
           training=torch.onnx.TrainingMode.PRESERVE)  # fmt: skip
    config, found = agree(path, pictures, assert_same)
    assert config.spec == spec
    assert list(found) == list(arrays)
    for name in arrays:
        np.testing.assert_array_equal(found[name], arrays[name], strict=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "size"),
    [("paper", "closed"), ("torchvision", "open batch"), ("paper", "open size")],
)
def test_pytorchs_newer_exporter_folded(
    family: str, size: str, tmp_path: Path, pictures: Fixture, assert_same: Fixture
) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra: against)")
    network, spec, _ = ours(family)
    path = tmp_path / "net.onnx"
    batch, side = torch.export.Dim("batch"), torch.export.Dim.AUTO
    options: dict[str, Any] = {}
    if size != "closed":
        axes = {0: batch} if size == "open batch" else {0: batch, 2: side, 3: side}
        options = {"dynamic_shapes": (axes,)}
    export(network, path, spec.size, dynamo=True, external_data=False, **options)
    config, _ = agree(path, pictures, assert_same)
    if size == "open size":
        spec = spec.replace(size=(224, 224))
    assert config.spec == without_bias(spec)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_pytorchs_newer_exporter_with_its_batch_norms(
    family: str, tmp_path: Path, pictures: Fixture, assert_same: Fixture
) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra: against)")
    network, spec, arrays = ours(family)
    path = tmp_path / "net.onnx"
    export(network, path, spec.size, dynamo=True, external_data=False, optimize=False)
    config, found = agree(path, pictures, assert_same)
    assert config.spec == spec
    for name in arrays:
        np.testing.assert_array_equal(found[name], arrays[name], strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("folding", [True, False])
@pytest.mark.parametrize("width", [0.5, 1.0])
def test_torchvisions_own_model(
    width: float, folding: bool, tmp_path: Path, pictures: Fixture, assert_same: Fixture
) -> None:
    models = pytest.importorskip(
        "torchvision.models", reason="torchvision is not installed: pip install torchvision"
    )
    spec = published("torchvision", width=width, size=64, classes=7)
    model, arrays = models.mobilenet_v2(num_classes=7, width_mult=width), random_arrays(spec)
    # Their tensors and ours are in one order: that in which the network runs.
    state = {name: x for name, x in model.state_dict().items() if not name.endswith("tracked")}
    for value, array in zip(state.values(), arrays.values(), strict=True):
        value.copy_(torch.tensor(array))
    path = tmp_path / "net.onnx"
    training = torch.onnx.TrainingMode.EVAL if folding else torch.onnx.TrainingMode.PRESERVE
    export(model, path, (64, 64), dynamo=False, do_constant_folding=folding, training=training)
    config, found = agree(path, pictures, assert_same)
    assert config.spec == spec
    if not folding:
        for name in arrays:
            np.testing.assert_array_equal(found[name], arrays[name], strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["torchvision", "paper"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_onnx_runtimes_quantiser(
    family: str, per_channel: bool, tmp_path: Path, pictures: Fixture
) -> None:
    """QDQ files: weights dequantised; its ReLU6, where it left them out, are in the ranges."""
    quantization = pytest.importorskip(
        "onnxruntime.quantization", reason="onnxruntime is not installed (extra: against)"
    )
    pass

    spec = spec_of(family)
    arrays = random_arrays(spec)
    config, x = ModelConfig.default(spec), pictures(spec.size).transpose(0, 3, 1, 2)
    path, quantised = tmp_path / "net.onnx", tmp_path / "int8.onnx"
    path.write_bytes(write_onnx(lower(config, arrays)))

    class Pictures:
        def __init__(self) -> None:
            self.left = [{"input": x}]

        def get_next(self) -> dict[str, NDArray] | None:
            return self.left.pop() if self.left else None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_static(
            path, quantised, Pictures(), per_channel=per_channel,
            quant_format=quantization.QuantFormat.QDQ,
        )  # fmt: skip
    found, back = read_checkpoint(quantised)
    assert found.spec == spec  # its config is still in there

    bare = onnx.load(quantised)
    del bare.metadata_props[:]
    onnx.save(bare, quantised)
    # The range of noise says nothing of how the network is fed.
    given = ImportOptions(preprocessing=found.preprocessing)
    assert read_checkpoint(quantised, given)[0].spec == spec
    network = plain.build(found, dtype=np.float64)
    plain.load(network, back)
    expected = runtime.InferenceSession(path).run(None, {"input": x})[0]
    close = np.corrcoef(network(x).ravel(), expected.ravel())[0, 1]
    assert close > (0.99 if per_channel else 0.9)


# ---------------------------------------------------------------- tf2onnx


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "opset", "channels_first"),
    [(None, 11, False), (None, 17, True), ("softmax", 15, False)],
)
def test_tf2onnx_of_keras_applications(
    activation: str | None, opset: int, channels_first: bool, tmp_path: Path, pictures: Fixture,
    assert_same: Fixture,
) -> None:  # fmt: skip
    tf2onnx = pytest.importorskip(
        "tf2onnx", reason="tf2onnx is not installed: pip install --no-deps tf2onnx"
    )
    pytest.importorskip("keras", reason="keras is not installed (extra: keras; make test-all)")
    from mobilenetv2.editions.keras_backend import choose

    choose("tensorflow")
    import keras
    import tensorflow as tf

    from mobilenetv2.editions import keras as keras_edition

    spec = published("keras", width=0.35, size=96, classes=7)
    arrays = random_arrays(spec)
    model = keras.applications.MobileNetV2(
        (96, 96, 3), alpha=0.35, weights=None, classes=7, classifier_activation=activation
    )
    model.config = ModelConfig.default(spec)
    keras_edition.load(model, arrays)
    path = tmp_path / "net.onnx"
    call = tf.function(lambda x: model(x, training=False))
    picture = tf.TensorSpec((None, 96, 96, 3), tf.float32, name="input")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf2onnx.convert.from_function(
            call, (picture,), opset=opset, output_path=str(path),
            inputs_as_nchw=["input:0", "input"] if channels_first else None,
        )  # fmt: skip
    config, back = read_checkpoint(path)
    expected_spec = published("paper", width=0.35, size=96, classes=7)
    assert config.spec == expected_spec
    network = plain.build(config, dtype=np.float64)
    plain.load(network, back)
    x = pictures((96, 96))
    expected, found = model.predict_on_batch(x), network(x.transpose(0, 3, 1, 2))
    if activation:
        powers = np.exp(found - found.max(1, keepdims=True))
        found = powers / powers.sum(1, keepdims=True)
    assert_same(found, expected, logits=activation is None)
