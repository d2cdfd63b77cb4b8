"""Shards: .tar files that other programs read, with the places that their entries say."""

import hashlib
import io
import tarfile
import zlib
from pathlib import Path

import pytest

from mobilenetv2.data.shards import writing
from mobilenetv2.data.shards.index import Shard
from mobilenetv2.data.shards.writing import Sample, room, write_shards

SAMPLES = [
    Sample(number, f"hat/{number}.JPG", number % 3, bytes([number]) * size)
    for number, size in enumerate((1, 511, 512, 513, 5000, 0, 1024))
]


def write(folder: Path, size: int, samples: list[Sample] = SAMPLES) -> list[Shard]:
    done: list[Shard] = []
    assert [*write_shards(folder, "train", samples, size, done=done.append)] == samples
    return done


@pytest.mark.parametrize("size", [1, 9000, 10**6])
def test_pythons_tarfile_reads_what_was_written(tmp_path: Path, size: int) -> None:
    shards = write(tmp_path, size)
    files = sorted(tmp_path.iterdir())
    assert [shard.file for shard in shards] == [file.name for file in files]
    assert len(shards) == {1: len(SAMPLES), 9000: 4, 10**6: 1}[size]
    found = []
    for path, shard in zip(files, shards, strict=True):
        data = path.read_bytes()
        assert (shard.bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        with tarfile.open(path) as archive:
            members = archive.getmembers()
        assert {member.mtime for member in members} == {0}
        for row, name in enumerate(shard.names):
            photo, label = members[2 * row : 2 * row + 2]
            assert photo.name.removesuffix(".jpg") == label.name.removesuffix(".cls")
            offset, photo_bytes = int(shard.offsets[row]), int(shard.sizes[row])
            assert (photo.offset_data, photo.size) == (offset, photo_bytes)
            assert shard.crcs[row] == zlib.crc32(data[offset : offset + photo_bytes])
            label_at = label.offset_data
            assert int(data[label_at : label_at + label.size]) == shard.labels[row]
            found.append((name, data[offset : offset + photo_bytes]))
    assert found == [(sample.name, sample.data) for sample in SAMPLES]


def test_a_full_shard_is_no_larger_than_asked_for(tmp_path: Path) -> None:
    for shard in write(tmp_path, 8000):
        assert shard.bytes <= 8000
    assert room(SAMPLES[0]) == 512 + 512 + 1024


def test_the_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, 5000)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_shard_has_a_bounded_number_of_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_IN_SHARD", 2)
    assert [len(shard) for shard in write(tmp_path, 10**6)] == [2, 2, 2, 1]


def test_an_error_of_the_samples_leaves_whole_shards_only(tmp_path: Path) -> None:
    def failing() -> object:
        yield from SAMPLES[:3]
        raise ValueError("no more")

    done: list[Shard] = []
    with pytest.raises(ValueError, match="no more"):
        list(write_shards(tmp_path, "test", failing(), 1, done=done.append))  # type: ignore[arg-type]
    assert [path.name for path in sorted(tmp_path.iterdir())] == [shard.file for shard in done]
    assert len(done) == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # it closes no file
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_them(tmp_path: Path) -> None:
    webdataset = pytest.importorskip(
        "webdataset", reason="webdataset is not installed (extra: against)"
    )
    (shard,) = write(tmp_path, 10**6)
    url = str(tmp_path / shard.file)
    read = [*webdataset.WebDataset(url, shardshuffle=False).decode().to_tuple("jpg;png", "cls")]
    assert [label for _, label in read] == [sample.label for sample in SAMPLES]
    raw = [*webdataset.WebDataset(url, shardshuffle=False)]
    assert [one["jpg"] for one in raw] == [sample.data for sample in SAMPLES]
    assert io.BytesIO(raw[0]["cls"]).read() == b"0"
