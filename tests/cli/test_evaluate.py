"""``evaluate``: which photos, which class is which, and what is printed and written."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.cli.evaluate import most_confident_mistakes
from mobilenetv2.cli.main import main

PNG = b"\x89PNG\r\n\x1a\n"


def evaluated(
    capsys: pytest.CaptureFixture[str], data: Path, model: Path, *options: str
) -> tuple[dict[str, Any], str]:
    """(the one JSON object on stdout, stderr)."""
    capsys.readouterr()
    assert main(["evaluate", str(data), "--model", str(model), "--json", *options]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    return json.loads(out), err


def renamed(photos: Path, folder: Path, names: dict[str, str]) -> Path:
    for old, new in names.items():
        shutil.copytree(photos / old, folder / new)
    return folder


def test_folders_are_matched_by_label_by_wordnet_id_and_by_index(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model's classes are 'triangle', 'Ball' and 'box, crate', in this order."""
    found, losses = [], []
    for way, names in enumerate((
        {"ball": "ball", "box": "box", "triangle": "triangle"},
        {"ball": "BALL", "box": "crate", "triangle": "Triangle"},
        {"ball": "n01", "box": "n02", "triangle": "n03"},
        {"ball": "1", "box": "2", "triangle": "0"},
    )):  # fmt: skip
        metrics, err = evaluated(capsys, renamed(photos, tmp_path / str(way), names), model)
        assert err == ""
        losses.append(metrics.pop("loss"))
        found.append({key: value for key, value in metrics.items() if key != "data"})
    assert found[0]["images"] == 36 and found[0]["split"] == "all"
    assert [row["name"] for row in found[0]["classes"]] == ["triangle", "Ball", "box, crate"]
    assert [row["photos"] for row in found[0]["classes"]] == [12, 12, 12]
    assert found[1:] == found[:1] * 3
    assert losses[1:] == pytest.approx(losses[:1] * 3, rel=1e-12)  # summed in another order
    wrong = renamed(photos, tmp_path / "wrong", {"ball": "2", "box": "1", "triangle": "0"})
    assert evaluated(capsys, wrong, model)[0]["confusion"] != found[0]["confusion"]


def test_a_class_of_the_model_without_photos_has_no_recall(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = renamed(photos, tmp_path / "two", {"ball": "ball", "box": "box"})
    metrics, _ = evaluated(capsys, two, model)
    assert metrics["classes"][0] | {"precision": 0} == {
        "name": "triangle", "photos": 0, "recall": None, "recall_interval": [0.0, 1.0],
        "precision": 0, "precision_interval": metrics["classes"][0]["precision_interval"],
    }  # fmt: skip
    assert metrics["images"] == 24


def test_folders_that_match_nothing_are_named(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = renamed(photos, tmp_path / "d", {"ball": "ball", "box": "dog", "triangle": "cat"})
    assert main(["evaluate", str(data), "--model", str(model)]) == 2
    assert "2 of 3 class folders match no class of the model" in (err := capsys.readouterr().err)
    assert "'cat', 'dog'; the model's classes are 'triangle', 'Ball', 'box, crate'" in err


def test_a_folder_that_the_model_was_trained_on_is_named_and_its_held_out_part_can_be_taken(
    trained: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, err = evaluated(capsys, photos, trained / "best")
    assert metrics["images"] == 36
    assert err.startswith("note: the model was trained on 30 of these 36 photos, so the figures")
    for name in ("validation", "val"):
        metrics, err = evaluated(capsys, photos, trained / "best", "--split", name)
        assert (metrics["images"], metrics["split"], err) == (6, "validation", "")
    assert evaluated(capsys, photos, trained / "best", "--split", "train")[0]["images"] == 27
    assert main(["evaluate", str(photos), "--model", str(trained / "best"), "--split", "test"]) == 2
    assert "has no splits, and" in (err := capsys.readouterr().err)
    assert f"{trained / 'split.csv'} names no photos of 'test' in it" in err


def test_of_a_folder_with_splits_test_comes_first(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, most in (("train", 12), ("val", 7), ("test", 5)):
        shutil.copytree(photos, tmp_path / name)
        for photo in tmp_path.glob(f"{name}/*/*"):
            if int(photo.stem) >= most:
                photo.unlink()
    for split, images in ((None, 15), ("validation", 21), ("val", 21), ("train", 36)):
        words = ["--split", split] if split else []
        assert evaluated(capsys, tmp_path, model, *words)[0]["images"] == images
    shutil.rmtree(tmp_path / "test")
    assert evaluated(capsys, tmp_path, model)[0]["images"] == 21
    assert main(["evaluate", str(tmp_path), "--model", str(model), "--split", "tset"]) == 2
    assert "has no split 'tset', it has: train, validation" in capsys.readouterr().err


def test_the_table_has_the_worst_class_first_and_the_figures_of_the_json(
    photos: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, _ = evaluated(capsys, photos, model)
    assert main(["evaluate", str(photos), "--model", str(model)]) == 0
    out = capsys.readouterr().out
    rows = sorted(metrics["classes"], key=lambda row: row["recall"])
    places = [out.index(f" {row['name']} ") for row in rows]
    assert places == sorted(places)
    low, high = metrics["top1_interval"]
    assert f"top-1   {metrics['top1']:.2%} (95% interval {low:.1%} - {high:.1%})" in out
    assert "images  36\n" in out and f"loss    {metrics['loss']:.4f}\n" in out


def test_the_report_holds_the_figures_and_pictures(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "deep" / "report"
    metrics, err = evaluated(capsys, photos, model, "--report", str(report))
    assert err == f"report: {report}\n"
    assert json.loads((report / "metrics.json").read_text()) == metrics
    assert metrics["top1"] < 1  # so there are mistakes to show
    pictures = {"classes.png", "confusion.png", "mistakes.png"}
    assert {path.name for path in report.iterdir()} == pictures | {"metrics.json"}
    assert all((report / name).read_bytes().startswith(PNG) for name in pictures)


def test_the_surest_mistakes_come_first() -> None:
    logits = np.array([[0.0, 2.0], [3.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    mistakes = most_confident_mistakes(logits, np.array([0, 0, 0, 0]), most=2)
    assert [(m.photo, m.truth, m.answer) for m in mistakes] == [(3, 0, 1), (0, 0, 1)]
    assert mistakes[0].probability == pytest.approx(1 / (1 + np.exp(-5)))
    assert most_confident_mistakes(logits, np.array([1, 0, 1, 1])) == []
