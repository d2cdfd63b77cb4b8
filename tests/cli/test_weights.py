"""``weights``: lists, downloads, imports and exports; what they print and refuse."""

import argparse
import dataclasses
import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from mobilenetv2 import weights as front
from mobilenetv2.checkpoints import importer
from mobilenetv2.checkpoints.exporter import write_checkpoint
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.cli import weights
from mobilenetv2.cli.main import main
from mobilenetv2.errors import DialectError, SpecError, WeightsError
from mobilenetv2.hub import catalogue as published_names
from mobilenetv2.hub import fetching
from mobilenetv2.hub.cache import VARIABLE
from mobilenetv2.hub.catalogue import catalogue, find
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig
from mobilenetv2.weights import labels_given


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cached."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr("mobilenetv2.hub.huggingface.cached", lambda *_: None)


def shown(capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    given = {"dialect": None, "width": None, "sort": "name", "json": False, **options}
    assert weights.run(argparse.Namespace(action="list", **given)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def listed(capsys: pytest.CaptureFixture[str], **options: Any) -> list[dict[str, Any]]:
    entries = json.loads(shown(capsys, json=True, **options))
    assert isinstance(entries, list)
    return entries


@pytest.mark.usefixtures("empty")
def test_a_list_has_everything_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    names = [entry["name"] for entry in listed(capsys)]
    assert names == sorted(catalogue())


@pytest.mark.usefixtures("empty")
def test_json_has_what_the_catalogue_has(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = [entry for entry in listed(capsys, dialect="timm") if entry["width"] == 1.0]
    entry = find("timm-100")
    assert found == {
        "name": "timm-100", "dialect": "timm", "width": 1.0, "size": 224, "classes": 1000,
        "background": None, "top1": entry.top1, "licence": "Apache-2.0",
        "file_size": entry.file_size, "sha256": entry.sha256, "sha256_prefix": None,
        "preprocessing": "timm", "where": entry.where, "file": entry.file, "note": "",
        "verified": True, "cached": False, "default": True,
    }  # fmt: skip


@pytest.mark.parametrize("sort", ["width", "size", "top1", "file_size"])
@pytest.mark.usefixtures("empty")
def test_sorted_with_the_unknown_last(sort: str, capsys: pytest.CaptureFixture[str]) -> None:
    values = [entry[sort] for entry in listed(capsys, sort=sort)]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=sort == "top1")
    assert values[len(known) :] == [None] * (len(values) - len(known))


@pytest.mark.usefixtures("empty")
def test_a_list_is_filtered(capsys: pytest.CaptureFixture[str]) -> None:
    entries = listed(capsys, dialect="d-li14", width=1.0)
    assert {(entry["dialect"], entry["width"]) for entry in entries} == {("d-li14", 1.0)}
    assert len(entries) == 6
    with pytest.raises(WeightsError, match=r"dialect 'tim': none published; did you mean 'timm'"):
        shown(capsys, dialect="tim")
    with pytest.raises(WeightsError, match=r"width 2: none published; there are 0\.5, 1, 1\.1, 1"):
        shown(capsys, dialect="timm", width=2.0)


@pytest.mark.usefixtures("empty")
def test_the_list_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = find("torchvision-v2")
    (tmp_path / entry.name).mkdir()
    (tmp_path / entry.name / str(entry.file)).write_bytes(b"")
    lines = shown(capsys, width=1.0, sort="top1").splitlines()
    rows = {
        line.split()[0]: line.split() for line in lines if line.startswith("  ") and line.strip()
    }
    assert rows["torchvision-v2"] == [
        "torchvision-v2", "1", "224", "1000", "72.15", "14.3", "BSD-3-Clause", "8", "digits", "yes",
    ]  # fmt: skip
    assert rows["timm-100"][-1] == "SHA-256"
    assert rows["tf-slim-1.0-224"][4:] == ["71.80", "-", "Apache-2.0", "unverified"]
    assert rows["keras-1.0-96-notop"][3:6] == ["-", "-", "-"]
    count = len([entry for entry in catalogue().values() if entry.width == 1.0])
    unverified = sum(not e.verified for e in catalogue().values() if e.width == 1.0)
    assert lines[-3] == f"{count} checkpoints; training starts from timm-100"
    assert lines[-2].startswith("embedded is inside the package")
    assert lines[-1].startswith(f"{unverified} are unverified: no checksum is published")
    assert "unverified" not in shown(capsys, dialect="litert").splitlines()[-1]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where 'one' of a catalogue on loopback comes to lie."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "weights.h5").write_bytes(b"weights")
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    where = f"http://127.0.0.1:{server.server_port}/weights.h5"
    entry = dataclasses.replace(find("keras-1.0-224"), name="one", where=where, file="weights.h5")
    monkeypatch.setattr(published_names, "catalogue", lambda: {"one": entry})
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    yield tmp_path / "cache" / "one" / "weights.h5"
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(name: str, as_json: bool = False) -> None:
    assert weights.run(argparse.Namespace(action="fetch", name=name, json=as_json)) == 0


def test_a_download_in_words(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    fetch("one")
    out, err = capsys.readouterr()
    assert out == (
        f"path     {place}\nsha-256  {digest}\nchecked  unverified: none is published; recorded "
        "to compare the next download with\n"
    )
    assert err == ""
    fetch("one")
    out, err = capsys.readouterr()
    assert out.endswith(
        "checked  unverified: none is published; the same as at the first download\n"
    )
    assert err == "found in the cache\n"


def test_a_download_as_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for was_there in (False, True):
        fetch("one", as_json=True)
        out, err = capsys.readouterr()
        assert err == "" and out.count("\n") == 1
        assert json.loads(out) == {
            "name": "one", "path": str(place), "file": str(place),
            "sha256": hashlib.sha256(b"weights").hexdigest(),
            "verified": "first seen" if was_there else "recorded", "cached": was_there,
        }  # fmt: skip


@pytest.mark.parametrize("verified", sorted(fetching.CHECKED))
def test_every_way_of_checking_has_its_words(
    verified: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched = fetching.Fetched("a", Path("f"), Path("f"), "0" * 64, verified, False)  # type: ignore[arg-type]
    monkeypatch.setattr(fetching, "fetch", lambda name: fetched)
    fetch("a")
    words = capsys.readouterr().out.splitlines()[2]
    assert ("unverified" in words) == (verified in ("first seen", "recorded", "nothing"))


def test_an_unknown_name_is_not_fetched(place: Path) -> None:
    with pytest.raises(WeightsError, match="'two' is not in the catalogue"):
        fetch("two")
    assert not place.exists()


@pytest.fixture
def importable(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that reads as the random model: reading itself is tested in its own room."""
    monkeypatch.setattr(importer, "read_checkpoint", lambda *_: store.load(model))
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
        "std": [58.395, 57.12, 57.375], "resize": [32, 32], "fit": "cover",
        "preprocessing": "Pixels as ImageNet's mean and deviation, red first; photos resized to "
        "cover the network's size, centre cropped: its config says so.",
    }  # fmt: skip


def test_in_words_it_names_parameters_labels_and_the_model(
    importable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "import", str(importable), str(tmp_path / "imported")]) == 0
    out, err = capsys.readouterr()
    count = parameters(store.load_config(tmp_path / "imported").spec)
    assert f"parameters     {count:,}\n" in out
    assert "labels         triangle, Ball, box, crate\n" in out
    assert "preprocessing  Pixels as ImageNet's mean" in out
    assert err == f"\nmodel folder: {tmp_path / 'imported'}\n"


@pytest.mark.parametrize(
    ("options", "folded", "rebased_on"),
    [
        ([], False, "built-in photos"),
        (["--photos", "PHOTOS"], False, "given photos"),
        (["--no-rebase"], True, ""),
    ],
)
def test_a_batch_norm_that_came_folded_is_rebased(
    options: list[str], folded: bool, rebased_on: str, model: Path, photos: Path, tmp_path: Path
) -> None:
    file, out = tmp_path / "m.tflite", tmp_path / "m"
    assert main(["weights", "export", str(model), str(file), "--dialect", "litert"]) == 0
    options = [str(photos) if option == "PHOTOS" else option for option in options]
    assert main(["weights", "import", str(file), str(out), *options]) == 0
    origin = store.load_config(out).origin
    assert origin is not None
    assert (origin.folded, origin.rebased_on) == (folded, rebased_on)


def test_an_existing_folder_is_replaced_only_when_asked_and_only_a_model(
    importable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["weights", "import", str(importable), str(tmp_path / "imported")]
    assert main(command) == 0
    (tmp_path / "imported" / "old").write_text("")
    capsys.readouterr()
    assert main(command) == 2
    assert (
        "imported: exists already; choose another path, or give --overwrite"
        in capsys.readouterr().err
    )
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
        ("model.pth", b"PK", "model.pth: an incomplete file"),
        ("model.h5", b"\x89HDF", "model.h5: "),
        ("model.onnx", b"\x08\x07", "model.onnx: "),
        ("model.safetensors", bytes(64), "model.safetensors: "),
        ("notes.txt", b"just a text", "notes.txt: "),
        ("empty.tflite", b"", "empty.tflite: an empty file"),
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


def test_the_body_alone_is_imported_and_gives_features(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = published("torchvision", width=0.1, classes=3, size=(32, 32))
    file, out = tmp_path / "m.safetensors", tmp_path / "out"
    config = ModelConfig.default(spec)
    write_checkpoint(config, random_arrays(spec), "torchvision", file, False, False)
    (tmp_path / "m.safetensors.json").unlink()
    words = ["weights", "import", str(file), str(out), "--body", "--size", "32"]
    assert main([*words, "--strides", "paper"]) == 0
    origin = store.load(out)[0].origin
    assert origin is not None and origin.untrained_classifier
    photo = str(next(photos.glob("*/*")))
    assert main(["predict", photo, "--model", str(out)]) == 2
    assert "--features" in capsys.readouterr().err
    assert main(["predict", photo, "--model", str(out), "--features"]) == 0


def test_strides_are_said_and_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mobilenetv2.checkpoints.containers.safetensors import safetensors_bytes
    from mobilenetv2.checkpoints.dialects.registry import TORCHVISION

    spec = published("torchvision", width=0.1, classes=10)
    file = tmp_path / "m.safetensors"
    file.write_bytes(safetensors_bytes(TORCHVISION.encode(spec, random_arrays(spec))))
    command = ["weights", "import", str(file), str(tmp_path / "out"), "--overwrite"]
    assert main([*command, "--size", "32"]) == 0
    shown = capsys.readouterr()
    assert "--strides paper" in shown.out + shown.err
    assert main([*command, "--strides", "1,1,2,2,2,1,2,1"]) == 0
    assert store.load_config(tmp_path / "out").spec.stem_stride == 1


def test_labels_that_cannot_be_read_are_named(
    importable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latin.txt").write_bytes("Gänseblümchen".encode("latin-1"))
    for name, message in (("latin.txt", "not text in UTF-8"), ("none.txt", "No such file")):
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
    monkeypatch.setattr(front, "locate", lambda name: model)
    out = tmp_path / "out"
    assert main(["weights", "import", "timm-100", str(out)]) == 0
    assert main(["weights", "import", "hf://owner/name", str(out), "--overwrite"]) == 0
    assert store.load_config(out) == store.load_config(model)
    capsys.readouterr()
    capped = refused("weights", "import", "timm-100", tmp_path / "other", "--width", "0.5")
    assert "width is for files; 'weights fetch' gives one" in capped


def test_a_list_of_names_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("background\ncat\n".encode("utf-8-sig"))
    assert labels_given(tmp_path / "names.txt") == Labels(("background", "cat"), background=0)
    for names, error in ((["cat", "cat"], DialectError), ([1, 2], SpecError)):
        with pytest.raises(error):
            labels_given(cast(Any, names))


@pytest.fixture
def shirts(tmp_path: Path) -> Path:
    """A model folder with TensorFlow's numerics."""
    spec = published("tf-slim", width=0.35, classes=4, size=64, background=None)
    store.save(tmp_path / "shirts", ModelConfig.default(spec), random_arrays(spec))
    return tmp_path / "shirts"


def test_it_prints_the_paths_and_what_a_person_should_know(
    shirts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "export", str(shirts), str(tmp_path / "h"), "--dialect",
                 "huggingface"]) == 0  # fmt: skip
    out, _ = capsys.readouterr()
    assert out == f"{tmp_path / 'h'}\n"
    assert read_checkpoint(tmp_path / "h")[0].spec.classes == 4


def test_ignored_numerics_are_measured_on_photos(
    shirts: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_file = tmp_path / "m.safetensors"
    command = ["weights", "export", str(shirts), str(out_file), "--dialect", "timm"]
    assert main([*command, "--ignore-numerics", "--photos", str(photos / "ball"), "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["paths"] == [str(out_file), f"{out_file}.json"]
    assert found["photos"] == 12 and 0 <= found["agreements"] <= 12
    assert found["logits_difference"] > 1e-3
    assert "note: Numerics ignored on the way to timm: padding same -> symmetric" in err
    assert main([*command, "--ignore-numerics", "--overwrite"]) == 0
    assert "numerics ignored: " in (text := capsys.readouterr().err)
    assert " of 2 photos keep their best class" in text  # the two that are built in


def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(
    shirts: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    out = tmp_path / "m.pth"
    assert "give --ignore-numerics to write them all the same" in refused(
        "weights", "export", shirts, out, "--dialect", "torchvision"
    )
    assert "a keras file ends in .weights.h5 or .h5 or .keras" in refused(
        "weights", "export", shirts, out, "--dialect", "keras"
    )
    out.write_bytes(b"mine")
    assert "exists already; choose another path, or give --overwrite" in refused(
        "weights", "export", shirts, out, "--dialect", "timm", "--ignore-numerics"
    )
    assert "nowhere: no such model folder" in refused(
        "weights", "export", "nowhere", out, "--dialect", "timm"
    )
