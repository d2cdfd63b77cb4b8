"""``explain``: the picture, the answers, where heat lies; models of every kind; mistakes."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.cli.main import main
from mobilenetv2.editions import torch as edition
from mobilenetv2.evaluation.explanation import SIDE
from mobilenetv2.evaluation.gradcam import heat, overlay, whereabouts
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.display import GAP, MARGIN, enlarge_picture
from mobilenetv2.images.preprocess import engine_input, preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing
from mobilenetv2.text import unescaped

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photo(photos: Path) -> Path:
    return photos / "ball" / "00.png"


def make(folder: Path, spec: NetworkSpec, labels: Labels | None = None) -> Path:
    given = labels or Labels(tuple(f"thing {i}" for i in range(spec.classes)))
    config = ModelConfig(spec, Preprocessing.default(spec), given)
    store.save(folder, config, random_arrays(spec))
    return folder


def tiny(**changes: Any) -> NetworkSpec:
    return published("small", **({"width": 0.1, "classes": 4, "size": 48} | changes))


def rows(capsys: Output) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_picture_has_the_photo_and_an_overlay_for_each_answer(
    photo: Path, tmp_path: Path, capsys: Output
) -> None:
    model = make(tmp_path / "m", tiny())
    assert main(["explain", str(photo), "--model", str(model), "--top", "2", "--json"]) == 0
    [row] = rows(capsys)
    assert (row["image"], row["picture"]) == (str(photo), "00-explained.png")
    config, arrays = store.load(model)
    network = edition.MobileNetV2(config)
    edition.load(network, arrays)
    picture = preprocess(read_photo(photo), config.preprocessing)
    x = engine_input(picture[None], config.preprocessing).transpose(0, 2, 3, 1)
    found = edition.intermediates(network, x)
    powers = np.exp(found["logits"][0].astype(float))
    best = np.argsort(-powers)[:2]
    assert [one["index"] for one in row["explanations"]] == best.tolist()
    drawn = np.asarray(Image.open("00-explained.png"))
    large = enlarge_picture(picture, SIDE)
    for place, index in enumerate([None, *best]):
        left = MARGIN + place * (SIDE + GAP)
        tile = drawn[MARGIN : MARGIN + SIDE, left : left + SIDE].astype(int)
        if index is None:
            np.testing.assert_array_equal(tile, large)
            continue
        warm = heat(found["head"][0], arrays["classifier.weight"][index])
        # The last digit of a map may turn a level of a colour.
        assert np.abs(tile - overlay(large, warm).astype(int)).max() <= 1
        one, where = row["explanations"][place - 1], whereabouts(warm)
        assert one["label"] == f"thing {index}"
        assert one["probability"] == pytest.approx(powers[index] / powers.sum(), abs=1e-4)
        assert one["heat"]["cells"] == list(warm.shape) and warm.size > 1
        assert one["heat"]["where"] == where.words
        np.testing.assert_allclose(one["heat"]["centre"] or [0, 0], where.centre or [0, 0], 1e-3)
        np.testing.assert_allclose(one["heat"]["rows"], where.rows, atol=1e-3)
        np.testing.assert_allclose(one["heat"]["columns"], where.columns, atol=1e-3)


def test_a_class_that_is_asked_for_takes_the_answers_place(
    model: Path, photo: Path, capsys: Output
) -> None:
    words = ["explain", str(photo), "--model", str(model), "--overwrite", "--json"]
    for names, indices in ((["box"], [2]), (["1"], [1]), (["n03", "crate"], [0, 2])):
        asked = [word for name in names for word in ("--class", name)]
        assert main([*words, *asked]) == 0
        [row] = rows(capsys)
        assert [one["index"] for one in row["explanations"]] == indices


def test_a_class_that_is_none(photo: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    labels = Labels(("crane", "machine, crane", "sea lion", "hat"))
    words = ("explain", photo, "--model", make(tmp_path / "m", tiny(), labels), "--class")
    assert refused(*words, "sea liom").endswith("did you mean 'sea lion'?")
    assert refused(*words, "zzz").endswith("its classes are: crane, machine, crane, sea lion, hat")
    assert "no class with this label" in refused(*words, "4")
    labels = Labels(("bird, crane", "machine, crane", "sea lion", "hat"))
    words = ("explain", photo, "--model", make(tmp_path / "n", tiny(), labels), "--class")
    assert refused(*words, "crane").endswith(
        "2 classes have this name; give the index instead: 0 or 1"
    )


def test_several_photos_a_bad_one_among_them(
    model: Path, photos: Path, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    given = [photos / "ball" / "00.png", tmp_path / "bad.jpg", photos / "box" / "00.png"]
    words = ["explain", *map(str, given), "--model", str(model), "--output", "out/deep"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out.count("%") == 6 and f"error: {tmp_path / 'bad.jpg'}: not a picture" in out
    assert "1 of 3 photos have no answer\n" in err
    made = sorted(path.name for path in Path("out/deep").iterdir())
    assert made == ["00-explained-2.png", "00-explained.png"]
    for name in made:
        assert name in out


def test_nothing_is_overwritten_unless_asked(
    model: Path, photo: Path, tmp_path: Path, capsys: Output, refused: Callable[..., str]
) -> None:
    out = tmp_path / "mine.png"
    words = ("explain", str(photo), "--model", str(model), "--output", str(out))
    assert main([*words]) == 0
    first = out.read_bytes()
    capsys.readouterr()
    assert "mine.png: exists already; choose another --output, or give --overwrite" in refused(
        *words
    )
    assert main([*words, "--top", "1", "--overwrite"]) == 0
    assert out.read_bytes() != first
    capsys.readouterr()
    copy = shutil.copy(photo, tmp_path / "copy.png")
    again = ("explain", copy, "--model", model, "--output", copy, "--overwrite")
    assert "is one of the photos" in refused(*again)


def test_places_that_cannot_be(
    model: Path, photos: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    two = ("explain", photos / "ball", "--model", model)
    assert "one file for 12 photos; name a folder" in refused(*two, "--output", "x.png")
    (tmp_path / "notes.txt").write_text("x")
    assert "neither a .png file nor a folder" in refused(*two, "--output", "notes.txt")
    assert "--top 0 must be at least 1" in refused(*two, "--top", "0")
    assert "no such photo or folder" in refused("explain", "none.jpg", "--model", model)
    assert "no such model folder" in refused("explain", photos / "ball", "--model", "none")
    assert "threads 0" in refused(*two, "--threads", "0")
    assert "runs exported files only" in refused(*two, "--runtime", "mnn")


NETWORKS = {
    "grey": tiny(input_channels=1),
    "not square": tiny(size=(40, 90)),
    "article": published("article-torch", width=0.1, classes=4, size=64),
    "one logit": tiny(classes=2, classifier=ClassifierSpec(outputs="logit")),
    "hidden": tiny(classifier=ClassifierSpec("max", (HiddenSpec(6),), outputs="sigmoid")),
    "without a head": NetworkSpec(width=0.1, size=(64, 64), classes=4, head="none"),
    "mobilenet-v1": published("mobilenet-v1", width=0.25, classes=4, size=64),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_every_kind(name: str, photo: Path, tmp_path: Path, capsys: Output) -> None:
    model = make(tmp_path / "m", NETWORKS[name])
    found = []
    for runtime in ([], ["--runtime", "torch", "--threads", "1"]):
        words = ["explain", str(photo), "--model", str(model), "--json", "--overwrite", *runtime]
        assert main(words) == 0
        out, err = capsys.readouterr()
        assert "embedded" not in err
        found.append(json.loads(out)["explanations"])
        with Image.open("00-explained.png") as drawn:
            assert drawn.size[0] > SIDE
    for one, other in zip(*found, strict=True):
        assert one["index"] == other["index"] and one["heat"]["cells"] == other["heat"]["cells"]
        np.testing.assert_allclose(one["heat"]["rows"], other["heat"]["rows"], atol=1e-3)


@pytest.mark.parametrize("suffix", ["onnx", pytest.param("keras", marks=pytest.mark.slow)])
def test_exported_files_that_give_their_map(
    suffix: str, model: Path, photo: Path, tmp_path: Path, capsys: Output
) -> None:
    if suffix == "keras":
        pytest.importorskip("keras", reason="keras is not installed (extra: keras)")
    out = tmp_path / f"m.{suffix}"
    assert main(["export", str(model), str(out)]) == 0
    capsys.readouterr()
    found = []
    for place in (model, out):
        assert main(["explain", str(photo), "--model", str(place), "--json", "--overwrite"]) == 0
        found.append(rows(capsys)[0]["explanations"])
    assert [one["index"] for one in found[0]] == [one["index"] for one in found[1]]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one["heat"]["columns"], other["heat"]["columns"], atol=1e-3)


def test_an_exported_file_without_a_map_names_the_model_folder(
    model: Path, photo: Path, tmp_path: Path, capsys: Output, refused: Callable[..., str]
) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai_edge_litert is not installed (extra: litert)")
    out = tmp_path / "m.tflite"
    assert main(["export", str(model), str(out)]) == 0
    capsys.readouterr()
    words = ("explain", photo, "--model", out)
    assert "use the model folder that it was exported from" in refused(*words)
    assert "use its model folder" in refused(*words, "--runtime", "torch")


def test_a_map_of_one_cell_is_said(photo: Path, tmp_path: Path, capsys: Output) -> None:
    model = make(tmp_path / "m", NetworkSpec(width=0.1, size=(32, 32), classes=4))
    assert main(["explain", str(photo), "--model", str(model)]) == 0
    assert "a single cell, so that it has no heat map" in capsys.readouterr().err


def test_a_name_that_is_no_text_is_escaped(
    model: Path, photo: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    given = tmp_path / os.fsdecode(b"\xff.png")
    try:
        shutil.copy(photo, given)
    except OSError as error:  # of macOS and Windows
        pytest.skip(f"no such names here: {error}")
    words = ["explain", str(given), "--model", str(model), "--overwrite"]
    assert main([*words, "--json"]) == 0
    row = json.loads(capfdbinary.readouterr().out)
    assert row["picture"] == r"\xff-explained.png" and Path(unescaped(row["picture"])).is_file()
    assert main(words) == 0
    assert r"\xff.png" in capfdbinary.readouterr().out.decode("utf-8")


def test_layers_are_drawn_and_named_in_the_json(
    model: Path, photo: Path, tmp_path: Path, capsys: Output, refused: Callable[..., str]
) -> None:
    assert main(["explain", str(photo), "--model", str(model), "--layers", "--json"]) == 0
    [row] = rows(capsys)
    assert row["picture"] == "00-layers.png" and Path("00-layers.png").is_file()
    assert [one["name"] for one in row["layers"]][:2] == ["stem", "stage 1"]
    assert len(row["explanations"]) == 3
    out = tmp_path / "m.onnx"
    assert main(["export", str(model), str(out)]) == 0
    capsys.readouterr()
    assert "an exported file does not give the maps of its stages" in refused(
        "explain", photo, "--model", out, "--layers", "--output", "x.png"
    )
    assert not Path("x.png").exists()
