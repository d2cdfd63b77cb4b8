import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.errors import ImageError
from mobilenetv2.evaluate import pictures
from mobilenetv2.evaluate.calibration import Calibration, calibration
from mobilenetv2.evaluate.report.folder import as_json, write
from mobilenetv2.evaluate.report.gallery import Explainer
from mobilenetv2.evaluate.report.result import Result
from mobilenetv2.evaluate.report.run_record import read


def test_page_figures_and_pictures_are_written(
    make_result: Callable[..., Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make_result()
    write(tmp_path, result)
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.html", "metrics.json", "confusion.png", "classes.png", "reliability.png",
        "mistakes.png",
    }  # fmt: skip
    assert json.loads((tmp_path / "metrics.json").read_text()) == result.to_dict() | {
        "classes": json.loads(json.dumps(result.to_dict()["classes"]))
    }
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 100
    assert capsys.readouterr().err == ""


def test_without_mistakes_there_is_no_sheet_of_them(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    result = make_result()
    logits = np.eye(3)[result.truth]
    write(tmp_path, Result.of("m", "d", result.split, result.config, logits, result.truth))
    assert not (tmp_path / "mistakes.png").exists() and (tmp_path / "report.html").exists()


def test_classes_that_have_photos_or_were_answered_are_drawn(
    make_result: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(
        pictures, "confusion",
        lambda matrix, names, path, title: drawn.update(confusion=names, matrix=matrix),
    )  # fmt: skip
    monkeypatch.setattr(
        pictures, "per_class", lambda rows, path: drawn.update(classes=[row[0] for row in rows])
    )
    result = make_result(names=("ball", "box", "triangle", "wrong", "unseen"))
    logits = np.eye(5)[result.truth]
    logits[0] = np.eye(5)[3]
    write(tmp_path, Result.of("m", "d", result.split, result.config, logits, result.truth))
    assert drawn["confusion"] == ["ball", "box", "triangle", "wrong"]
    assert drawn["matrix"].sum() == 36 and drawn["matrix"][result.truth[0], 3] == 1
    assert drawn["classes"] == ["ball", "box", "triangle"]


def test_a_second_report_leaves_nothing_of_the_first(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    result = make_result()
    write(tmp_path, result)
    assert (tmp_path / "mistakes.png").is_file()
    logits = np.eye(3)[result.truth]
    write(tmp_path, Result.of("m", "d", result.split, result.config, logits, result.truth))
    assert not (tmp_path / "mistakes.png").exists() and (tmp_path / "classes.png").is_file()


def test_where_a_photo_is_gone_the_old_report_is_kept_whole(
    make_result: Callable[..., Result], photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "report").mkdir()
    split = open_dataset(tmp_path / "photos").splits["all"]
    write(tmp_path / "report", dataclasses.replace(make_result(), split=split))
    old = {path: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    shutil.rmtree(tmp_path / "photos" / "ball")
    other = dataclasses.replace(make_result(scale=2.0), split=split)
    with pytest.raises(ImageError, match="ball"):
        write(tmp_path / "report", other)
    assert {path: path.read_bytes() for path in (tmp_path / "report").iterdir()} == old


def test_a_model_in_its_run_has_its_curves(
    make_result: Callable[..., Result], trained: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    drawn: list[Any] = []
    curves = pictures.curves

    def noted(rows: Any, path: Path) -> None:
        drawn.append(rows)
        curves(rows, path)

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "curves", noted)
        write(tmp_path, make_result(), trained / "best")
    run = read(trained / "best")
    assert run is not None and drawn == [run.rows] and (tmp_path / "curves.png").is_file()
    write(tmp_path, make_result())
    assert not (tmp_path / "curves.png").exists()


def test_the_calibration_that_is_drawn_is_the_pages(
    make_result: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[tuple[str, Calibration]]] = []
    monkeypatch.setattr(pictures, "reliability", lambda shown, path: drawn.append(list(shown)))
    plain, tempered = make_result(), make_result({"temperature": 0.5}, scale=2.0)
    for result in (plain, tempered):
        write(tmp_path, result)
    before = calibration(tempered.logits / 2, tempered.truth)
    assert drawn == [
        [("As it is", plain.calibration)],
        [("Before", before), ("After temperature 0.50", tempered.calibration)],
    ]


def test_with_an_explainer_each_mistake_is_beside_its_grad_cam(
    make_result: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[tuple[list[tuple[NDArray, str]], int]] = []
    monkeypatch.setattr(
        pictures, "contact_sheet",
        lambda shown, path, title, columns: sheets.append((list(shown), columns)),
    )  # fmt: skip
    result = make_result()
    explainer = Explainer(
        lambda shown: np.ones((len(shown), 2, 2, 4), np.float32), np.ones((3, 4), np.float32)
    )
    write(tmp_path, result)
    write(tmp_path, result, explainer=explainer)
    (plain, many), (explained, few) = sheets
    assert many > few and [text for _, text in plain] == [text for _, text in explained]
    for (picture, _), (pair, _) in zip(plain, explained, strict=True):
        np.testing.assert_array_equal(pair[:, : picture.shape[1]], picture)
        assert pair.shape[1] > 2 * picture.shape[1]


def test_figures_are_json_with_a_row_of_the_matrix_a_line() -> None:
    figures = {
        "top1": 0.5, "nothing": None, "names": ['"confusion": null', "a\nb"],
        "deep": {"list": [{"a": 1}, {}], "empty": []},
        "confusion": [[index] * 300 for index in range(300)], "last": "ä",
    }  # fmt: skip
    text = as_json(figures)
    assert json.loads(text) == figures
    assert len(text.splitlines()) < 330 and len(text) < 600_000
    assert text.startswith('{\n "top1": 0.5,\n') and text.endswith("\n}\n")
    assert json.loads(as_json({"confusion": []})) == {"confusion": []}
