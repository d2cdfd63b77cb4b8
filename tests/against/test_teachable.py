"""Teachable Machine's exports are imported, predict as its page does, and keep their labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="Keras is not installed (extra: keras; make test-all)")
pytest.importorskip("tensorflow")
pytest.importorskip("h5py")

import teachable

from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.editions import numpy as edition
from mobilenetv2.images.transform import PlanarTransform
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec
from mobilenetv2.spec.records import Preprocessing

pytestmark = pytest.mark.slow
PICTURES = np.random.default_rng(4).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Any:
    return teachable.make_model()


EXPORTS: dict[str, Callable[[Any, Path], Path]] = {
    "h5": teachable.write_h5,
    "h5 folder": lambda model, folder: teachable.write_h5(model, folder).parent,
    "web": teachable.write_web,
    "web file": lambda model, folder: teachable.write_web(model, folder) / "model.json",
    "savedmodel": teachable.write_savedmodel,
    "savedmodel folder": lambda model, folder: teachable.write_savedmodel(model, folder).parent,
    "old savedmodel": lambda model, folder: teachable.write_savedmodel(model, folder, False),
}


def predicted(path: Path) -> Any:
    """Return the config, and the probabilities of the pictures by our own whole path."""
    from PIL import Image

    config, arrays = read_checkpoint(path)
    network = edition.build(config)
    edition.load(network, arrays)
    transform = PlanarTransform(config.preprocessing)
    x = np.stack([np.asarray(transform(Image.fromarray(one))) for one in PICTURES])
    logits = edition.intermediates(network, x.transpose(0, 2, 3, 1))["logits"]
    return config, probabilities(logits, config.spec.classifier.outputs)


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_predicts_as_the_page_does(export: str, model: Any, tmp_path: Path) -> None:
    config, found = predicted(EXPORTS[export](model, tmp_path))
    np.testing.assert_allclose(found, teachable.answers(model, PICTURES), atol=1e-4)
    assert config.labels.names == teachable.LABELS
    record = Preprocessing(
        (224, 224), (224, 224), "cover", interpolation="lanczos", mean=(127.5,) * 3,
        std=(127.5,) * 3,
    )  # fmt: skip
    assert config.preprocessing == record and config.origin is not None
    assert "Teachable Machine" in config.origin.preprocessing
    assert config.spec.classifier == ClassifierSpec(hidden=(HiddenSpec(100),), bias=False)
    assert config.spec.width == 0.35 and config.spec.size == (224, 224)


@pytest.mark.parametrize(("stored", "most"), [("float16", 1e-3), ("uint16", 1e-3), ("uint8", 0.2)])
def test_quantised_weights_of_the_web(stored: str, most: float, model: Any, tmp_path: Path) -> None:
    _, found = predicted(teachable.write_web(model, tmp_path, stored))
    assert np.abs(found - teachable.answers(model, PICTURES)).max() < most


def test_without_labels_beside_it_classes_have_numbers(model: Any, tmp_path: Path) -> None:
    path = teachable.write_h5(model, tmp_path)
    for text in (None, "0 hat\n", "{"):
        labels = tmp_path / "labels.txt"
        labels.unlink(missing_ok=True)
        (tmp_path / "metadata.json").write_text("{")
        if text is not None:
            labels.write_text(text)
        config, _ = read_checkpoint(path)
        assert config.labels.names[0] == "class 0"
