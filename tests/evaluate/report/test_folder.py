import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.evaluate import pictures
from mobilenetv2.evaluate.report.folder import write
from mobilenetv2.evaluate.report.result import Result


def test_page_figures_and_pictures_are_written(
    make_result: Callable[..., Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make_result()
    write(tmp_path, result)
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.html", "metrics.json", "confusion.png", "classes.png", "mistakes.png"
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


def test_only_classes_that_have_photos_are_drawn(
    make_result: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, list[str]] = {}
    monkeypatch.setattr(
        pictures, "confusion", lambda matrix, names, path, title: drawn.update(confusion=names)
    )
    monkeypatch.setattr(
        pictures, "per_class", lambda rows, path: drawn.update(classes=[row[0] for row in rows])
    )
    write(tmp_path, make_result(names=("ball", "box", "triangle", "unseen")))
    assert drawn == {
        "confusion": ["ball", "box", "triangle"],
        "classes": ["ball", "box", "triangle"],
    }
