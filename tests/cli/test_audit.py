"""``audit``: what is printed and written, in words and as JSON, and what is refused."""

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mobilenetv2.cli.main import main

Refused = Callable[..., str]


@pytest.fixture
def bad(photos: Path, tmp_path: Path) -> Path:
    """A set with a leak, a contradiction, a photo twice, damage, a text, and odd names."""
    folder = tmp_path / "bad <b>"
    for split, kept in (("train", range(9)), ("validation", range(9, 12))):
        for shape in ("ball", "box", "triangle"):
            (folder / split / shape).mkdir(parents=True)
            for photo in (photos / shape).iterdir():
                if int(photo.stem) in kept:
                    shutil.copy(photo, folder / split / shape)
    shutil.copy(folder / "validation/ball/09.jpg", folder / "train/ball/größe.jpg")
    with Image.open(folder / "train/box/00.png") as image:
        darker = ImageEnhance.Brightness(image.convert("RGB")).enhance(0.8)
        darker.resize((80, 72)).save(folder / "train/triangle/box.png")
    shutil.copy(folder / "train/box/02.png", folder / "train/box/again.png")
    (folder / "train/box/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much")
    (folder / "train/notes.txt").write_text("x")
    (folder / "train/ball/link.png").symlink_to("nowhere.png")
    return folder


def audited(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[dict[str, Any], str]:
    """(the one JSON object on stdout, stderr)."""
    capsys.readouterr()
    assert main(["audit", *map(str, words), "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    return json.loads(out), err


def by_kind(found: dict[str, Any]) -> dict[str, Any]:
    return {one["kind"]: one for one in found["findings"]}


def test_everything_that_is_wrong_is_in_the_json(
    bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, err = audited(capsys, bad)
    assert err == ""
    assert (found["data"], found["photos"], found["readable"]) == (str(bad), 40, 39)
    assert (len(found["ignored"]), found["links"], found["model"]) == (1, 1, None)
    kinds = by_kind(found)
    assert list(kinds) == [
        "leak", "contradiction", "unreadable", "copies", "small", "found", "ignored"
    ]  # fmt: skip
    assert kinds["leak"]["photos"] == [["train/ball/größe.jpg", "validation/ball/09.jpg"]]
    assert kinds["contradiction"]["photos"] == [["train/box/00.png", "train/triangle/box.png"]]
    assert kinds["copies"]["photos"] == [["train/box/02.png", "train/box/again.png"]]
    assert kinds["unreadable"]["photos"] == [["train/box/broken.jpg"]]
    assert kinds["unreadable"]["notes"]["train/box/broken.jpg"].startswith("damaged or truncated")
    (note,) = found["notes"]
    assert note == "passed over, links that lead nowhere: 1 (first: train/ball/link.png)"
    assert kinds["found"]["title"] == f"P{note[1:]}"
    assert found["suspicious"] is None
    (box,) = (row for row in found["classes"] if row["name"] == "box")
    assert box == {"name": "box", "photos": 13, "splits": {"train": 10, "validation": 3}}


def test_the_table_has_classes_the_worst_findings_first_and_advice(
    bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(bad)]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "Traceback" not in out
    parts = [
        "40 photos, 39 ", "FIX THESE FIRST", "more than one split",
        "  - train/ball/größe.jpg = validation/ball/09.jpg", "more than one class",
        "  Decide which class", "cannot be read", "CHECK THESE", "more than once in a class",
        "(33 more", "INFORMATION", "links that lead nowhere: 1",
    ]  # fmt: skip
    places = [out.index(part) for part in parts]
    assert places == sorted(places)


def test_a_sound_set_needs_no_mending(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in photos.glob("*/*"):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        with Image.open(path) as image:
            image.resize((80, 72)).save(tmp_path / path.parent.name / f"{path.stem}.png")
    assert main(["audit", str(tmp_path)]) == 0
    assert "\nNo problems found.\n" in capsys.readouterr().out


def test_an_archive_gives_what_its_folder_gives(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in bad.rglob("*"):
            if path.is_file() and not path.is_symlink():
                file.write(path, path.relative_to(bad))
    found, _ = audited(capsys, bad)
    zipped, _ = audited(capsys, archive)
    for key in ("data", "links", "notes", "findings"):
        assert found.pop(key) != zipped.pop(key)  # the link, and what is said of it
    assert found == zipped


def test_the_folder_holds_the_page_and_the_json_and_is_replaced(
    bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "audit"
    found, err = audited(capsys, bad, "--output", folder)
    assert err == f"audit: {folder / 'audit.html'}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["audit.html", "audit.json"]
    assert json.loads((folder / "audit.json").read_text("utf-8")) == found
    html = (folder / "audit.html").read_text("utf-8")
    assert html.startswith("<!doctype html>") and "bad &lt;b&gt;" in html and "größe.jpg" in html
    assert html.count("data:image/") == html.count("<img") > 6
    (bad / "train/ball/größe.jpg").unlink()
    found, _ = audited(capsys, bad, "--output", folder)
    assert "größe.jpg" not in (folder / "audit.html").read_text("utf-8")
    assert sorted(path.name for path in folder.iterdir()) == ["audit.html", "audit.json"]


def test_another_folder_or_a_file_is_not_replaced(
    photos: Path, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    message = refused("audit", photos, "--output", tmp_path / "mine")
    file = tmp_path / "mine" / "thesis.tex"
    assert message.startswith(f"{file}: ") and "not replaced" in message and file.exists()
    assert "is a file, not a folder" in refused("audit", photos, "--output", file)


def test_mistakes_are_one_sentence(
    photos: Path, model: Path, tmp_path: Path, refused: Refused
) -> None:
    assert "no such folder or archive" in refused("audit", tmp_path / "nothing")
    for option in (("--threads", "2"), ("--flips",), ("--threads", "0")):
        message = refused("audit", photos, *option)
        assert option[0] in message and "--model" in message
    other = tmp_path / "other"
    shutil.copytree(photos / "ball", other / "ball")
    shutil.copytree(photos / "box", other / "dog")
    assert "match no class of the model" in refused("audit", other, "--model", model)


def test_labels_that_a_model_doubts_are_ranked_by_its_probabilities(
    photos: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against thresholds taken from what ``predict`` prints."""
    found, _ = audited(capsys, photos, "--model", model)
    files = sorted(str(path) for path in photos.glob("*/*"))
    assert main(["predict", *files, "--model", str(model), "--json", "--top", "3"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = {"triangle": "triangle", "Ball": "ball", "box, crate": "box"}
    answers = {
        Path(row["image"]).relative_to(photos).as_posix(): {
            names[one["label"]]: one["probability"] for one in row["predictions"]
        }
        for row in rows
    }
    limits = {
        name: np.mean([of[name] for photo, of in answers.items() if photo.startswith(f"{name}/")])
        for name in names.values()
    }
    wanted = []
    for photo, of in answers.items():
        label = photo.partition("/")[0]
        sure = {name: p for name, p in of.items() if p >= limits[name]}
        best = max(sure, key=lambda name: sure[name], default=label)
        if best != label and of[best] > of[label]:
            wanted.append((of[best] - of[label], photo, best))
    wanted.sort(key=lambda one: -one[0])
    assert len(wanted) > 3
    assert [(one["photo"], one["answer"]) for one in found["suspicious"]] == [
        (photo, best) for _, photo, best in wanted
    ]
    for one in found["suspicious"]:
        assert one["label_probability"] == pytest.approx(
            answers[one["photo"]][one["label"]], abs=1e-5
        )
        assert one["answer_probability"] == pytest.approx(
            answers[one["photo"]][one["answer"]], abs=1e-5
        )
        assert one["trained_on"] is False
    assert by_kind(found)["suspicious"]["photos"] == [[one[1]] for one in wanted]


def test_photos_that_the_model_was_trained_on_are_said_to_count_less(
    photos: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = audited(capsys, photos, "--model", trained / "best")
    with (trained / "split.csv").open(encoding="utf-8") as file:
        learnt = {row["photo"] for row in csv.DictReader(file) if row["split"] == "train"}
    assert found["trained_on"] == len(learnt) == 27
    assert found["suspicious"]
    for one in found["suspicious"]:
        assert one["trained_on"] == (one["photo"] in learnt)
    assert "trained on 27 photos of this set" in by_kind(found)["suspicious"]["advice"]


def test_one_unreadable_photo_is_an_audit_too(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "ball").mkdir(parents=True)
    (tmp_path / "data" / "ball" / "1.jpg").write_bytes(b"x")
    found, _ = audited(capsys, tmp_path / "data", "--model", model, "--output", tmp_path / "out")
    assert (found["readable"], found["suspicious"], found["sizes"]) == (0, [], {})
    assert [one["kind"] for one in found["findings"]] == ["classes", "empty", "unreadable"]
    assert main(["audit", str(tmp_path / "data"), "--model", str(model)]) == 0
    assert "1 photo, 0 of them readable" in capsys.readouterr().out


def test_the_current_folder_is_not_replaced_before_anything_is_looked_at(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (".", tmp_path, f"../{tmp_path.name}"):
        message = refused("audit", tmp_path / "nothing", "--output", place)
        assert f"output {Path(place)} " in message and "current folder" in message


def test_a_set_like_the_one_that_a_model_was_trained_on_has_the_same_names(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos, tmp_path / "copy")
    found, _ = audited(capsys, tmp_path / "copy", "--model", trained / "best")
    advice = by_kind(found)["suspicious"]["advice"]
    assert "trained on 27 photos of the same names as in this set" in advice
