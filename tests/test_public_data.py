"""The table of public data, and what fetches it, against a server on loopback."""

import dataclasses
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import public_data
import pytest
from public_data import Dataset, contents_sha256, datasets, fetch, find, resolve

from mobilenetv2.errors import MobileNetV2Error

PHOTOS = {
    "train/ball/0000.jpg": b"first", "train/box/0000.jpg": b"second",
    "test/ball/0000.jpg": b"third", "test/ball/0001.jpg": b"fourth",
    "test/box/0000.jpg": b"fifth", "README.md": b"not a photo",
}  # fmt: skip


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def published(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address on loopback that serves it."""
    folder = tmp_path / "published"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def described(name: str, kept: dict[str, bytes], **how: object) -> Dataset:
    count, size, digest = contents_sha256(kept.items())
    return Dataset(name, "a test", "none", "nowhere", count, size, digest, **how)  # type: ignore[arg-type]


def archive_of(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"repository-master/{name}", content)
    return memory.getvalue()


@pytest.fixture
def single(published: tuple[Path, str]) -> Dataset:
    """A dataset of two files, fetched one by one."""
    folder, address = published
    kept = {"labels.txt": b"ball\nbox\n", "n01/n01_ball.jpg": b"a ball"}
    for name, content in kept.items():
        (folder / Path(name).name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in kept.items()}
    return described("single", kept, address=address, files=digests)


def packed(published: tuple[Path, str], zipped: bool, half: dict[str, str]) -> Dataset:
    folder, address = published
    (folder / "master.zip").write_bytes(archive_of(PHOTOS))
    left_out = {"README.md"} | ({"test/ball/0000.jpg"} if half else set())
    kept = {name: content for name, content in PHOTOS.items() if name not in left_out}
    return described(
        "packed", kept, archive=f"{address}master.zip", keep=("train/", "test/"), zipped=zipped,
        half=half,
    )  # fmt: skip


def test_files_are_fetched_one_by_one(single: Dataset, tmp_path: Path) -> None:
    made = fetch(single, tmp_path / "data")
    assert made == tmp_path / "data" / "single"
    assert dict(single.members(made)) == {
        "labels.txt": b"ball\nbox\n", "n01/n01_ball.jpg": b"a ball",
    }  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True])
def test_an_archive_gives_the_folders_that_belong(
    zipped: bool, published: tuple[Path, str], tmp_path: Path
) -> None:
    made = fetch(packed(published, zipped, {}), tmp_path / "data")
    assert sorted(path.name for path in made.iterdir()) == (
        ["test.zip", "train.zip"] if zipped else ["test", "train"]
    )


def test_half_of_the_test_photos_is_chosen_by_number(
    published: tuple[Path, str], tmp_path: Path
) -> None:
    dataset = packed(published, True, {"ball": "2", "box": "1"})
    names = [name for name, _ in dataset.members(fetch(dataset, tmp_path / "data"))]
    assert [name for name in names if name.startswith("test/")] == [
        "test/ball/0001.jpg", "test/box/0000.jpg",
    ]  # fmt: skip


def test_a_wrong_file_is_not_kept(
    single: Dataset, published: tuple[Path, str], tmp_path: Path
) -> None:
    (published[0] / "labels.txt").write_bytes(b"changed")
    with pytest.raises(MobileNetV2Error, match=r"labels\.txt.*SHA-256"):
        fetch(single, tmp_path / "data")
    assert not (tmp_path / "data" / "single").exists()


def test_an_archive_with_something_else_is_not_kept(
    published: tuple[Path, str], tmp_path: Path
) -> None:
    dataset = packed(published, False, {})
    (published[0] / "master.zip").write_bytes(archive_of({**PHOTOS, "train/box/0.jpg": b"more"}))
    with pytest.raises(MobileNetV2Error, match=r"6 files.*5 of"):
        fetch(dataset, tmp_path / "data")
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_an_archive_that_unpacks_to_far_more_is_refused(
    published: tuple[Path, str], tmp_path: Path
) -> None:
    dataset = packed(published, False, {})
    (published[0] / "master.zip").write_bytes(archive_of({"train/box/0.jpg": bytes(100_000)}))
    with pytest.raises(MobileNetV2Error, match="100,000 bytes"):
        fetch(dataset, tmp_path / "data")


def test_what_has_arrived_is_not_fetched_again(
    single: Dataset, published: tuple[Path, str], tmp_path: Path
) -> None:
    ball = published[0] / "n01_ball.jpg"
    ball.rename(tmp_path / "away")
    with pytest.raises(MobileNetV2Error, match="n01_ball"):
        fetch(single, tmp_path / "data")
    (tmp_path / "away").rename(ball)
    (published[0] / "labels.txt").unlink()
    fetch(single, tmp_path / "data")


def test_an_incomplete_folder_is_not_replaced(single: Dataset, tmp_path: Path) -> None:
    (tmp_path / "data" / "single").mkdir(parents=True)
    with pytest.raises(MobileNetV2Error, match="lacks some of its files"):
        fetch(single, tmp_path / "data")


def test_the_command_fetches_what_is_missing_and_says_what_it_cannot(
    single: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    gone = dataclasses.replace(
        single, name="gone", files={"nothing.jpg": "0" * 64}, page="https://example.org/gone"
    )
    monkeypatch.setattr(public_data, "datasets", lambda _=None: {"single": single, "gone": gone})
    monkeypatch.setenv("MOBILENETV2_DATA", str(tmp_path / "mine"))
    assert public_data.main([]) == 1
    out, err = capsys.readouterr()
    assert str(tmp_path / "mine" / "single") in out
    for word in ("gone", "https://example.org/gone", str(tmp_path / "mine" / "gone")):
        assert word in err
    assert public_data.main(["single"]) == 0
    assert "single: is in" in capsys.readouterr().out


def test_a_missing_dataset_names_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENETV2_DATA", str(tmp_path))
    with pytest.raises(public_data.MissingData) as caught:
        find("clothing")
    for word in ("clothing", "make data", "MOBILENETV2_DATA", datasets()["clothing"].page):
        assert word in str(caught.value)


def test_the_checkouts_own_folder_comes_before_the_one_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MOBILENETV2_DATA", raising=False)
    own, beside = public_data.places()
    assert own == public_data.ROOT / "data"
    assert beside.parent.parent == public_data.ROOT.parent


def test_a_path_inside_a_dataset_is_resolved_and_any_other_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILENETV2_DATA", str(tmp_path))
    for folder in ("train", "validation"):
        (tmp_path / "clothing" / folder).mkdir(parents=True)
    assert resolve("clothing/train") == str(tmp_path / "clothing" / "train")
    assert resolve("my/photos") == "my/photos"


@pytest.mark.parametrize("name", datasets())
def test_the_table_says_all_of_a_dataset(name: str) -> None:
    row = datasets()[name]
    assert row.what and row.licence and row.page.startswith("https://")
    assert len(row.sha256) == 64 and row.count and row.size
    assert bool(row.files) != bool(row.archive)
    assert all(len(digest) == 64 for digest in row.files.values())
    assert len(row.files) in (0, row.count)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "cifar10" else [])
        for name in datasets()
    ],
)
def test_what_is_here_is_what_the_table_says(name: str) -> None:
    row = datasets()[name]
    try:
        folder = find(name)
    except public_data.MissingData as missing:
        pytest.skip(str(missing))
    assert contents_sha256(row.members(folder)) == (row.count, row.size, row.sha256)
