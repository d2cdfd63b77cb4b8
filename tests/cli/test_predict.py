"""``predict``: answers for photos and folders as JSON lines, a table or CSV; bad photos."""

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mobilenetv2 import load
from mobilenetv2.cli.main import main
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import engine_input, preprocess
from mobilenetv2.text import unescaped


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], str]:
    """(every line of stdout as JSON, stderr)."""
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def by_the_edition(model: Path, photos: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(features, probabilities), computed with the PyTorch edition alone."""
    network = load(model)
    record = network.config.preprocessing
    pictures = np.stack([preprocess(read_photo(path), record) for path in photos])
    x = torch.from_numpy(engine_input(pictures, record))
    with torch.inference_mode():
        features = network.pooled_features(x)
        return features.numpy(), network.classifier(features).double().softmax(1).numpy()


@pytest.fixture
def mixed(photos: Path, tmp_path: Path) -> list[Path]:
    """Three photos and, second, a text that is called a photo."""
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    return [photos / "ball" / "00.png", bad, photos / "box" / "01.jpg", photos / "box" / "02.png"]


def test_json_is_a_line_for_each_photo_with_the_editions_answers(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sorted(photos.rglob("*.*"))[::3]
    assert main(["predict", *map(str, paths), "--model", str(model), "--json"]) == 0
    found, err = lines(capsys)
    assert err == ""
    assert [row["image"] for row in found] == [str(path) for path in paths]
    _, probabilities = by_the_edition(model, paths)
    for row, expected in zip(found, probabilities, strict=True):
        answers = row["predictions"]
        assert [answer["index"] for answer in answers] == list(np.argsort(-expected))
        # Editions agree within 1e-4 in the logits; a probability follows by a quarter of it.
        given = [answer["probability"] for answer in answers]
        np.testing.assert_allclose(given, -np.sort(-expected), rtol=0, atol=1e-4)
        names = ["triangle", "Ball", "box, crate"]
        assert [answer["label"] for answer in answers] == [names[a["index"]] for a in answers]
    assert len({row["predictions"][0]["index"] for row in found}) > 1


def test_it_goes_on_past_an_unreadable_file_names_it_and_ends_with_status_1(
    model: Path, mixed: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *map(str, mixed), "--model", str(model), "--json"]) == 1
    found, err = lines(capsys)
    assert [row["image"] for row in found] == [str(path) for path in mixed]
    assert ["error" in row for row in found] == [False, True, False, False]
    assert found[1].keys() == {"image", "error"}
    assert found[1]["error"].startswith(f"{mixed[1]}: not a picture")
    assert err == "1 of 4 photos have no answer\n"


@pytest.mark.parametrize("top, answers", [(1, 1), (2, 2), (99, 3)])
def test_top_is_how_many_answers_come_the_likeliest_first(
    top: int, answers: int, model: Path, mixed: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(mixed[0]), "--model", str(model), "--json", "--top", str(top)]
    assert main(command) == 0
    [row], _ = lines(capsys)
    probabilities = [answer["probability"] for answer in row["predictions"]]
    assert len(probabilities) == answers
    assert probabilities == sorted(probabilities, reverse=True)


def test_top_0_is_an_error(
    model: Path, mixed: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(mixed[0]), "--model", str(model), "--top", "0"]) == 2
    assert capsys.readouterr() == ("", "mobilenetv2: error: --top 0 must be at least 1\n")


def test_features_are_1280_numbers_equal_to_the_editions(
    model: Path, mixed: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", *map(str, mixed), "--model", str(model), "--features", "--json"]
    assert main(command) == 1
    found, _ = lines(capsys)
    good = [mixed[0], *mixed[2:]]
    expected, _ = by_the_edition(model, good)
    features = np.array([row["features"] for row in found if "features" in row])
    assert features.shape == (3, 1280)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.01


def test_csv_has_a_row_for_each_answer_and_each_error(
    model: Path, mixed: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["predict", *map(str, mixed), "--model", str(model), "--json"])
    found, _ = lines(capsys)
    file = tmp_path / "answers.csv"
    assert main(["predict", *map(str, mixed), "--model", str(model), "--csv", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and f"wrote {file}\n" in err
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [(r["image"], r["rank"]) for r in rows if not r["error"]] == [
        (str(path), str(rank)) for path in (mixed[0], *mixed[2:]) for rank in (1, 2, 3)
    ]
    assert [r["error"] for r in rows if r["error"]] == [found[1]["error"]]
    guess = found[0]["predictions"][0]
    assert rows[0] == {"image": str(mixed[0]), "rank": "1", "error": ""} | {
        key: str(guess[key]) for key in ("index", "label", "probability")
    }


def test_a_table_cannot_be_a_folder(
    mixed: list[Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", *map(str, mixed), "--model", str(model)]
    assert main([*command, "--csv", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}: " in error and error.endswith("; give the name of a file\n")


def test_features_as_csv(
    model: Path, mixed: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", *map(str, mixed), "--model", str(model), "--features"]
    main([*command, "--json"])
    found, _ = lines(capsys)
    assert main([*command, "--csv", str(tmp_path / "f.csv")]) == 1
    with (tmp_path / "f.csv").open(encoding="utf-8", newline="") as text:
        header, *rows = list(csv.reader(text))
    assert header == ["image", "error", *(f"feature_{index}" for index in range(1280))]
    assert [float(cell) for cell in rows[0][2:]] == found[0]["features"]
    assert rows[1] == [str(mixed[1]), found[1]["error"]]


def test_a_folder_gives_its_photos_at_any_depth_in_order(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos / "ball", tmp_path / "b" / "deep")
    shutil.copy(photos / "box" / "00.png", tmp_path / "a.PNG")
    (tmp_path / "notes.txt").write_text("no photo")
    assert main(["predict", str(tmp_path), "--model", str(model), "--json"]) == 0
    found, _ = lines(capsys)
    expected = [tmp_path / "a.PNG", *sorted((tmp_path / "b" / "deep").iterdir())]
    assert [row["image"] for row in found] == [str(path) for path in expected]


def test_the_table_names_each_photo_once_and_the_error(
    model: Path, mixed: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *map(str, mixed), "--model", str(model), "--top", "2"]) == 1
    out = capsys.readouterr().out
    for path in mixed:
        assert out.count(str(path)) == 1
    assert "error: not a picture" in out
    assert out.count("%") == 6


def test_features_of_a_folder_with_a_bad_photo_go_on_past_it(
    model: Path, mixed: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *map(str, mixed), "--model", str(model), "--features"]) == 1
    lines_ = capsys.readouterr().out.splitlines()
    assert len(lines_) == 4
    assert lines_[1].startswith(f"{mixed[1]} error: ")
    assert len(lines_[0].split()) == len(lines_[3].split()) > 100


def test_a_weights_file_or_a_run_is_no_model_and_says_what_to_do(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.pth").write_bytes(b"\x80\x02}q\x00.")  # PyTorch's form until 1.6
    photo = str(photos / "ball" / "00.png")
    assert main(["predict", photo, "--model", str(tmp_path / "m.pth")]) == 2
    err = capsys.readouterr().err
    assert "m.pth: a file, not a model folder" in err and "weights import" in err
    assert main(["predict", photo, "--model", str(trained)]) == 2
    assert f"did you mean {trained / 'best'}?" in capsys.readouterr().err


@pytest.fixture
def nameless(photos: Path, tmp_path: Path) -> Path:
    """A folder of a photo and of a text, whose names are no UTF-8."""
    folder = tmp_path / "nameless"
    folder.mkdir()
    try:
        shutil.copy(photos / "ball" / "00.png", folder / os.fsdecode(b"\xff.png"))
    except OSError as error:  # of macOS and Windows
        pytest.skip(f"no such names here: {error}")
    (folder / os.fsdecode(b"\xfe.png")).write_text("no picture")
    return folder


def test_a_name_that_is_no_text_is_escaped_and_found_again(
    model: Path, nameless: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    words = ["predict", str(nameless), "--model", str(model)]
    assert main([*words, "--json"]) == 1
    found = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [Path(row["image"]).name for row in found] == [r"\xfe.png", r"\xff.png"]
    assert Path(unescaped(found[1]["image"])).is_file()
    for more in ([], ["--features"]):
        assert main([*words, *more]) == 1
        assert r"\xff.png" in capfdbinary.readouterr().out.decode("utf-8")
        file = tmp_path / "answers.csv"
        assert main([*words, *more, "--csv", str(file)]) == 1
        assert r"\xff.png" in file.read_text("utf-8")


def test_json_has_letters_as_they_are_where_stdout_can_hold_them(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = shutil.copy(photos / "ball" / "00.png", tmp_path / "größe.png")
    for encoding, shown in (("utf-8", "größe"), ("ascii", "gr\\u00f6\\u00dfe")):
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding, write_through=True))
        assert main(["predict", str(photo), "--model", str(model), "--json"]) == 0
        assert shown in out.getvalue().decode(encoding)
        assert json.loads(out.getvalue())["image"] == str(photo)


def test_a_list_answers_for_each_of_its_names_and_goes_on_past_a_missing_one(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, gone = photos / "ball" / "00.png", tmp_path / "gone.jpg"
    (tmp_path / "list.txt").write_text(f"{good}\ngone.jpg\n{good}\n")
    (tmp_path / "list.csv").write_text(f"file\n{good}\ngone.jpg\n")
    for name, count in ((f"@{tmp_path}/list.txt", 3), (str(tmp_path / "list.csv"), 2)):
        assert main(["predict", name, "--model", str(model), "--json"]) == 1
        found, err = lines(capsys)
        assert [row["image"] for row in found] == [str(good), str(gone), str(good)][:count]
        assert "gone.jpg: cannot be opened (No such file" in found[1]["error"]
        assert f"1 of {count} photos have no answer" in err


def test_what_is_no_photo_says_what_to_give_instead(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("a.jpg")
    assert main(["predict", str(tmp_path / "list.txt"), "--model", str(model), "--json"]) == 1
    assert "give it as @" in lines(capsys)[0][0]["error"]


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_photos_in_an_archive_have_the_answers_of_those_in_a_folder(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    archive = shutil.make_archive(str(tmp_path / "photos"), kind, photos)
    assert main(["predict", str(photos), "--model", str(model), "--json"]) == 0
    expected = [(Path(row["image"]).name, row["predictions"]) for row in lines(capsys)[0]]
    assert main(["predict", archive, "--model", str(model), "--json"]) == 0
    found = lines(capsys)[0]
    assert [(Path(row["image"]).name, row["predictions"]) for row in found] == expected
    assert all(row["image"].startswith(archive) for row in found)


def test_photos_that_had_to_be_interpreted_are_noted(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some").mkdir()
    with Image.open(photos / "ball" / "00.png") as image:
        levels = np.asarray(image.convert("L"), np.uint16)
    Image.fromarray(levels).save(tmp_path / "some" / "0.png")
    Image.fromarray(levels << 4).save(tmp_path / "some" / "1.png")
    Image.fromarray(levels.astype(np.uint8)).save(tmp_path / "some" / "2.png")
    assert main(["predict", str(tmp_path / "some"), "--model", str(model), "--json"]) == 0
    found, err = lines(capsys)
    answers = [row["predictions"] for row in found]
    assert answers[0] == answers[2]  # eight bits in sixteen are the very picture
    assert "note: 2 photos hold numbers whose white had to be inferred" in err
    assert "8 of 16 bits" in err and f"first: {tmp_path}/some/0.png" in err
