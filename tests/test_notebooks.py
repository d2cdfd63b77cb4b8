"""The notebooks in examples/, run from their first cell to their last in a kernel of their own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
FETCHED = "litert-tf2-1.0-224"
PUBLISHED = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
"""What a notebook fetches by that name: the cache is filled with it."""


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"first_steps", "port_weights"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        assert not cell.get("outputs"), f"{path.name}: clear all outputs before you commit"
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_name_of_the_library_that_a_notebook_uses_exists(path: Path) -> None:
    import ast

    import mobilenetv2 as mn

    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                match node:
                    case ast.Attribute(value=ast.Name(id="mn"), attr=name):
                        assert name in dir(mn), name


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    public_folder: Callable[[str], Path],
) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cached = tmp_path / "cache" / FETCHED / PUBLISHED
    cached.parent.mkdir(parents=True)
    if FETCHED in path.read_text("utf-8"):
        shutil.copy(public_folder("published") / PUBLISHED, cached)
    monkeypatch.setenv("MOBILENETV2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert outputs
    for output in outputs:
        assert "Warning" not in output.get("text", ""), output["text"]
