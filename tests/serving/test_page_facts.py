"""Facts of the models for the page."""

import json
from pathlib import Path

import pytest

from mobilenetv2 import __version__
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.serving.page_facts import Facts, page_facts
from mobilenetv2.spec.foreign import ForeignConfig
from mobilenetv2.spec.mapping import from_mapping
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

SPEC = published("small", width=0.1, classes=3)
CONFIG = ModelConfig(SPEC, Preprocessing.default(SPEC), Labels(("hat", "鞋", "t-shirt")))


@pytest.fixture(autouse=True)
def lacking(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that the installation lacks: none at first, whether or not 'make web' has run here."""
    said = [""]
    monkeypatch.setattr("mobilenetv2.serving.page_facts.missing_vendor", lambda: said[-1])
    return said


def test_the_facts_of_a_model_folder(tmp_path: Path) -> None:
    store.save(tmp_path / "m", CONFIG, random_arrays(SPEC))
    found = page_facts(
        [Facts("my shoes/v2", tmp_path / "m", CONFIG, True)],
        {"bytes": 1000, "photos": 4},
        {"my shoes/v2": 3700},
    )
    assert json.loads(json.dumps(found)) == found
    (model,) = found.pop("models")
    assert found == {
        "version": __version__, "server": True, "threshold": 0.5,
        "limits": {"bytes": 1000, "photos": 4},
    }  # fmt: skip
    record = model.pop("preprocessing")
    assert from_mapping(Preprocessing, record, "page.json") == CONFIG.preprocessing
    folder = "device/my%20shoes%2Fv2"
    assert model == {
        "name": "my shoes/v2", "labels": ["hat", "鞋", "t-shirt"], "outputs": "softmax",
        "size": list(SPEC.size), "explain": True, "why_not": "",
        "device": {
            "model": f"{folder}/model.tflite", "bytes": 3700,
            "head": f"{folder}/head.safetensors", "config": f"{folder}/config.json",
            "weights": f"{folder}/model.safetensors",
        },
    }  # fmt: skip


def test_a_folder_without_a_server_has_no_limits(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    found = page_facts([Facts("m", tmp_path / "m", CONFIG, False)], None)
    assert (found["server"], found["limits"]) == (False, None)
    assert found["models"][0]["device"]["bytes"] is None


def test_what_only_the_server_runs_says_why(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    exported = Facts("m", tmp_path / "m.onnx", CONFIG, False)
    foreign = ForeignConfig(
        "litert", CONFIG.preprocessing, Labels(("no", "yes")), 1, outputs="logit"
    )
    given = page_facts([exported, Facts("f", tmp_path / "f.tflite", foreign, False)], {})
    first, second = given["models"]
    assert first["device"] is None and "serve the model folder" in first["why_not"]
    assert second["device"] is None and "another program" in second["why_not"]
    assert (second["outputs"], second["labels"]) == ("logit", ["no", "yes"])


def test_without_files_of_other_makers_no_browser_computes(
    tmp_path: Path, lacking: list[str]
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m.onnx").write_bytes(b"")
    lacking.append("this installation lacks vendor/litert; run 'make web'")
    given = page_facts(
        [Facts(name, tmp_path / name, CONFIG, False) for name in ("m", "m.onnx")], {}
    )
    folder, exported = given["models"]
    assert (folder["device"], folder["why_not"]) == (None, lacking[-1])
    assert "serve the model folder" in exported["why_not"]  # which make web would not change
