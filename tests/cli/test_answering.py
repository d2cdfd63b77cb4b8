"""Which of runtimes and devices computes, and options that do not go together."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2 import Classifier
from mobilenetv2.cli.main import main
from mobilenetv2.hub.catalogue import DEFAULT
from mobilenetv2.model.outputs import softmax


def test_options_that_do_not_go_together_are_one_sentence(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(photos / "ball" / "00.png")
    exported = str(tmp_path / "m.onnx")
    assert main(["export", str(model), exported]) == 0
    capsys.readouterr()
    for words, message in (
        (["--runtime", "torch", "--threads", "0"], "--threads 0 must be at least 1"),
        (["--runtime", "onnxruntime", "--device", "cuda"], "onnxruntime computes on the CPU"),
        (["--runtime", "litert", "--model", exported], "does not run onnx files"),
        (["--runtime", "torch", "--model", exported], "an exported file, which --runtime torch"),
    ):
        assert main(["predict", photo, "--model", str(model), *words]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.pt2", "a program of PyTorch, which is not run here"),
        ("m.savedmodel", "a program of TensorFlow, which is not run here"),
        ("m.mlpackage", "runs on Apple's systems only"),
    ],
)
def test_exports_that_are_not_run_here_say_why(
    name: str, message: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert main(["predict", str(photos), "--model", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_with_flips_a_photo_and_its_mirror_image_get_the_same_answer(
    runtime: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # At the network's own size: no resizing, no crop that could be off by one.
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    photo = tmp_path / "photo.png"
    Image.fromarray(pixels).save(photo)
    Image.fromarray(np.ascontiguousarray(pixels[:, ::-1])).save(tmp_path / "mirrored.png")
    found = {}
    for flips in ([], ["--flips"]):
        for path in (photo, tmp_path / "mirrored.png"):
            words = ["predict", str(path), "--model", str(model), "--runtime", runtime, *flips]
            assert main([*words, "--json"]) == 0
            (line,) = capsys.readouterr().out.splitlines()
            answers = sorted(json.loads(line)["predictions"], key=lambda answer: answer["index"])
            found[bool(flips), path == photo] = [answer["probability"] for answer in answers]
    assert found[True, True] == pytest.approx(found[True, False], rel=1e-5)
    assert found[False, True] != pytest.approx(found[False, False], rel=1e-3)
    logits = [np.log(found[False, same]) for same in (True, False)]
    assert softmax(np.mean(logits, 0)) == pytest.approx(found[True, True], rel=1e-4)


@pytest.mark.slow
def test_an_executorch_file_predicts(model: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed (extra: export)")
    out = str(tmp_path / "m.pte")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        # In processes of their own: after other runtimes in one process ExecuTorch aborts.
        command = [sys.executable, "-m", "mobilenetv2", *words]
        return subprocess.run(command, capture_output=True, text=True)

    assert run("export", str(model), out).returncode == 0
    shown = []
    for place in (str(model), out):
        words = ["predict", str(photos / "box"), "--model", place, "--top", "1", "--json"]
        lines = run(*words).stdout.splitlines()
        shown.append([line.partition("probability")[0] for line in lines])
    assert shown[0] == shown[1] and len(shown[0]) == 12
    failed = run("predict", str(photos), "--model", out, "--runtime", "mnn")
    assert failed.returncode == 2 and "does not run .pte files" in failed.stderr


NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_predict_answers_and_says_who_does(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(photo), "--json"]) == 0
    out, err = capsys.readouterr()
    (row,) = [json.loads(line) for line in out.splitlines()]
    assert len({g["label"] for g in row["predictions"]} & set(NAMES)) == 5
    assert "embedded" in err and "airplane" in err and f"--model {DEFAULT}" in err
    assert "for your own train one" in err
    assert main(["predict", str(photo), "--json", "--model", "embedded"]) == 0
    again, err = capsys.readouterr()
    assert json.loads(again)["predictions"] == row["predictions"]
    assert err == ""
    answer = Classifier()(photo)
    assert [guess.label for guess in answer.top(5)] == [g["label"] for g in row["predictions"]]


def test_explain_and_evaluate_do_without_one_too(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(photo), "--output", str(tmp_path / "out.png")]) == 0
    assert "embedded" in capsys.readouterr().err and (tmp_path / "out.png").is_file()
    for name in ("cat", "ship"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "a.png").write_bytes(photo.read_bytes())
    assert main(["evaluate", str(tmp_path / "data"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert "embedded" in err and json.loads(out)["images"] == 2
