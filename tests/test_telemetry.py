"""Commands leave nothing in the user's folders: no device id, no event database, no session file.

In a process of their own with an environment made from nothing: ONNX Runtime, for one, is silent
where a variable of a test runner or of a CI service is set.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenetv2 import __file__ as package

FOLDERS = (
    "HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
)  # fmt: skip
SOURCE = Path(package).parent


def left_by(home: Path, *words: str) -> list[str]:
    """Run Python in empty user's folders; return the files that lie there afterwards."""
    folders = {name: home / name.lower() for name in FOLDERS}
    for folder in folders.values():
        folder.mkdir(parents=True)
    environment = {name: str(folder) for name, folder in folders.items()}
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE.parent)}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, cwd=home
    )
    assert done.returncode == 0, done.stderr
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


@pytest.mark.parametrize("verb", ["predict", "evaluate", "export", "quantize"])
def test_a_command_leaves_nothing_in_the_users_folders(
    verb: str, model: Path, photos: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "model.onnx")
    words = {
        "predict": [str(photos / "ball" / "00.png"), "--model", str(model)],
        "evaluate": [str(photos), "--model", str(model)],
        "export": [str(model), out, "--format", "onnx"],
        "quantize": [
            str(model), out, "--data", str(photos), "--calibration-photos", "12", "--force",
        ],
    }[verb]  # fmt: skip
    assert left_by(tmp_path / "user", "-m", "mobilenetv2", verb, *words) == []
    assert (tmp_path / "model.onnx").exists() == (verb in ("export", "quantize"))


def test_the_setting_holds_where_another_package_imports_onnx_runtime(tmp_path: Path) -> None:
    code = "from mobilenetv2.errors import require; require('numpy'); import onnxruntime"
    assert left_by(tmp_path / "user", "-c", code) == []


def test_onnx_runtime_is_imported_in_one_place() -> None:
    root = SOURCE.parents[1]
    found = set()
    for place in (SOURCE, root / "benchmarks", root / "examples"):
        for path in place.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [str(node.module)]
                elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                    names = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
                if any(name.split(".")[0] == "onnxruntime" for name in names):
                    found.add(path.relative_to(root).as_posix())
    assert found == {"src/mobilenetv2/runtime/onnxruntime.py"}
