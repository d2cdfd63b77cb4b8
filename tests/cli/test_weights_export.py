"""``weights export``: what it writes, prints and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenetv2.checkpoints.importer import import_checkpoint
from mobilenetv2.cli.main import main
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig


@pytest.fixture
def shirts(tmp_path: Path) -> Path:
    """A model folder with TensorFlow's numerics."""
    spec = published("tf-slim", width=0.35, classes=4, size=64, background=None)
    store.save(tmp_path / "shirts", ModelConfig.default(spec), random_arrays(spec))
    return tmp_path / "shirts"


def test_it_prints_the_paths_and_what_a_person_should_know(
    shirts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "export", str(shirts), str(tmp_path / "h"), "--dialect",
                 "huggingface"]) == 0  # fmt: skip
    out, _ = capsys.readouterr()
    assert out == f"{tmp_path / 'h'}\n"
    assert import_checkpoint(tmp_path / "h")[0].spec.classes == 4


def test_ignored_numerics_are_measured_on_photos(
    shirts: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_file = tmp_path / "m.safetensors"
    command = ["weights", "export", str(shirts), str(out_file), "--dialect", "timm"]
    assert main([*command, "--ignore-numerics", "--photos", str(photos / "ball"), "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["paths"] == [str(out_file), f"{out_file}.json"]
    assert found["photos"] == 12 and 0 <= found["agreements"] <= 12
    assert found["logits_difference"] > 1e-3
    assert "note: Numerics ignored on the way to timm: padding same -> symmetric" in err
    assert main([*command, "--ignore-numerics", "--overwrite"]) == 0
    assert "numerics ignored: " in (text := capsys.readouterr().err)
    assert " of 2 photos keep their best class" in text  # the two that are built in


def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(
    shirts: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    out = tmp_path / "m.pth"
    assert "give --ignore-numerics to write them all the same" in refused(
        "weights", "export", shirts, out, "--dialect", "torchvision"
    )
    assert "a keras file ends in .weights.h5 or .h5 or .keras" in refused(
        "weights", "export", shirts, out, "--dialect", "keras"
    )
    out.write_bytes(b"mine")
    assert "is there already; choose another place or give --overwrite" in refused(
        "weights", "export", shirts, out, "--dialect", "timm", "--ignore-numerics"
    )
    assert "nowhere: no such model folder" in refused(
        "weights", "export", "nowhere", out, "--dialect", "timm"
    )
