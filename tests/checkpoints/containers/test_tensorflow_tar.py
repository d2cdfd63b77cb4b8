"""Tars of TensorFlow checkpoints: bounds, links, and names that would be paths."""

import io
import tarfile
from pathlib import Path

import pytest

from mobilenetv2.checkpoints.containers.tensorflow import extract_checkpoint
from mobilenetv2.errors import WeightsError

INDEX, DATA = b"index", b"data" * 100


def tar(path: Path, members: list[tarfile.TarInfo | tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                information = tarfile.TarInfo(member[0])
                information.size = len(member[1])
                archive.addfile(information, io.BytesIO(member[1]))
    return path


def checkpoint(stem: str) -> list[tarfile.TarInfo | tuple[str, bytes]]:
    return [(f"{stem}.index", INDEX), (f"{stem}.data-00000-of-00001", DATA), (f"{stem}.meta", b"")]


@pytest.mark.parametrize("name", ["a.tgz", "a.tar"])
@pytest.mark.parametrize("stem", ["model.ckpt", "./a/model.ckpt-12", "../../model", "/model.ckpt"])
def test_a_checkpoint_comes_out_under_names_of_our_own(
    tmp_path: Path, name: str, stem: str
) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = tar(tmp_path / name, [("graph.pb", b"other"), *checkpoint(stem)])
    prefix = extract_checkpoint(path, folder)
    assert prefix == folder / "0"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        "0.index": INDEX, "0.data-00000-of-00001": DATA,
    }  # fmt: skip
    assert sorted(tmp_path.iterdir()) == sorted([folder, path])


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    information = tarfile.TarInfo(name)
    information.type, information.linkname = kind, target
    return information


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_pipes_are_passed_over(tmp_path: Path, kind: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = tar(tmp_path / "a.tar", [link("model.ckpt.index", str(secret), kind)])
    folder = tmp_path / "inner"
    folder.mkdir()
    with pytest.raises(WeightsError, match="a tar with 0 TensorFlow checkpoints"):
        extract_checkpoint(path, folder)
    assert not list(folder.iterdir())


def test_of_two_checkpoints_none_is_taken(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", [*checkpoint("a"), *checkpoint("b")])
    with pytest.raises(WeightsError, match="a tar with 2 TensorFlow checkpoints; unpack it"):
        extract_checkpoint(path, tmp_path)


def test_a_tar_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tgz", [("model.ckpt.data-00000-of-00001", bytes(10**8))])
    with pytest.raises(WeightsError, match="data-00000-of-00001' is declared larger than the file"):
        extract_checkpoint(path, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tgz"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not a tar", "same name twice"])
def test_a_damaged_tar_is_an_error(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    path = tar(tmp_path / "a.tgz", checkpoint("model"))
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[:60])
    elif damage == "flipped":
        path.write_bytes(content[:40] + bytes(byte ^ 0xFF for byte in content[40:]))
    elif damage == "not a tar":
        path.write_bytes(b"\x1f\x8bnothing")
    else:
        tar(path, checkpoint("model") * 2)
    with pytest.raises(WeightsError, match="damaged tar file"):
        extract_checkpoint(path, folder)
