"""Outputs of more than one file have one writer at a time; a second one is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.files import sha256_of_file
from mobilenetv2.runtime.predictor import load_artifact

HOLDER = """
import sys
from pathlib import Path
from mobilenetv2.locks import hold
with hold(Path(sys.argv[1]), inside=sys.argv[2] == "True"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "verb",
    ["train", "export", "export to a folder", "quantize", "import", "export weights", "evaluate",
     "audit"],
)  # fmt: skip
def test_an_output_that_another_process_writes_is_refused_before_the_work(
    verb: str, photos: Path, model: Path, quick: tuple[str, ...], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out, given = tmp_path / "new" / "out", ["--model", str(model)]
    words, held = {
        "train": (["train", str(photos), "--output", str(out), *quick], out),
        "export": (["export", str(model), f"{out}.onnx"], out.with_name("out.onnx")),
        "export to a folder": (
            ["export", str(model), str(out), "--format", "onnx,pt2"], out / "model.pt2",
        ),
        "quantize": (
            ["quantize", str(model), f"{out}.onnx", "--data", str(photos)],
            out.with_name("out.onnx"),
        ),
        "import": (["weights", "import", "embedded", str(out)], out),
        "export weights": (
            ["weights", "export", str(model), f"{out}.onnx", "--dialect", "onnx"],
            out.with_name("out.onnx"),
        ),
        "evaluate": (["evaluate", str(photos), *given, "--report", str(out)], out),
        "audit": (["audit", str(photos), "--output", str(out)], out),
    }[verb]  # fmt: skip
    inside = verb in ("train", "evaluate")
    command = [sys.executable, "-c", HOLDER, str(held), str(inside)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        before = sorted(tmp_path.rglob("*"))
        assert main(words) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(f"mobilenetv2: error: {held}: in use, ")
        assert last.endswith("wait until it has ended, or choose another path")
        assert sorted(tmp_path.rglob("*")) == before
        other.communicate("\n")
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [True, False])
def test_of_two_exports_to_one_file_one_is_whole(
    overwrite: bool, model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    out = tmp_path / "model.xml"
    words = [sys.executable, "-m", "mobilenetv2", "export", str(model), str(out)]
    words += ["--overwrite"] if overwrite else []
    processes = [
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert codes.count(0) >= 1
    assert set(codes) <= {0, 2}, errors
    for code, error in zip(codes, errors, strict=True):
        if code:
            assert error.splitlines()[-1].startswith(f"mobilenetv2: error: {tmp_path}{os.sep}model")
    assert overwrite or codes.count(0) == 1
    names = {"model.xml", "model.bin", "model.xml.comparison.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    record = (tmp_path / "model.xml.comparison.json").read_text()
    assert sha256_of_file(out) in record
    load_artifact(out)  # the seal of the .xml is over both files
