"""A network whose file had no classifier: features, never classes, until it is trained."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2.errors import SpecError
from mobilenetv2.model import store
from mobilenetv2.model.card import card
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model folder without a trained classifier."""
    spec = published("small", width=0.1, classes=10)
    made = ModelConfig.default(spec)
    origin = Origin("features.pth", untrained_classifier=True)
    folder = tmp_path_factory.mktemp("body") / "body"
    arrays = initialise(parameter_shapes(spec), "torchvision", 0)
    store.save(folder, dataclasses.replace(made, origin=origin), arrays)
    return folder


def test_no_verb_answers_with_its_classes(body: Path, photos: Path, tmp_path: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: mn.Classifier(body),
        lambda: mn.predict(photos, model=body),
        lambda: mn.predict(photos, model=body, runtime="torch"),
        lambda: mn.evaluate(body, photos),
        lambda: mn.explain(photos, body),
        lambda: mn.audit(photos, model=body),
        lambda: mn.export(body, tmp_path / "m.onnx"),
        lambda: mn.quantize(body, tmp_path / "m.onnx", data=photos),
        lambda: mn.benchmark(body, data=photos, runtime="onnxruntime", seconds=0.05),
    ]
    for call in calls:
        with pytest.raises(SpecError, match=rf"{body}: .*'features.pth'.*train.*features=True"):
            call()


def test_features_speed_and_training_need_no_classifier(
    body: Path, photos: Path, tmp_path: Path
) -> None:
    first = next(mn.predict(photos, model=body, features=True))
    assert first.error is None and len(first.features) == 1280
    found = mn.benchmark(body, runtime="onnxruntime", batch=1, seconds=0.05)
    assert not found.rows[0].error
    named = mn.load(body, classes=Labels(("hat", "shoes")))
    mn.save(named, tmp_path / "named")
    assert mn.Classifier(tmp_path / "named").labels == ("hat", "shoes")
    mn.save(mn.load(body), tmp_path / "own", classes=[f"class {i}" for i in range(10)])
    assert len(mn.Classifier(tmp_path / "own").labels) == 10


def test_training_on_photos_gives_it_answers(body: Path, photos: Path, tmp_path: Path) -> None:
    run = mn.train(photos, output=tmp_path / "run", weights=body, recipe="head-only")
    assert len(mn.Classifier(run.best).labels) == 3


def test_its_card_says_what_it_gives(body: Path) -> None:
    text = card(store.load_config(body), "body")
    assert "Features, not classes" in text and "--features" in text
    assert "image-feature-extraction" in text
