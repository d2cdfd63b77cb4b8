import base64
import dataclasses
import hashlib
import json
import re
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
from mobilenetv2.evaluation import plots
from mobilenetv2.evaluation.calibration import Calibration, measure_calibration
from mobilenetv2.evaluation.metrics import measure
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.evaluation.report.page import Explainer, figures_json, write_page, write_report
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.evaluation.run_record import read_run
from mobilenetv2.spec.records import Origin

Page = Callable[..., Any]
ONES = Explainer(lambda shown: np.ones((len(shown), 2, 2, 4)), lambda map_, index: np.ones(4))


def answered(result: Result, logits: NDArray) -> Predictions:
    return dataclasses.replace(result.predictions, logits=logits)


@pytest.fixture
def written(tmp_path: Path, parse: Callable[[str], Any]) -> Page:
    """Writes a report and reads it."""

    def write(result: Result, **options: Any) -> Any:
        path = tmp_path / "report.html"
        write_page(path, result, **options)
        assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
        return parse(path.read_text("utf-8"))

    return write


def sections(page: Any) -> list[str]:
    return [found["id"] for found in page.of("section") if "id" in found]


def check_self_contained(page: Any) -> None:
    """Nothing that a browser would fetch, and a policy that would forbid it."""
    addresses = [
        value
        for _, attributes in page.elements
        for key, value in attributes.items()
        if key in ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href")
    ]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"url\(|@import|https?:", page.text("style", "script"))
    assert not any(key.startswith("on") for _, found in page.elements for key in found)
    (policy,) = (m["content"] for m in page.of("meta") if m.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline';")
    digest = base64.b64encode(hashlib.sha256(page.text("script").encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_a_model_alone_has_what_can_be_said_of_it(
    make_result: Callable[..., Result], written: Page
) -> None:
    page = written(make_result())
    check_self_contained(page)
    assert sections(page) == [
        "next", "classes", "confusion", "calibration", "mistakes", "unsure", "data", "model",
        "environment",
    ]  # fmt: skip
    assert [link["href"][1:] for link in page.of("a")] == sections(page)
    assert page.text("h1") == "shapes" and "no Grad-CAM" in page.text()


def test_a_model_in_its_run_tells_of_its_training(
    make_result: Callable[..., Result], trained: Path, written: Page
) -> None:
    page = written(make_result(), source=trained / "best", notes=["Beware <of> it."], seconds=90.0)
    check_self_contained(page)
    assert sections(page)[:2] == ["next", "training"] and "recipe" in sections(page)
    assert page.text("h1") == "shapes" and "Beware <of> it." in page.text("p")
    assert "1.5 minutes" in page.text("dd")
    assert len(page.of("svg")) > 3


def test_a_tempered_model_is_shown_before_and_after(
    make_result: Callable[..., Result], written: Page
) -> None:
    result = make_result({"temperature": 0.5}, scale=2.0)
    text = written(result).text()
    before = measure_calibration(answered(result, result.predictions.logits / 2))
    assert f"error {before.error:.1%}" in text and f"error {result.calibration.error:.1%}" in text
    assert text.index("Before temperature scaling") < text.index("After (temperature 0.50)")
    assert "After temperature" not in written(make_result()).text()


def test_names_from_data_are_shown_and_not_obeyed(
    photos: Path, tmp_path: Path, parse: Callable[[str], Any], make_result: Callable[..., Result]
) -> None:
    names = ("<script>alert(1)</script>", '" onerror="x', "</style><b>&amp;")
    result = dataclasses.replace(
        make_result(names=names), model='m/<img src="http://x/">', data="<i>"
    )
    write_page(tmp_path / "r.html", result, notes=["<script>"])
    page = parse((tmp_path / "r.html").read_text("utf-8"))
    check_self_contained(page)
    assert len(page.of("script")) == len(page.of("style")) == 1
    for name in names:
        assert name in page.text("b") and name in page.text("th")


def test_a_page_of_any_of_n_shows_what_fits(
    make_result: Callable[..., Result], written: Page
) -> None:
    result = make_result(outputs="sigmoid", several=True)
    page = written(result, explainer=ONES)
    check_self_contained(page)
    assert sections(page) == [
        "next", "classes", "calibration", "mistakes", "data", "model", "environment"
    ]  # fmt: skip
    assert result.metrics.labels is not None
    assert page.text().count(f"{result.metrics.labels.exact_match:.1%}") >= 2  # title, headline
    assert "decisions with a confidence of" in page.text("title") and "nan" not in page.text(
        "p", "b"
    )
    assert "F1" in page.text("th") and "average precision" in page.text("th")
    folders = written(make_result(outputs="sigmoid"))
    assert {"confusion", "unsure"} < set(sections(folders)) and "F1" in folders.text("th")


def test_a_page_of_one_logit_is_that_of_two_classes(
    make_result: Callable[..., Result], written: Page
) -> None:
    result = make_result(outputs="logit")
    page = written(result)
    check_self_contained(page)
    assert {"confusion", "unsure", "mistakes"} < set(sections(page)) and "F1" not in page.text("th")
    assert f"{result.metrics.top1:.1%}" in page.text("p")


@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong(
    right: bool, make_result: Callable[..., Result], written: Page
) -> None:
    result = make_result()
    logits = (
        5.0 * np.eye(3)[result.predictions.truth if right else (result.predictions.truth + 1) % 3]
    )
    result = Result.of("m", "d", result.split, result.config, answered(result, logits))
    page = written(result)
    check_self_contained(page)
    assert ("There are no errors." in page.text("p")) == right
    assert ("unsure" in sections(page)) == right
    assert len(page.of("img")) == (12 if right else 36)


def test_one_photo_is_enough(make_result: Callable[..., Result], written: Page) -> None:
    result = make_result()
    split, given = result.split.with_photos(result.split.photos[:1]), result.predictions
    first = Predictions(given.logits[:1], given.truth[:1], given.names)
    check_self_contained(written(Result.of("m", "d", split, result.config, first)))


def test_a_network_that_gives_no_numbers_has_a_report(
    make_result: Callable[..., Result], written: Page
) -> None:
    result = make_result()
    logits = np.full_like(result.predictions.logits, np.nan)
    page = written(Result.of("m", "d", result.split, result.config, answered(result, logits)))
    assert "there is no calibration" in page.text() and "nan" not in page.text("p", "b", "span")


def test_a_thousand_classes_make_a_page_that_is_not_huge(
    make_result: Callable[..., Result], written: Page, tmp_path: Path
) -> None:
    names = ("ball", "box", "triangle", *(f"class {i}" for i in range(997)))
    random = np.random.default_rng(0)
    truth = np.arange(10_000) % 1000  # photos of every class, though only 36 can be shown
    logits = random.normal(0, 1, (len(truth), 1000))
    logits[np.arange(len(truth)), truth] += 4
    result = dataclasses.replace(
        make_result(names=names), metrics=measure(Predictions(logits, truth, names))
    )
    page = written(result)
    check_self_contained(page)
    size = (tmp_path / "report.html").stat().st_size
    assert 500_000 < size < 2_000_000
    assert "would not be legible" in page.text()
    assert [text for tag, text in page.texts if tag == "summary"][:1] == ["960 better classes"]


def test_the_kept_report_is_the_old_one_where_a_photo_is_gone(
    make_result: Callable[..., Result], photos: Path, tmp_path: Path
) -> None:
    from mobilenetv2.data.dataset import open_dataset

    shutil.copytree(photos, tmp_path / "photos")
    split = open_dataset(tmp_path / "photos").splits["all"]
    result = dataclasses.replace(make_result(), split=split)
    write_page(tmp_path / "report.html", result)
    old = (tmp_path / "report.html").read_bytes()
    shutil.rmtree(tmp_path / "photos" / "ball")
    with pytest.raises(ImageError, match="ball"):
        write_page(tmp_path / "report.html", result)
    assert (tmp_path / "report.html").read_bytes() == old


def test_page_figures_and_pictures_are_written(
    make_result: Callable[..., Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make_result()
    write_report(tmp_path, result)
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
    logits = np.eye(3)[result.predictions.truth]
    write_report(
        tmp_path, Result.of("m", "d", result.split, result.config, answered(result, logits))
    )
    assert not (tmp_path / "mistakes.png").exists() and (tmp_path / "report.html").exists()


def test_classes_that_have_photos_or_were_answered_are_drawn(
    make_result: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(
        plots, "confusion",
        lambda matrix, names, path, title: drawn.update(confusion=names, matrix=matrix),
    )  # fmt: skip
    monkeypatch.setattr(
        plots, "per_class", lambda rows, path: drawn.update(classes=[row[0] for row in rows])
    )
    result = make_result(names=("ball", "box", "triangle", "wrong", "unseen"))
    logits = np.eye(5)[result.predictions.truth]
    logits[0] = np.eye(5)[3]
    write_report(
        tmp_path, Result.of("m", "d", result.split, result.config, answered(result, logits))
    )
    assert drawn["confusion"] == ["ball", "box", "triangle", "wrong"]
    assert drawn["matrix"].sum() == 36 and drawn["matrix"][result.predictions.truth[0], 3] == 1
    assert drawn["classes"] == ["ball", "box", "triangle"]


def test_a_report_of_any_of_n_has_no_confusion_matrix(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    result = make_result(outputs="sigmoid", several=True)
    write_report(tmp_path, result)
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.html", "metrics.json", "classes.png", "reliability.png", "mistakes.png"
    }  # fmt: skip
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["confusion"] is None and figures["macro_f1"] > 0


def test_a_second_report_leaves_nothing_of_the_first(
    make_result: Callable[..., Result], tmp_path: Path
) -> None:
    result = make_result()
    write_report(tmp_path, result)
    assert (tmp_path / "mistakes.png").is_file()
    logits = np.eye(3)[result.predictions.truth]
    write_report(
        tmp_path, Result.of("m", "d", result.split, result.config, answered(result, logits))
    )
    assert not (tmp_path / "mistakes.png").exists() and (tmp_path / "classes.png").is_file()


def test_where_a_photo_is_gone_the_old_report_is_kept_whole(
    make_result: Callable[..., Result], photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "report").mkdir()
    split = open_dataset(tmp_path / "photos").splits["all"]
    write_report(tmp_path / "report", dataclasses.replace(make_result(), split=split))
    old = {path: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    shutil.rmtree(tmp_path / "photos" / "ball")
    other = dataclasses.replace(make_result(scale=2.0), split=split)
    with pytest.raises(ImageError, match="ball"):
        write_report(tmp_path / "report", other)
    assert {path: path.read_bytes() for path in (tmp_path / "report").iterdir()} == old


def test_a_model_in_its_run_has_its_curves(
    make_result: Callable[..., Result], trained: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    drawn: list[Any] = []
    curves = plots.curves

    def noted(rows: Any, path: Path) -> None:
        drawn.append(rows)
        curves(rows, path)

    with monkeypatch.context() as patch:
        patch.setattr(plots, "curves", noted)
        write_report(tmp_path, make_result(), trained / "best")
    run = read_run(trained / "best")
    assert run is not None and drawn == [run.rows] and (tmp_path / "curves.png").is_file()
    write_report(tmp_path, make_result())
    assert not (tmp_path / "curves.png").exists()


def test_the_calibration_that_is_drawn_is_the_pages(
    make_result: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[tuple[str, Calibration]]] = []
    monkeypatch.setattr(plots, "reliability", lambda shown, path: drawn.append(list(shown)))
    plain, tempered = make_result(), make_result({"temperature": 0.5}, scale=2.0)
    for result in (plain, tempered):
        write_report(tmp_path, result)
    before = measure_calibration(answered(tempered, tempered.predictions.logits / 2))
    assert drawn == [
        [("Without temperature scaling", plain.calibration)],
        [
            ("Before temperature scaling", before),
            ("After (temperature 0.50)", tempered.calibration),
        ],
    ]


def test_with_an_explainer_each_mistake_is_beside_its_grad_cam(
    make_result: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[tuple[list[tuple[NDArray, str]], int]] = []
    monkeypatch.setattr(
        plots, "contact_sheet",
        lambda shown, path, title, columns: sheets.append((list(shown), columns)),
    )  # fmt: skip
    result = make_result()
    write_report(tmp_path, result)
    write_report(tmp_path, result, explainer=ONES)
    (plain, many), (explained, few) = sheets
    assert many > few and [text for _, text in plain] == [text for _, text in explained]
    for (picture, _), (pair, _) in zip(plain, explained, strict=True):
        np.testing.assert_array_equal(pair[:, : picture.shape[1]], picture)
        assert pair.shape[1] > 2 * picture.shape[1]


def test_what_to_do_next_is_said_first(make_result: Callable[..., Result], written: Page) -> None:
    page = written(make_result(), steps=["Look <here>.", "Do that."])
    assert page.text("li").startswith("Look <here>.Do that.")
    assert "Add photos of the classes" in written(make_result()).text("li")


def test_a_private_report_shows_no_photo_and_no_place(
    make_result: Callable[..., Result], trained: Path, tmp_path: Path, parse: Callable[[str], Any]
) -> None:
    made = make_result()
    origin = Origin("/home/anna/weights/net.h5", note="read from /home/anna")
    result = dataclasses.replace(
        made, model="/home/anna/runs/x/best", data="/home/anna/class 4b",
        config=dataclasses.replace(made.config, origin=origin),
    )  # fmt: skip
    place, run = result.split.source.place, tmp_path / "run"
    shutil.copytree(trained, run)
    recipe = (run / "recipe.toml").read_text("utf-8")
    recipe = recipe.replace('teacher = ""', 'teacher = "/home/anna/big/best"')
    (run / "recipe.toml").write_text(recipe, "utf-8")
    start = json.loads((run / "start.json").read_text("utf-8"))
    start["weights"] = "/home/anna/imagenet"
    (run / "start.json").write_text(json.dumps(start), "utf-8")
    notes = ["It was trained on these.", f"left out, unreadable: {place}/box/bad.jpg: no photo"]
    folder = tmp_path / "report"
    folder.mkdir()
    write_report(folder, result, run / "best", ONES, notes)
    assert (folder / "mistakes.png").exists()
    write_report(folder, result, run / "best", ONES, notes, private=True)
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "metrics.json", "confusion.png", "classes.png", "reliability.png",
        "curves.png",
    }  # fmt: skip
    secrets = ["/home", "anna", "class 4b", place, str(tmp_path), "bad.jpg", start["data"]]
    secrets += [photo.name.rpartition("/")[2] for photo in result.split.photos]
    for path in folder.iterdir():
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path
    page = parse((folder / "report.html").read_text("utf-8"))
    check_self_contained(page)
    assert page.of("img") == [] and "unsure" not in sections(page)
    assert "left out of this report" in page.text("p") and notes[0] in page.text("p")
    assert {"imagenet", "best", "net.h5"} <= {t for tag, t in page.texts if tag == "dd"}


def test_figures_are_json_with_a_row_of_the_matrix_a_line() -> None:
    figures = {
        "top1": 0.5, "nothing": None, "names": ['"confusion": null', "a\nb"],
        "deep": {"list": [{"a": 1}, {}], "empty": []},
        "confusion": [[index] * 300 for index in range(300)], "last": "ä",
    }  # fmt: skip
    text = figures_json(figures)
    assert json.loads(text) == figures
    assert len(text.splitlines()) < 330 and len(text) < 600_000
    assert text.startswith('{\n "top1": 0.5,\n') and text.endswith("\n}\n")
    assert json.loads(figures_json({"confusion": []})) == {"confusion": []}
