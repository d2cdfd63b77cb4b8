"""Sources of photos: what they list and give, archives of splits among them."""

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mobilenetv2.data import passed_over
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.opening import MODEL, WEIGHTS, find_photos, open_source
from mobilenetv2.data.sources import MemorySource, tree
from mobilenetv2.errors import DataError
from mobilenetv2.model import store

Pack = Callable[[str, Mapping[str, bytes]], Path]

FILES = {
    "b/2.jpg": b"two", "b/10.jpg": b"ten", "a/x/1.jpg": b"one", "ReadMe.txt": b"", "empty/": b"",
}  # fmt: skip
NAMES = ["ReadMe.txt", "a/x/1.jpg", "b/10.jpg", "b/2.jpg", "a/", "a/x/", "b/", "empty/"]
KINDS = ("folder", "zip", "tar")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_and_its_archives_have_the_same_names_and_bytes(pack: Pack, kind: str) -> None:
    source = open_source(pack(kind, FILES))
    assert source.names() == NAMES
    assert {n: source.read(n) for n in NAMES[:4]} == {n: FILES[n] for n in NAMES[:4]}


def test_a_tree_has_the_folders_of_photos_and_empty_ones() -> None:
    root = tree(["a/x/1.jpg", "b/2.jpg", "3.jpg", "a/x/4.jpg"], ["c/d/", "a/"])
    assert (root.count, root.photos, [f.path for f in root.below()]) == (4, ["3.jpg"], ["a", "b"])
    assert [*root.folders] == ["c", "a", "b"] and root.folders["c"].folders["d"].path == "c/d"
    assert root.folders["a"].all_photos() == ["a/x/1.jpg", "a/x/4.jpg"]
    assert root.holders() == {"a/x", "b"} and root.folders["a"].holders() == {"x"}


def test_a_set_in_memory_has_them_too_but_for_empty_folders() -> None:
    source = MemorySource("memory", {n: d for n, d in FILES.items() if not n.endswith("/")})
    assert source.names() == NAMES[:-1]
    assert source.read("b/2.jpg") == b"two"


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_files_and_what_macs_leave_are_passed_over(pack: Pack, kind: str) -> None:
    litter = ("a/.DS_Store", "a/._1.jpg", "__MACOSX/a/1.jpg", ".git/x/1.jpg", ".idea/", "__MACOSX/")
    files = {"a/1.jpg": b"1", "__MACOSX.jpg": b"2", **dict.fromkeys(litter, b"")}
    assert open_source(pack(kind, files)).names() == ["__MACOSX.jpg", "a/1.jpg", "a/"]


def test_a_tar_made_with_a_leading_dot_has_plain_names(tmp_path: Path, pack: Pack) -> None:
    with tarfile.open(tmp_path / "dot.tar", "w") as archive:
        archive.add(pack("folder", FILES), ".")
    with tarfile.open(tmp_path / "dot-slash.tar", "w") as archive:
        for name in ("./", "./a/", "./a/1.jpg"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(member)
    assert open_source(tmp_path / "dot.tar").names() == NAMES
    assert open_source(tmp_path / "dot-slash.tar").names() == ["a/1.jpg", "a/"]


def test_links_are_followed_with_a_note_on_those_that_lead_elsewhere(
    tmp_path: Path, pack: Pack
) -> None:
    folder, pool = pack("folder", {"a/1.jpg": b"one"}), pack("folder", {"c/2.jpg": b"two"})
    (folder / "a/outside.jpg").symlink_to(pool / "c/2.jpg")
    (folder / "a/inside.jpg").symlink_to("1.jpg")
    (folder / "a/loop.jpg").symlink_to("loop.jpg")
    (folder / "a/gone.jpg").symlink_to("none.jpg")
    (folder / "b").symlink_to(pool / "c", target_is_directory=True)
    (pool / "c/again").symlink_to(folder, target_is_directory=True)
    (pool / "c/above").symlink_to("/", target_is_directory=True)
    source = open_source(folder)
    files = [name for name in source.names() if not name.endswith("/")]
    assert files == ["a/1.jpg", "a/inside.jpg", "a/outside.jpg", "b/2.jpg"]
    assert [source.read(name) for name in files] == [b"one", b"one", b"two", b"two"]
    assert source.passed.names == {
        passed_over.BROKEN: ["a/gone.jpg", "a/loop.jpg"],
        passed_over.AGAIN: ["b/above/", "b/again/"],
    }
    assert source.notes == ["2 links that lead out of the folder followed (first: a/outside.jpg)"]


def test_folders_that_a_disk_does_not_number_are_all_read(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pack("folder", {"a/1.jpg": b"1", "b/2.jpg": b"2"})
    (folder / "c").symlink_to("a", target_is_directory=True)
    real = Path.stat

    def unnumbered(path: Path, **options: bool) -> os.stat_result:
        status = list(real(path, **options))
        return os.stat_result([status[0], 0, *status[2:]])

    monkeypatch.setattr(Path, "stat", unnumbered)
    assert open_source(folder).names()[:3] == ["a/1.jpg", "b/2.jpg", "c/1.jpg"]


def test_a_folder_is_read_once_whichever_links_lead_to_it(pack: Pack) -> None:
    folder = pack("folder", {"a/1.jpg": b"1", "b/x/2.jpg": b"2"})
    (folder / "a/loop").symlink_to("..", target_is_directory=True)
    (folder / "0").symlink_to("b", target_is_directory=True)  # comes first, and gives way
    source = open_source(folder)
    assert source.names() == ["a/1.jpg", "b/x/2.jpg", "a/", "b/", "b/x/"]
    assert source.passed.names == {passed_over.AGAIN: ["0/", "a/loop/"]}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_of_an_archive_never_touch_the_disk(
    tmp_path: Path, pack: Pack, kind: str
) -> None:
    place = pack(kind, {})
    victim, absolute = place.parent / "victim.jpg", tmp_path / "absolute.jpg"
    victim.write_bytes(b"mine")
    absolute.write_bytes(b"mine")
    names = ("../victim.jpg", "a/../../victim.jpg", str(absolute), f"{tmp_path}/new/1.jpg")
    place = pack(kind, dict.fromkeys(names, b"theirs"))
    before = sorted(tmp_path.rglob("*")), sorted(place.parent.rglob("*"))
    source = open_source(place)
    files = [name for name in source.names() if not name.endswith("/")]
    assert {name.lstrip("/") for name in files} == {name.lstrip("/") for name in names[2:]}
    assert {source.read(name) for name in files} == {b"theirs"}
    assert (sorted(tmp_path.rglob("*")), sorted(place.parent.rglob("*"))) == before
    assert victim.read_bytes() == absolute.read_bytes() == b"mine"


def test_links_and_devices_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with tarfile.TarFile(tmp_path / "links.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            member = tarfile.TarInfo(f"a/{kind!r}.jpg")
            member.type, member.linkname = kind, str(tmp_path / "secret.jpg")
            archive.addfile(member)
        archive.addfile(tarfile.TarInfo("a/1.jpg"))
    assert open_source(tmp_path / "links.tar").names() == ["a/1.jpg", "a/"]


def test_what_is_not_there_or_not_an_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder or archive"):
        open_source(tmp_path / "nowhere")
    for name in ("photos.rar", "photos.7z", "photo.jpg"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(DataError, match=rf"{name}: neither a folder nor an archive \(\.zip,"):
            open_source(tmp_path / name)
    (tmp_path / "a.ZIP").write_bytes(b"")
    with pytest.raises(DataError, match="damaged zip"):
        open_source(tmp_path / "a.ZIP")


def test_a_zip_tells_folders_from_files_with_no_entry_for_them(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/b/c/1.jpg", b"1")
    (tmp_path / "deep.zip").write_bytes(file.getvalue())
    assert open_source(tmp_path / "deep.zip").names() == ["a/b/c/1.jpg", "a/", "a/b/", "a/b/c/"]


@pytest.fixture
def unpacked(photos: Path, tmp_path: Path) -> Path:
    """The photos as train/ and test/."""
    for name in ("train", "test"):
        shutil.copytree(photos, tmp_path / "unpacked" / name)
    return tmp_path / "unpacked"


def pack(source: Path, target: Path, folder: str = "") -> None:
    target.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, folder + path.relative_to(source).as_posix())


@pytest.mark.parametrize("folder", ["", "{}/", "cifar10-{}/", "cifar10/{}/"])
def test_they_are_read_as_if_unpacked(unpacked: Path, tmp_path: Path, folder: str) -> None:
    packed = tmp_path / "packed"
    for name in ("train", "test"):
        pack(unpacked / name, packed / f"{name}.zip", folder.format(name))
    (packed / "README.txt").write_text("where it comes from")
    expected, found = open_dataset(unpacked), open_dataset(packed)
    assert found.classes == expected.classes and list(found.splits) == ["train", "test"]
    for name, split in expected.splits.items():
        assert [p.name for p in found.splits[name].photos] == [p.name for p in split.photos]
        photo = split.photos[5]
        assert found.splits[name].source.read(photo.name) == split.source.read(photo.name)
        assert found.splits[name].image(photo).tobytes() == split.image(photo).tobytes()


def test_a_folder_of_photos_stays_one(unpacked: Path) -> None:
    pack(unpacked / "test", unpacked / "test.zip")
    found = open_dataset(unpacked)
    assert list(found.splits) == ["train", "test"] and len(found.ignored) == 1


def test_a_damaged_archive_is_named(unpacked: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    pack(unpacked / "train", packed / "train.zip")
    (packed / "test.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"test\.zip: damaged zip archive"):
        open_dataset(packed)


def test_a_licence_beside_the_classes_and_other_archives_change_nothing(
    unpacked: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed"
    for name in ("train", "test"):
        pack(unpacked / name, packed / f"{name}.zip", f"{name}/")
        with zipfile.ZipFile(packed / f"{name}.zip", "a") as archive:
            archive.writestr("LICENSE.txt", "free")
    (packed / "notes.zip").write_bytes(b"")
    found = open_dataset(packed)
    assert found.classes == ("ball", "box", "triangle") and len(found.ignored) == 2


def test_two_archives_of_one_split_are_an_error(unpacked: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    pack(unpacked / "train", packed / "train.zip")
    (packed / "Train.tar").write_bytes(b"")
    with pytest.raises(DataError, match="has several archives named 'train'; keep one of them"):
        open_dataset(packed)


def test_folders_give_their_photos_at_any_depth_in_order(photos: Path) -> None:
    one = photos / "box" / "03.jpg"
    found = find_photos([str(one), str(photos)])
    assert found[0] == one and len(found) == 37
    assert found[1:] == sorted(found[1:])


def test_what_is_not_there_and_folders_without_photos_are_named_in_one_message(
    photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"none: no such photo or folder$"):
        find_photos([str(photos / "none")])
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match=r"a: no photos in this folder$"):
        find_photos([tmp_path / "a"])
    (tmp_path / "b").mkdir()
    given = [tmp_path / name for name in ("x.jpg", "a", "y.jpg", "b")]
    with pytest.raises(DataError) as caught:
        find_photos([*given, photos])
    x, a, y, b = given
    assert str(caught.value) == (
        f"{x} and {y}: no such photo or folder; {a} and {b}: no photos in these folders"
    )


def test_a_run_or_a_model_where_photos_are_expected_is_asked_about(
    trained: Path, model: Path
) -> None:
    with pytest.raises(DataError) as caught:
        find_photos([trained])
    best = trained / "best"
    assert str(caught.value) == (
        f"{trained}: a run, not photos; did you mean it as the model: model='{best}'?"
    )
    for folder in (best, model):
        with pytest.raises(DataError, match=f"a model folder, not photos; .*model='{folder}'"):
            find_photos([folder])
    assert (MODEL, WEIGHTS) == (store.CONFIG, store.WEIGHTS)
