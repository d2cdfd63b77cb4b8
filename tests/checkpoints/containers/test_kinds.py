"""Every recognisable kind of file has one sentence that says what to do, also in the docs."""

import json
import re
import struct
import time
import zipfile
from pathlib import Path

import pytest

from mobilenetv2.checkpoints.containers import bounds, kinds
from mobilenetv2.checkpoints.containers.kinds import KINDS, recognise, sentence

DOCS = Path(__file__).parents[3] / "docs" / "weights.md"
MARK = "<!-- kinds of files that are not read: {} -->"


def hdf5(end: int) -> bytes:
    """Return a superblock of version 0 with an end of file."""
    return (
        b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(24) + struct.pack("<Q", end)
    )


def safetensors(count: int, end: float = 36) -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, end]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(count)


FILES: list[tuple[str, bytes, str | None]] = [
    ("a.pth", b"", "empty"),
    ("a.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "lfs"),
    ("a.tflite", b"<!DOCTYPE html><html></html>", "page"),
    ("a.h5", b"\n <HTML><body>", "page"),
    ("a.xml", b"<?xml version='1.0'?>\n<net name='n' version='11'>", "openvino"),
    ("a.xml", b"<?xml version='1.0'?><feed>", "page"),
    ("a.jpg", b"\xff\xd8\xff\xe0", "picture"),
    ("a.prototxt", b"name: 'n'\nlayer {\n}", "caffe"),
    ("net.txt", b'name: "n"\ninput: "data"\n', "caffe"),
    ("a.caffemodel", b"\x0a\x05", "caffe"),
    ("a.mlmodel", b"\x08\x04", "coreml"),
    ("a.pte", b"\x1c\x00\x00\x00ET12", "executorch"),
    ("a.pb", b"\n\x0f", "frozen"),
    ("saved_model.pb", b"\x08\x01", "savedmodel"),
    ("a.meta", b"\n\x0f", "tf-meta"),
    (
        "model.json",
        b'{"format": "graph-model", "modelTopology": {}}',
        "tfjs-graph",
    ),
    (
        "model.json",
        b'{"modelTopology": {}, "weightsManifest": []}',
        "tfjs-layers",
    ),
    ("a.json", json.dumps({"class_name": "Functional", "config": {}}).encode(), "architecture"),
    ("a.yaml", b"backend: tensorflow\nclass_name: Functional\n", "architecture"),
    ("model.safetensors.index.json", b'{"metadata": {}, "weight_map": {}}', "index"),
    ("config.json", b'{"model_type": "mobilenet_v2"}', "config"),
    ("a-symbol.json", b'{"nodes": [], "arg_nodes": []}', "mxnet"),
    ("a.json", b"[1, 2]", "json"),
    ("a.param", b"7767517\n1 1\n", "ncnn"),
    ("a.mnn", b"\x20\x00", "mnn"),
    ("a.ort", b"\x20\x00\x00\x00ORTM", "ort"),
    ("a.pdmodel", b"\x0a", "paddle"),
    ("a.params", struct.pack("<QQ", 0x112, 0), "mxnet"),
    ("a.weights", struct.pack("<3i", 0, 2, 5), "darknet"),
    ("a.cfg", b"[net]\nbatch=1\n", "darknet"),
    ("a.bin", b"GGUF\x03", "gguf"),
    ("a.msgpack", b"\x81", "flax"),
    ("a.engine", b"ptrt", "engine"),
    ("a.npy", b"\x93NUMPY\x01", "numpy"),
    ("a.mat", b"MATLAB 5.0 MAT-file", "matlab"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c", "archive"),
    ("a.pth", b"PK\x03\x04" + bytes(80), "incomplete"),
    ("a.h5", hdf5(10_000), "incomplete"),
    ("a.h5", hdf5(48), None),
    ("a.safetensors", safetensors(35), "incomplete"),
    ("a.safetensors", safetensors(36), None),
    ("a.safetensors", safetensors(36, end=float("inf")), None),
    ("a.pkl", b"\x80\x02ctorch.nn.modules.container\nSequential\n", "pickled-model"),
    ("a.pth", b"\x80\x02}q\x00.", None),
    ("a.tflite", b"\x1c\x00\x00\x00TFL3...edgetpu-custom-op", "edge-tpu"),
    ("a.tflite", b"\x1c\x00\x00\x00TFL3...", None),
    ("a.onnx", b"\x08\x08\x12\x07pytorch", None),
]
ZIPS: list[tuple[list[str], str | None]] = [
    (["m/code/a.py", "m/constants.pkl", "m/data.pkl"], "torchscript"),
    (["m/archive_format", "m/models/model.json"], "pt2"),
    (["m/data.pkl", "m/version"], None),
    (["config.json", "metadata.json", "model.weights.h5"], None),
    (["a.npy", "b.npy"], "numpy"),
    (["labels.txt", "model.tflite"], "archive"),
    (["x.mlpackage/Manifest.json"], "coreml"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "key"), FILES, ids=[f"{n} {k}" for n, _, k in FILES])
def test_a_file_is_recognised(name: str, data: bytes, key: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    assert recognise(tmp_path / name) == key


@pytest.mark.parametrize(("names", "key"), ZIPS, ids=[str(k) for _, k in ZIPS])
def test_a_zip_is_recognised_by_its_members(
    names: list[str], key: str | None, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"\x80\x02}.")
    assert recognise(tmp_path / "a.zip") == key


@pytest.mark.parametrize("name", ["model.tflite", "m/data.pkl", "model.weights.h5"])
def test_a_zip_with_a_password_is_whole(name: str, tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr(name, b"\x80\x02}.")
    data = bytearray(place.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1  # zipfile writes no encrypted archives
    place.write_bytes(data)
    assert recognise(place) == "password" and "password" in sentence("password")


def test_a_zip_of_another_compression_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}.")
    data = bytearray(place.read_bytes())
    for mark, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(mark) + method] = 97
    place.write_bytes(data)
    assert recognise(place) == "archive"


def test_folders_and_neighbours_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00\x01")
    assert recognise(tmp_path / "a.bin") is None
    (tmp_path / "a.xml").write_bytes(b"<net>")
    assert recognise(tmp_path / "a.bin") == "openvino-weights"
    (tmp_path / "m.mlpackage").mkdir()
    (tmp_path / "s").mkdir()
    assert recognise(tmp_path / "s") is None
    (tmp_path / "s" / "saved_model.pb").write_bytes(b"\x08")
    assert [recognise(tmp_path / name) for name in ("m.mlpackage", "s")] == ["coreml", "savedmodel"]


def test_a_whole_model_is_recognised_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02ctorchvision.models.mobilenetv2\nMobileNetV2\n")
    assert recognise(tmp_path / "a.pth") == "pickled-model"


@pytest.mark.parametrize("end", [b"<net>", b"<feed>", b"<!-- open"])
def test_many_comments_take_no_time(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(b"<?xml version='1.0'?>\n" + b"<!-- a -->\n" * 1000 + end)
    begin = time.perf_counter()
    assert recognise(path) == ("openvino" if end == b"<net>" else "page")
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize("text", [b"# a\n \n" * 9000, b"name: a\n \n" * 6000, b"<?xml " * 9000])
def test_long_beginnings_take_no_time(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text)
    begin = time.perf_counter()
    recognise(path)
    assert time.perf_counter() - begin < 1


def test_a_graph_above_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3...edgetpu-custom-op")
    monkeypatch.setattr(bounds, "LARGEST_GRAPH", 9)
    assert recognise(path) is None


def test_no_sentence_calls_a_file_damaged_and_all_say_what_to_do() -> None:
    for key, kind in KINDS.items():
        assert sentence(key) == kind.sentence
        assert "damaged" not in kind.sentence and not kind.sentence.endswith(".")
        assert re.search(r"[;,:] ", kind.sentence), key


def test_every_kind_that_is_recognised_has_a_sentence() -> None:
    keys = {*kinds.BY_SUFFIX.values(), *(key for _, _, key in kinds.MAGIC)}
    keys |= {key for _, key in kinds.TEXTS} | {key for _, _, key in FILES if key}
    assert keys <= KINDS.keys()


def rows() -> list[str]:
    return [f"| {kind.title} | {kind.sentence} |" for kind in KINDS.values()]


def test_the_documentation_has_the_table() -> None:
    """Its lines are ``rows()``, between the two marks."""
    begin, end = (MARK.format(word) for word in ("begin", "end"))
    text = DOCS.read_text("utf-8")
    assert begin in text and end in text
    table = text.partition(begin)[2].partition(end)[0].strip().splitlines()
    assert table == ["| kind | said |", "|---|---|", *rows()], "\n".join(rows())
