"""The verb: files that are there and verified, a list, and errors in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenetv2 import formats
from mobilenetv2.cli.main import main
from mobilenetv2.errors import installing
from mobilenetv2.formats import EXPORTED


def test_one_file_is_written_and_predicts_the_same(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shapes.onnx"
    words = ["export", str(model), str(out), "--pictures", "--photos", str(photos / "ball")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "onnx" in shown and "12 of 12" in shown and str(out) in shown
    photo = str(photos / "box" / "00.png")
    answers = []
    for place in (model, out):
        assert main(["predict", photo, "--model", str(place), "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for one, two in zip(answers[0]["predictions"], answers[1]["predictions"], strict=True):
        assert one["label"] == two["label"]
        assert one["probability"] == pytest.approx(two["probability"], abs=1e-5)


def test_a_litert_file_for_phones_says_what_it_gives_and_predicts_the_same(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (extra: litert)")
    photo, answers = str(photos / "box" / "00.png"), []
    for name, words in (("a", ["--pictures"]), ("b", ["--outputs", "logits", "--keep-inexact"])):
        out = tmp_path / f"{name}.tflite"
        assert main(["export", str(model), str(out), *words]) == 0
        shown = capsys.readouterr().out
        assert ("probabilities" in shown) == (name == "a") and str(out)[-8:] in shown
        assert main(["predict", photo, "--model", str(out), "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for one, two in zip(answers[0]["predictions"], answers[1]["predictions"], strict=True):
        assert one["label"] == two["label"]
        assert one["probability"] == pytest.approx(two["probability"], abs=1e-5)


def test_several_at_once_as_json(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(model), str(tmp_path / "all"), "--format", "onnx"]
    assert main([*words, "--precision", "float32,float16", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["precision"] for row in rows] == ["float32", "float16"]
    assert all(row["passed"] and Path(row["file"]).stat().st_size == row["bytes"] for row in rows)
    assert rows[1]["bytes"] < 0.75 * rows[0]["bytes"]
    assert main([*words, "--json"]) == 2
    assert "exists already; choose another path, or give --overwrite" in capsys.readouterr().err
    assert main([*words, "--json", "--overwrite"]) == 0


def test_the_list_has_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in EXPORTED)
    assert main(["export", "--list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["format"] for row in rows] == list(EXPORTED)


def test_a_missing_package_is_named_before_anything_is_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(formats, "is_installed", lambda name: name not in ("MNN", "openvino"))
    words = ["export", str(model), str(tmp_path / "o"), "--format", "onnx,openvino,mnn"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "openvino needs openvino, mnn needs MNN" in error
    assert installing(["MNN", "openvino"]) in error and "[export,openvino]'" in error
    assert not (tmp_path / "o").exists()


def test_what_is_wrong_is_one_sentence(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        ([], "export needs MODEL and OUT"),
        ([str(model), str(tmp_path / "m")], "no format has this ending; choose one with --format"),
        ([str(model), str(tmp_path / "m.onnx"), "--precision", "bfloat16"], "has no bfloat16"),
        ([str(model), str(tmp_path / "m.onnx"), "--opset", "9"], "opset 9 must be from 13 to 22"),
        ([str(model), str(tmp_path / "m.onnx"), "--batch", "0"], "batch 0 must be at least 1"),
        (["nowhere", str(tmp_path / "m.onnx")], "nowhere: no such model folder"),
    ):
        status = main(["export", *words])
        error = capsys.readouterr().err
        assert status in (1, 2) and message in error and "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [["export"], ["export", "OUT"], ["predict"], ["quantize"]])
def test_a_foreign_file_as_model_leads_to_its_import(
    verb: list[str], photos: Path, tmp_path: Path, refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("net-7ebf.v2.pth").write_bytes(b"\x80\x02}q\x00.")  # PyTorch's form until 1.6
    name = verb[0]
    words: dict[str, list[str]] = {
        "export": ["net-7ebf.v2.pth", *(["x.onnx"] if "OUT" in verb else [])],
        "predict": [str(photos / "ball"), "--model", "net-7ebf.v2.pth"],
        "quantize": ["net-7ebf.v2.pth", "x.onnx", "--data", str(photos)],
    }
    advice = "first 'mobilenetv2 weights import net-7ebf.v2.pth net-7ebf', then give net-7ebf"
    assert advice in refused(name, *words[name])


def test_weights_for_another_library_lead_to_the_other_export(
    model: Path, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    advice = "'mobilenetv2 weights export MODEL net.pth --dialect torchvision'"
    assert advice in refused("export", "net.pth") and advice in refused("export", model, "net.pth")
    advice = "'mobilenetv2 weights export MODEL net.h5 --dialect keras'"
    assert advice in refused("export", model, "net.h5")
    assert "export needs MODEL and OUT" in refused("export", "net.onnx")
    assert "export needs MODEL and OUT" in refused("export", model)
    for name in ("net.onnx", "net.tflite", "net.pte"):
        advice = f"'mobilenetv2 export MODEL {name}'"
        assert advice in refused("weights", "export", model, name)
    assert "such as --dialect torchvision" in refused("weights", "export", model, "x.pth")
    assert list(tmp_path.iterdir()) == []
