"""Commands leave nothing in the user's folders, send nothing, and let no package speak.

In a process of their own with an environment made from nothing: ONNX Runtime, for one, is silent
where a variable of a test runner or of a CI service is set.
"""

import ast
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from left_behind import CACHE, OURS, run_in_empty_folders

from mobilenetv2 import __file__ as package
from mobilenetv2.hub.cache import SWITCH

SOURCE = Path(package).parent


@pytest.fixture
def empty_folders(tmp_path: Path) -> Callable[..., list[str]]:
    """Runs Python in empty user's folders; the files in its cache. Nothing else may be there."""

    def run(*words: str) -> list[str]:
        left = run_in_empty_folders([*words], tmp_path / "user")
        assert left.status == 0, left.err
        assert left.paths == []
        assert not left.calls  # None without strace
        assert [line for line in left.err.splitlines() if not OURS.match(line)] == []
        return [path.removeprefix(f"{CACHE}/") for path in left.cached if path != CACHE]

    return run


@pytest.fixture
def strace() -> None:
    """Skips without strace, which sees every socket."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed, so that connections are not seen")


@pytest.mark.parametrize(
    "verb",
    ["predict", *(pytest.param(verb, marks=pytest.mark.slow)
                  for verb in ("evaluate", "export", "quantize"))],
)  # fmt: skip
def test_a_command_leaves_nothing_in_the_users_folders(
    verb: str, model: Path, photos: Path, tmp_path: Path, empty_folders: Callable[..., list[str]]
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
    assert empty_folders("-m", "mobilenetv2", verb, *words) == []
    assert (tmp_path / "model.onnx").exists() == (verb in ("export", "quantize"))


def test_a_prediction_keeps_the_graph_in_the_cache_unless_that_is_turned_off(
    model: Path, photos: Path, empty_folders: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv(SWITCH)
    words = ["-m", "mobilenetv2", "predict", str(photos / "ball" / "00.png"), "--model", str(model)]
    assert {path.partition("/")[0] for path in empty_folders(*words)} == {"graphs"}


FONTS = ("matplotlib", "matplotlib/fontlist-")
KERAS = ("keras", "keras/keras.json")
CODE = "inductor"
"""Name of a folder that PyTorch makes when it is imported."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "packages", "cached"),
    [
        ("train, torch", "torch matplotlib", FONTS),
        ("train, keras", "tensorflow keras matplotlib", (*KERAS, *FONTS)),
        ("export, all", "tensorflow keras torch executorch coremltools MNN ncnn pnnx",
         (*KERAS, *FONTS)),
        ("quantize, nncf", "openvino nncf", ()),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("strace")
def test_packages_keep_what_they_keep_in_the_documented_cache(
    title: str, packages: str, cached: tuple[str, ...], tmp_path: Path, model: Path, photos: Path,
    quick: tuple[str, ...], empty_folders: Callable[..., list[str]],
) -> None:  # fmt: skip
    for name in packages.split():
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    out = str(tmp_path / "out")
    words = {
        "train": ["train", str(photos), "--output", out, "--epochs", "1", *quick,
                  "--edition", title.rpartition(" ")[2]],
        "export": ["export", str(model), out, "--format", "all"],
        "quantize": ["quantize", str(model), f"{out}.xml", "--data", str(photos), "--force",
                     "--calibration-photos", "12", "--method", "nncf"],
    }[title.partition(",")[0]]  # fmt: skip
    kept = empty_folders("-m", "mobilenetv2", *words)
    assert all(path.startswith((*cached, CODE)) for path in kept), kept


def test_connections_are_seen(tmp_path: Path, strace: None) -> None:
    code = "import socket; socket.socket().connect_ex(('127.0.0.1', 9)); open('left', 'w')"
    left = run_in_empty_folders(["-c", code], tmp_path / "user")
    assert left.calls is not None
    (call,) = left.calls
    assert "connect" in call and "127.0.0.1" in call and left.paths == ["current/left"]


def test_the_setting_holds_where_another_package_imports_onnx_runtime(
    empty_folders: Callable[..., list[str]],
) -> None:
    code = "from mobilenetv2.errors import require; require('numpy'); import onnxruntime"
    assert empty_folders("-c", code) == []


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
    peers = {
        "benchmarks/bulk_others.py",
        "benchmarks/cold_start_onnx.py",
        "benchmarks/serving/peers/network.py",
    }  # what others write, without this package
    assert found - peers == {"src/mobilenetv2/runtime/engines/onnxruntime.py"}
