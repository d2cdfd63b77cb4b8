"""Checkpoints of other projects from Python: imported, written out, guessed, refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.errors import DialectError, RunError, WeightsError
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.networks.folders import load
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing
from mobilenetv2.weights import export_checkpoint, guess_dialect, import_checkpoint

TORCHVISION = published("torchvision", width=0.35, classes=3, size=64)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A model folder with torchvision's numerics."""
    store.save(tmp_path / "theirs", ModelConfig.default(TORCHVISION), random_arrays(TORCHVISION))
    return tmp_path / "theirs"


def test_there_and_back_every_bit_is_kept(theirs: Path, tmp_path: Path) -> None:
    made = export_checkpoint(theirs, tmp_path / "m.safetensors", dialect="torchvision")
    assert made.paths[0] == tmp_path / "m.safetensors" and made.effect is None
    assert repr(made) == f"<torchvision checkpoint {str(made.paths[0])!r}>"
    config, arrays = imported = import_checkpoint(made.paths[0], labels=["hat", "shoes", "scarf"])
    assert config.labels == Labels(("hat", "shoes", "scarf"))
    expected = store.load(theirs)[1]
    assert all(np.array_equal(arrays[name], array) for name, array in expected.items())
    assert (
        repr(imported)
        == "<MobileNetV2 0.35 at 64 x 64, 3 classes from m.safetensors (torchvision)>"
    )
    assert imported.to_dict()["classes"] == 3 and imported.to_dict()["size"] == [64, 64]


def test_a_live_network_is_written_as_its_folder_is(theirs: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    export_checkpoint(theirs, one, dialect="timm")
    export_checkpoint(load(theirs), two, dialect="timm")
    assert one.read_bytes() == two.read_bytes()


def test_an_import_writes_a_model_folder_where_it_is_asked_to(theirs: Path, tmp_path: Path) -> None:
    file = export_checkpoint(theirs, tmp_path / "m.safetensors", dialect="timm").paths[0]
    config, arrays = import_checkpoint(file, output=tmp_path / "mine")
    assert store.load(tmp_path / "mine")[0] == config and len(arrays) > 100
    with pytest.raises(RunError, match="mine: exists already; choose another path"):
        import_checkpoint(file, output=tmp_path / "mine")
    import_checkpoint(file, output=tmp_path / "mine", overwrite=True)


def test_the_given_network_size_and_labels_are_taken(theirs: Path, tmp_path: Path) -> None:
    file = export_checkpoint(theirs, tmp_path / "m.safetensors", dialect="torchvision").paths[0]
    file.with_name("m.safetensors.json").unlink()
    (tmp_path / "names.txt").write_text("hat\nshoes\nscarf\n")
    for spec in (TORCHVISION, theirs, str(theirs)):
        config, _ = import_checkpoint(file, spec=spec, size=96, labels=tmp_path / "names.txt")
        assert config.spec.size == (96, 96) and config.labels.names[1] == "shoes"
    with pytest.raises(DialectError, match="width"):
        import_checkpoint(file, width=1.0)
    with pytest.raises(DialectError, match="2 labels for 3 outputs"):
        import_checkpoint(file, labels=("hat", "shoes"))


def test_ignored_numerics_are_measured(tmp_path: Path, photos: Path) -> None:
    spec = published("tf-slim", width=0.35, classes=4, size=64, background=None)
    store.save(tmp_path / "slim", ModelConfig.default(spec), random_arrays(spec))
    with pytest.raises(DialectError, match="would compute something else"):
        export_checkpoint(tmp_path / "slim", tmp_path / "m.pth", dialect="timm")
    made = export_checkpoint(
        tmp_path / "slim", tmp_path / "m.safetensors", dialect="timm", ignore_numerics=True,
        photos=photos / "ball",
    )  # fmt: skip
    assert made.effect and made.effect.pictures == 12 and made.effect.difference > 1e-3
    notes = [f"note: {note}" for note in made.notes]
    effect = f"numerics ignored: {made.effect}"
    assert str(made).splitlines() == [*map(str, made.paths), *notes, effect]
    assert made.to_dict()["photos"] == 12 and made.config.spec.numerics.padding == "symmetric"


@pytest.mark.parametrize(
    ("spec", "name", "found"),
    [
        (published("keras", width=0.35, classes=3), "m.weights.h5", "keras"),
        (published("keras", width=0.35, classes=3), "m.keras", "keras"),
        (published("tf-slim", width=0.35, classes=3, background=None), "m.ckpt", "tf-slim"),
        (TORCHVISION, "m.h5", "keras"),  # which then says what it cannot express
    ],
)
def test_the_only_dialect_of_a_file_is_guessed(spec: Any, name: str, found: str) -> None:
    assert guess_dialect(ModelConfig.default(spec), Path(name)) == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.pth", r"m\.pth: several dialects fit: torchvision, timm, "),
        ("m.onnx", r"'mobilenetv2 export MODEL m\.onnx' .*; ONNX with .*: dialect='onnx'"),
        ("m.tflite", r"'mobilenetv2 export MODEL m\.tflite' .*: dialect='litert'"),
        ("m.mlpackage", r"for a file that runs, use 'mobilenetv2 export MODEL m\.mlpackage'"),
        ("m", "no checkpoint format.*'huggingface', 'timm' and 'tfjs' write a folder"),
    ],
)
def test_what_cannot_be_guessed_is_asked(name: str, message: str) -> None:
    with pytest.raises(DialectError, match=message):
        guess_dialect(ModelConfig.default(TORCHVISION), Path(name))


def test_a_published_name_is_located_and_a_missing_file_is_none(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilenetv2.weights.locate", lambda name: model)
    assert import_checkpoint("timm-100").config == store.load_config(model)
    for options in ({"labels": ["a"]}, {"rebase": False}, {"size": 96}, {"photos": "x"}):
        with pytest.raises(DialectError, match="is for files; 'weights fetch' gives one"):
            import_checkpoint("timm-100", **options)
    for name in ("net.pth", "folder/net", "slim.tgz"):
        with pytest.raises(WeightsError, match="no such file"):
            import_checkpoint(name)


def test_the_chosen_preprocessing_is_told_and_replaced_by_a_given_one(
    theirs: Path, tmp_path: Path
) -> None:
    file = export_checkpoint(theirs, tmp_path / "m.safetensors", dialect="torchvision").paths[0]
    stored = store.load(theirs)[0].preprocessing
    imported = import_checkpoint(file)
    assert imported.config.preprocessing == stored
    assert "its config says so" in imported.to_dict()["preprocessing"]
    assert imported.config.origin is not None and imported.config.origin.preprocessing == ""
    file.with_name("m.safetensors.json").unlink()
    usual = import_checkpoint(file, size=64)
    assert "says nothing" in usual.preprocessing and "torchvision" in usual.preprocessing
    for given, fit, std in (
        ("0..1", "cover", 255.0),
        ("keras", "stretch", 127.5),
        (Preprocessing(std=(9.0,) * 3), "cover", 9.0),
        (theirs, "cover", stored.std[0]),
        ("torchvision-v2", "cover", 58.395),
    ):
        found = import_checkpoint(file, size=64, preprocessing=given)
        assert (found.config.preprocessing.fit, found.config.preprocessing.std[0]) == (fit, std)
        assert found.config.preprocessing.size == (64, 64)
    found = import_checkpoint(file, size=64, preprocessing="torchvision-v2", resize="none")
    assert found.to_dict()["fit"] == "none" and "none was given" in found.to_dict()["preprocessing"]


def test_the_reason_travels_with_the_model(theirs: Path, tmp_path: Path) -> None:
    """A folder, its card, an exported checkpoint's sidecar and a file that runs keep it."""
    file = export_checkpoint(theirs, tmp_path / "m.safetensors", dialect="torchvision").paths[0]
    file.with_name("m.safetensors.json").unlink()
    folder = tmp_path / "mine"
    why = import_checkpoint(file, size=64, preprocessing="0..1", output=folder).preprocessing
    assert why in (folder / "README.md").read_text("utf-8")
    for name, dialect in (("two.safetensors", "timm"), ("two.onnx", "onnx")):
        again = export_checkpoint(folder, tmp_path / name, dialect=dialect).paths[0]
        config = import_checkpoint(again, rebase=False).config
        assert config.preprocessing == store.load(folder)[0].preprocessing
        assert config.origin is not None and config.origin.preprocessing == why


def test_a_mistaken_preprocessing_is_told_before_the_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "m.pth"
    file.write_bytes(b"not read")
    with pytest.raises(DialectError, match=r"'kears' is neither .* did you mean 'keras'"):
        import_checkpoint(file, preprocessing="kears")
    with pytest.raises(DialectError, match="preprocessing is for files"):
        import_checkpoint("timm-100", preprocessing="keras")
