"""What a file is, by its bytes, and what is said of the others."""

from pathlib import Path

import pytest

from mobilenetv2.checkpoints.containers.kind import HDF5, TABLE, prefix_of, recognise
from mobilenetv2.errors import WeightsError

ENTRY = b"PK\x03\x04" + bytes(22)


def member(name: bytes) -> bytes:
    return ENTRY + len(name).to_bytes(2, "little") + b"\0\0" + name


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (HDF5 + bytes(100), "hdf5"),
        (member(b"archive/data.pkl"), "pytorch"),
        (member(b"mobilenet_v2/version"), "pytorch"),
        (member(b"metadata.json"), "keras"),
        (member(b"config.json"), "keras"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "pytorch"),
        (b"\x80\x04}.", "pytorch"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "safetensors"),
        (b"\x1c\0\0\0TFL3" + bytes(50), "litert"),
        (b"anything" + TABLE, "tensorflow"),
        (b"\x1f\x8b\x08" + bytes(50), "tensorflow"),
        (bytes(257) + b"ustar" + bytes(250), "tensorflow"),
    ],
)
def test_content_decides_and_the_name_does_not(tmp_path: Path, content: bytes, kind: str) -> None:
    for name in ("a", "a.h5", "a.pth", "a.onnx"):
        (tmp_path / name).write_bytes(content)
        assert recognise(tmp_path / name) == kind


def test_an_unknown_zip_goes_by_its_name(tmp_path: Path) -> None:
    for name, kind in (("a.keras", "keras"), ("a.pth", "pytorch"), ("b.pth.tar", "pytorch")):
        (tmp_path / name).write_bytes(member(b"whatever"))
        assert recognise(tmp_path / name) == kind
    (tmp_path / "a.zip").write_bytes(member(b"whatever"))
    with pytest.raises(WeightsError, match=r"a\.zip: a zip that is neither .* 'whatever'"):
        recognise(tmp_path / "a.zip")


def test_a_checkpoint_goes_by_its_prefix_and_by_each_of_its_files(tmp_path: Path) -> None:
    for suffix in (".index", ".data-00000-of-00001"):
        (tmp_path / f"model.ckpt-12{suffix}").write_bytes(b"anything")
    for name in ("model.ckpt-12", "model.ckpt-12.index", "model.ckpt-12.data-00000-of-00001", ""):
        assert recognise(tmp_path / name) == "tensorflow"
        assert not name or prefix_of(tmp_path / name) == tmp_path / "model.ckpt-12"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", b"", "an empty file; download it again"),
        ("a.h5", b"version https://git-lfs.github.com/spec/v1\n", "fetch them with: git lfs pull"),
        ("a.bin", b"\n<!doctype html><html>", "a web page, not weights"),
        ("a.h5", b"nothing", "does not begin like a HDF5 file"),
        ("a.safetensors", b"\xff" * 20, "does not begin like a safetensors file"),
        ("a.txt", b"nothing", "not a weights file that is known"),
    ],
)
def test_what_else_it_may_be_is_said(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        recognise(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: no such file"):
        recognise(tmp_path / "none.pth")
