"""Which of runtimes and devices computes, and options that do not go together."""

import subprocess
import sys
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main


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
