"""A program of ExecuTorch as a model; how it computes is held by tests/exporting."""

import subprocess
import sys
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2.errors import ArtifactError
from mobilenetv2.model import seal
from mobilenetv2.runtime.engines.executorch import read_artifact


@pytest.mark.slow
def test_an_executorch_file_predicts(model: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed (extra: export)")
    out = str(tmp_path / "m.pte")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
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
    assert failed.returncode == 2 and "does not run executorch files" in failed.stderr


def test_a_file_that_was_changed_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    body = b"some program" * 20
    (tmp_path / "m.pte").write_bytes(body[:-1] + b"?" + seal.digest(body).encode())
    with pytest.raises(ArtifactError, match=r"m\.pte"):
        read_artifact(tmp_path / "m.pte")
    with pytest.raises(ArtifactError, match=r"m\.pte"):
        mn.Classifier(tmp_path / "m.pte")
