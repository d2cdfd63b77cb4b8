"""``weights import``: what it prints, what it refuses, and that it leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenetv2.cli import weights_import
from mobilenetv2.cli.main import main
from mobilenetv2.cli.weights_import import label_file
from mobilenetv2.model import store
from mobilenetv2.spec.count import multiply_adds, parameters


@pytest.fixture
def importable(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that reads as the random model: reading itself is tested in its own room."""
    monkeypatch.setattr(
        weights_import, "import_checkpoint", lambda path, options: store.load(model)
    )
    file = tmp_path / "published.tflite"
    file.write_bytes(b"")
    return file


def test_json_is_one_object_with_what_was_read(
    importable: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_folder = tmp_path / "imported"
    assert main(["weights", "import", str(importable), str(out_folder), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1
    config, arrays = store.load(out_folder)
    assert config == store.load_config(model) and "classifier.weight" in arrays
    assert json.loads(out) == {
        "model": str(out_folder), "dialect": None, "epsilon": 1e-5,
        "width": 0.1, "size": [32, 32], "classes": 3,
        "background": None, "padding": "symmetric", "parameters": parameters(config.spec),
        "multiply_adds": multiply_adds(config.spec), "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
    }  # fmt: skip


def test_in_words_it_names_parameters_labels_and_the_model(
    importable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "import", str(importable), str(tmp_path / "imported")]) == 0
    out, err = capsys.readouterr()
    count = parameters(store.load_config(tmp_path / "imported").spec)
    assert f"parameters     {count:,}\n" in out
    assert "labels         triangle, Ball, box, crate ...\n" in out
    assert err == f"\nthe model: {tmp_path / 'imported'}\n"


def test_an_existing_folder_is_replaced_only_when_asked_and_only_a_model(
    importable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["weights", "import", str(importable), str(tmp_path / "imported")]
    assert main(command) == 0
    (tmp_path / "imported" / "old").write_text("")
    capsys.readouterr()
    assert main(command) == 2
    assert "imported exists; choose another place, or give --overwrite" in capsys.readouterr().err
    # Whatever else lies there would be lost.
    assert main([*command, "--overwrite"]) == 2
    assert "old: would be lost, so the folder is not replaced" in capsys.readouterr().err
    assert (tmp_path / "imported" / "old").exists()
    (tmp_path / "imported" / "old").unlink()
    before = (tmp_path / "imported" / "model.safetensors").stat().st_ino
    assert main([*command, "--overwrite"]) == 0
    assert (tmp_path / "imported" / "model.safetensors").stat().st_ino != before
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_text("mine")
    capsys.readouterr()
    assert main([*command[:3], str(tmp_path / "photos"), "--overwrite"]) == 2
    assert "photos: not a model folder, so not overwritten" in capsys.readouterr().err
    assert (tmp_path / "photos" / "mine.jpg").read_text() == "mine"


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("missing.tflite", None, "missing.tflite: no such file"),
        ("model.pth", b"PK", "model.pth: does not begin like a PyTorch file"),
        ("model.h5", b"\x89HDF", "model.h5: "),
        ("model.onnx", b"\x08\x07", "model.onnx: "),
        ("model.safetensors", bytes(64), "model.safetensors: "),
        ("notes.txt", b"just a text", "notes.txt: "),
        ("empty.tflite", b"", "empty.tflite: not a LiteRT file"),
        ("text.tflite", b"just a text", "text.tflite: not a LiteRT file (its identifier is not TF"),
        ("zeros.tflite", b"\0\0\0\0TFL3" + bytes(64), "zeros.tflite: "),
        ("far.tflite", b"\xff\xff\xff\x7fTFL3" + bytes(64), "far.tflite: damaged LiteRT file"),
        ("noise.tflite", b"\x10\0\0\0TFL3" + bytes(range(256)), "noise.tflite: damaged LiteRT fi"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line_and_leaves_nothing(
    name: str, content: bytes | None, message: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    assert main(["weights", "import", str(tmp_path / name), str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("mobilenetv2: error: ") and message in err
    assert sorted(tmp_path.iterdir()) == before


def test_labels_that_cannot_be_read_are_named(
    importable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latin.txt").write_bytes("Gänseblümchen".encode("latin-1"))
    for name, message in (("latin.txt", "not a text in UTF-8"), ("none.txt", "No such file")):
        labels = str(tmp_path / name)
        command = ["weights", "import", str(importable), str(tmp_path / "out"), "--labels", labels]
        assert main(command) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"mobilenetv2: error: {labels}: {message}")
    assert not (tmp_path / "out").exists()


def test_a_published_name_is_fetched_and_copied(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(weights_import, "locate", lambda name: model)
    out = tmp_path / "out"
    assert main(["weights", "import", "timm-100", str(out)]) == 0
    assert main(["weights", "import", "hf://owner/name", str(out), "--overwrite"]) == 0
    assert store.load_config(out) == store.load_config(model)
    capsys.readouterr()
    capped = refused("weights", "import", "timm-100", tmp_path / "other", "--width", "0.5")
    assert "--width is for files; 'weights fetch' gives one" in capped


def test_a_list_of_names_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("background\ncat\n".encode("utf-8-sig"))
    assert label_file(tmp_path / "names.txt").background == 0
