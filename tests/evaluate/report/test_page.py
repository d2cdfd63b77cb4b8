import base64
import dataclasses
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.errors import ImageError
from mobilenetv2.evaluate.calibration import calibration
from mobilenetv2.evaluate.metrics import measure
from mobilenetv2.evaluate.report.page import write_page
from mobilenetv2.evaluate.report.result import Result

Page = Callable[..., Any]


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
        "classes", "confusion", "calibration", "mistakes", "unsure", "data", "model",
        "environment",
    ]  # fmt: skip
    assert [link["href"][1:] for link in page.of("a")] == sections(page)
    assert page.text("h1") == "shapes" and "There are no Grad-CAM pictures" in page.text()


def test_a_model_in_its_run_tells_of_its_training(
    make_result: Callable[..., Result], trained: Path, written: Page
) -> None:
    page = written(make_result(), source=trained / "best", notes=["Beware <of> it."], seconds=90.0)
    check_self_contained(page)
    assert sections(page)[0] == "training" and "recipe" in sections(page)
    assert page.text("h1") == "shapes" and "Beware <of> it." in page.text("p")
    assert "1.5 minutes" in page.text("dd")
    assert len(page.of("svg")) > 3


def test_a_tempered_model_is_shown_before_and_after(
    make_result: Callable[..., Result], written: Page
) -> None:
    result = make_result({"temperature": 0.5}, scale=2.0)
    text = written(result).text()
    before = calibration(result.logits / 2, result.truth)
    assert f"error {before.error:.1%}" in text and f"error {result.calibration.error:.1%}" in text
    assert text.index("Before") < text.index("After temperature 0.50")
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


@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong(
    right: bool, make_result: Callable[..., Result], written: Page
) -> None:
    result = make_result()
    logits = 5.0 * np.eye(3)[result.truth if right else (result.truth + 1) % 3]
    result = Result.of("m", "d", result.split, result.config, logits, result.truth)
    page = written(result)
    check_self_contained(page)
    assert ("There are none." in page.text("p")) == right
    assert ("unsure" in sections(page)) == right
    assert len(page.of("img")) == (12 if right else 36)


def test_one_photo_is_enough(make_result: Callable[..., Result], written: Page) -> None:
    result = make_result()
    split = result.split.with_photos(result.split.photos[:1])
    check_self_contained(
        written(Result.of("m", "d", split, result.config, result.logits[:1], result.truth[:1]))
    )


def test_a_network_that_gives_no_numbers_has_a_report(
    make_result: Callable[..., Result], written: Page
) -> None:
    result = make_result()
    logits = np.full_like(result.logits, np.nan)
    page = written(Result.of("m", "d", result.split, result.config, logits, result.truth))
    assert "nothing can be said" in page.text() and "nan" not in page.text("p", "b", "span")


def test_a_thousand_classes_make_a_page_that_is_not_huge(
    make_result: Callable[..., Result], written: Page, tmp_path: Path
) -> None:
    names = ("ball", "box", "triangle", *(f"class {i}" for i in range(997)))
    random = np.random.default_rng(0)
    truth = np.arange(10_000) % 1000  # photos of every class, though only 36 can be shown
    logits = random.normal(0, 1, (len(truth), 1000))
    logits[np.arange(len(truth)), truth] += 4
    result = dataclasses.replace(make_result(names=names), metrics=measure(logits, truth, names))
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
