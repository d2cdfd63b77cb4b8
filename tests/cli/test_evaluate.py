"""``evaluate``: which photos, which class is which, and what is printed and written."""

import json
import shutil
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

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
        assert ("by index: " in err) == (way == 3) and (way == 3 or not err)
        measured = metrics.pop("calibration")
        losses.append([metrics.pop("loss"), metrics.pop("calibration_error"), measured["brier"]])
        found.append({key: value for key, value in metrics.items() if key != "data"})
    assert found[0]["images"] == 36 and found[0]["split"] == "all"
    assert [row["name"] for row in found[0]["classes"]] == ["triangle", "Ball", "box, crate"]
    assert [row["photos"] for row in found[0]["classes"]] == [12, 12, 12]
    assert found[1:] == found[:1] * 3
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-12)  # summed in another order
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
    assert err == (
        "note: the model was trained on 27 and selected with 3 of these 36 photos, so the "
        "figures are too optimistic; for new photos only, use --split test\n"
    )
    for name in ("validation", "val"):
        metrics, err = evaluated(capsys, photos, trained / "best", "--split", name)
        assert (metrics["images"], metrics["split"], err) == (6, "validation", "")
    metrics, err = evaluated(capsys, photos, trained / "best", "--split", "train")
    assert metrics["images"] == 27
    assert err == (
        "note: the model was trained on 27 of these 27 photos, so the figures are too optimistic\n"
    )
    assert main(["evaluate", str(photos), "--model", str(trained / "best"), "--split", "tset"]) == 2
    assert "has no splits, and" in (err := capsys.readouterr().err)
    assert f"{trained / 'split.csv'} names no photos of 'tset' in it; it has: " in err
    assert err.endswith("it has: selection, train, validation\n")


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
    assert evaluated(capsys, tmp_path, model, "--split", "test")[0]["split"] == "validation"
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
    assert f"top-1   {metrics['top1']:.2%} (95% interval {low:.1%} to {high:.1%})" in out
    assert "images  36\n" in out and f"loss    {metrics['loss']:.4f}\n" in out


def test_the_top_5_are_stated_only_where_there_are_more_classes(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(photos), "--model", str(model)]) == 0
    assert "top-5" not in capsys.readouterr().out
    shutil.copytree(photos / "ball", tmp_path / "cat")
    assert main(["evaluate", str(tmp_path)]) == 0  # the embedded model has ten classes
    assert "top-5" in capsys.readouterr().out


def test_the_calibration_error_is_printed_and_in_the_json(
    photos: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, _ = evaluated(capsys, photos, model)
    bins = metrics["calibration"]["bins"]
    assert sum(row["photos"] for row in bins) == 36
    gaps = [
        row["photos"] * abs(row["confidence"] - row["accuracy"]) for row in bins if row["photos"]
    ]
    assert metrics["calibration_error"] == pytest.approx(sum(gaps) / 36)
    assert metrics["calibration_error"] == metrics["calibration"]["error"]
    assert main(["evaluate", str(photos), "--model", str(model)]) == 0
    assert f"calibration error  {metrics['calibration_error']:.1%}\n" in capsys.readouterr().out


def test_the_report_holds_the_figures_a_page_and_pictures(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "deep" / "report"
    metrics, err = evaluated(capsys, photos, model, "--report", str(report))
    assert err == f"report: {report / 'report.html'}\n"
    assert json.loads((report / "metrics.json").read_text()) == metrics
    assert metrics["top1"] < 1  # so there are mistakes to show
    pictures = {"classes.png", "confusion.png", "mistakes.png", "reliability.png"}
    assert {path.name for path in report.iterdir()} == pictures | {"metrics.json", "report.html"}
    assert all((report / name).read_bytes().startswith(PNG) for name in pictures)
    page = (report / "report.html").read_text("utf-8")
    assert f"{metrics['top1']:.1%}" in page and "Grad-CAM" in page
    wrong = round(36 * (1 - metrics["top1"]))
    assert page.count("heat map of the evidence") == min(wrong, 36)  # one beside each error


def test_a_report_of_a_run_tells_of_its_training_and_of_photos_that_it_was_trained_on(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated(capsys, photos, trained / "best", "--report", str(tmp_path))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "The model was trained on 27 and selected with 3 of these 36 photos" in page
    assert "<h2>Training</h2>" in page and "<h2>Recipe</h2>" in page
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)
    evaluated(capsys, photos, trained / "best", "--split", "val", "--report", str(tmp_path))
    assert "was trained on 27" not in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_a_report_of_an_exported_file_has_grad_cam_where_its_format_allows(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ai_edge_litert")
    for suffix, explained in (("onnx", True), ("tflite", False)):
        file, report = tmp_path / f"net.{suffix}", tmp_path / suffix
        assert main(["export", str(model), str(file)]) == 0
        evaluated(capsys, photos, file, "--report", str(report))
        page = (report / "report.html").read_text("utf-8")
        assert ("There are no Grad-CAM images" in page) == (not explained)
        assert ("heat map of the evidence" in page) == explained


def test_without_matplotlib_the_page_is_written_and_the_pictures_are_said_to_be_missing(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Without(), *sys.meta_path])
    _, err = evaluated(capsys, photos, model, "--report", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "report.html"}
    assert "note: the report has no PNG files: matplotlib is not installed" in err


class Without(MetaPathFinder):
    """As if matplotlib were not installed."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_how_the_figures_were_computed_is_in_the_json_and_on_the_page(
    photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, _ = evaluated(capsys, photos, model)
    assert metrics["how"] == {"runtime": "onnxruntime", "device": "cpu", "flips": "no"}
    words = ("--runtime", "torch", "--flips", "--report", str(tmp_path))
    metrics, _ = evaluated(capsys, photos, model, *words)
    assert metrics["how"] == {"runtime": "torch", "device": "cpu", "flips": "yes"}
    page = (tmp_path / "report.html").read_text("utf-8")
    for name, value in metrics["how"].items():
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page


def test_a_network_of_other_blocks_runs_on_an_engine_and_is_explained(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = published("mobilenet-v1", width=0.25, classes=3, size=32)
    config = ModelConfig(spec, Preprocessing.default(spec), Labels(("ball", "box", "triangle")))
    store.save(tmp_path / "model", config, random_arrays(spec))
    report = tmp_path / "report"
    metrics, err = evaluated(capsys, photos, tmp_path / "model", "--report", str(report))
    assert metrics["how"]["runtime"] == "onnxruntime" and "PyTorch" not in err
    page = (report / "report.html").read_text("utf-8")
    assert "heat map of the evidence" in page and "There are no Grad-CAM pictures" not in page
