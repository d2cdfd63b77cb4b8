"""Layers models of TensorFlow.js: every head there and back, and Keras computes the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.dialects.tfjs import layers_model
from mobilenetv2.checkpoints.exporter import write_checkpoint
from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.editions import numpy as edition
from mobilenetv2.errors import ArtifactError, DialectError
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, StageSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig

SMALL = published("keras", width=0.35, size=(64, 32), classes=3)
SPECS = {
    "keras": SMALL,
    "torchvision": published("torchvision", width=0.35, size=64, classes=2),
    "article": published("article-torch", width=0.35, size=32, classes=2),
    "hidden": SMALL.replace(
        classifier=ClassifierSpec("max", (HiddenSpec(8, dropout=0.5), HiddenSpec(5, "none", False)),
                                  bias=False, outputs="sigmoid")),
    "logit": SMALL.replace(classes=2, classifier=ClassifierSpec(outputs="logit")),
    "grey": SMALL.replace(
        input_channels=1, stages=(StageSpec(1, 16, 1, 1), StageSpec(3, 24, 2, 2))),
}  # fmt: skip


def network(name: str) -> tuple[ModelConfig, Arrays]:
    spec = SPECS[name]
    return ModelConfig.default(spec), random_arrays(spec)


def stripped(path: Path) -> None:
    """Take our config out of a file, as another program would write it."""
    said = json.loads(path.read_text("utf-8"))
    del said["userDefinedMetadata"]
    path.write_text(json.dumps(said), "utf-8")


@pytest.mark.parametrize("name", SPECS)
def test_there_and_back(name: str, tmp_path: Path) -> None:
    config, arrays = network(name)
    for out in (tmp_path / "web", tmp_path / "one" / "shoes.json"):
        made = write_checkpoint(config, arrays, "tfjs", out)
        assert made.paths[0] == out and all(path.exists() for path in made.paths)
        found, back = read_checkpoint(out)
        assert (found.spec, found.labels) == (config.spec, config.labels)
        assert found.preprocessing == config.preprocessing
        assert back.keys() == arrays.keys()
        assert all(np.array_equal(back[key], arrays[key]) for key in arrays)
    assert {path.name for path in (tmp_path / "web").iterdir()} == {"model.json", "weights.bin"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "shoes.json", "shoes.weights.bin"
    }  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_without_our_config_the_layers_say_what_they_are(name: str, tmp_path: Path) -> None:
    config, arrays = network(name)
    write_checkpoint(config, arrays, "tfjs", tmp_path / "web")
    stripped(tmp_path / "web" / "model.json")
    found, back = read_checkpoint(tmp_path / "web")
    numerics = config.spec.numerics
    assert (found.spec.classifier, found.spec.dropout, found.spec.size) == (
        config.spec.classifier, config.spec.dropout, config.spec.size
    )  # fmt: skip
    assert found.spec.numerics.padding == numerics.padding
    assert found.spec.numerics.epsilon == numerics.epsilon
    assert found.spec.numerics.update_rate == pytest.approx(numerics.update_rate)
    assert all(np.array_equal(back[key], arrays[key]) for key in arrays)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_keras_computes_the_same_from_the_written_config(name: str) -> None:
    """TensorFlow.js is not at hand; Keras builds the same layers from the same config."""
    pytest.importorskip("keras")
    from keras.src.legacy.saving.saving_utils import model_from_config

    config, arrays = network(name)
    topology, weights = layers_model(config.spec, arrays)
    model: Any = model_from_config(topology)
    for layer in model.layers:
        values = [array for key, array in weights.items() if key.split("/")[0] == layer.name]
        layer.set_weights(values)
    shape = (2, *config.spec.size, config.spec.input_channels)
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    ours = edition.build(config, dtype=np.float64)
    edition.load(ours, arrays)
    outputs = config.spec.classifier.outputs
    expected = probabilities(edition.intermediates(ours, x)["logits"], outputs)
    expected = expected[:, 1:] if outputs == "logit" else expected
    np.testing.assert_allclose(np.asarray(model([x], training=False)), expected, atol=1e-5)


def test_the_body_alone(tmp_path: Path) -> None:
    config, arrays = network("hidden")
    write_checkpoint(config, arrays, "tfjs", tmp_path / "web")
    options = ImportOptions(body=True, labels=Labels(("a", "b", "c", "d")))
    found, back = read_checkpoint(tmp_path / "web", options)
    assert found.origin is not None and found.origin.untrained_classifier
    assert found.labels.names == ("a", "b", "c", "d") and not found.spec.classifier.hidden
    np.testing.assert_array_equal(back["head.conv.weight"], arrays["head.conv.weight"])


def test_what_is_refused(tmp_path: Path) -> None:
    other: NetworkSpec = SMALL.replace(
        stages=(StageSpec(1, 16, 1, 1, "separable"), StageSpec(1, 24, 2, 2, "separable"))
    )
    with pytest.raises(DialectError, match="inverted residual blocks only"):
        write_checkpoint(ModelConfig.default(other), random_arrays(other), "tfjs", tmp_path / "a")
    bent = SMALL.replace(projection="relu")
    with pytest.raises(DialectError, match="linear projections only"):
        write_checkpoint(ModelConfig.default(bent), random_arrays(bent), "tfjs", tmp_path / "a")
    config, arrays = network("keras")
    write_checkpoint(config, arrays, "tfjs", tmp_path / "b")
    with pytest.raises(ArtifactError, match="exists already"):
        write_checkpoint(config, arrays, "tfjs", tmp_path / "b")
    write_checkpoint(config, arrays, "tfjs", tmp_path / "b", overwrite=True)
    with pytest.raises(DialectError, match="width is not for tfjs"):
        read_checkpoint(tmp_path / "b", ImportOptions(width=0.5))
