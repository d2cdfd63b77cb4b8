"""The index of shards: written and read back, and refused where it says what no index may say."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.data.shards import index as module
from mobilenetv2.data.shards.index import (
    Index,
    Shard,
    first_line,
    is_index,
    read_index,
    read_shards,
)
from mobilenetv2.errors import DataError

CLASSES = ("hat", "shoe")


def shard(file: str = "train-000000.tar", **changes: Any) -> dict[str, Any]:
    made = {
        "file": file, "split": "train", "bytes": 4096, "sha256": "0" * 64,
        "names": ["hat/1.jpg", "shoe/2.png"], "offsets": [512, 2048], "sizes": [10, 100],
        "labels": [0, 1], "crcs": [7, 2**32 - 1],
    }  # fmt: skip
    return made | changes


def document(*shards: Any, **changes: Any) -> bytes:
    head = {"format": "mobilenetv2-shards", "version": 1, "seed": 0, "classes": list(CLASSES)}
    return json.dumps(head | changes | {"shards": list(shards)}).encode()


def read(data: bytes) -> Index:
    return read_index(io.BytesIO(data), "index.json")


def test_an_index_laid_out_otherwise_is_read_as_a_whole() -> None:
    index = read(document(shard()))
    assert index.classes == CLASSES
    assert index.shards[0].names == ("hat/1.jpg", "shoe/2.png")
    assert index.shards[0].crcs.tolist() == [7, 2**32 - 1]
    again = read(json.dumps(json.loads(document(shard())), indent=2).encode())
    assert "".join(again.to_lines()) == "".join(index.to_lines())


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
paths = st.lists(names.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4)


@st.composite
def indices(draw: st.DrawFn) -> Index:
    """Indices with any classes, names and numbers."""
    classes = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    photos = draw(st.lists(paths.map("/".join), min_size=1, max_size=12, unique=True))
    photos = [f"{name}x.jpg" for name in photos]
    shards = []
    for number, start in enumerate(range(0, len(photos), 3)):
        inside = tuple(photos[start : start + 3])
        numbers = st.lists(st.integers(0, 1000), min_size=len(inside), max_size=len(inside))
        labels = st.lists(
            st.integers(0, len(classes) - 1), min_size=len(inside), max_size=len(inside)
        )
        shards.append(
            Shard(
                f"all-{number:06}.tar", "all", 5000, f"{number:064x}", inside,
                np.array(draw(numbers), np.int64), np.array(draw(numbers), np.int64),
                np.array(draw(labels), np.int32), np.array(draw(numbers), np.uint32),
            )
        )  # fmt: skip
    return Index(tuple(classes), tuple(shards), draw(st.integers(0, 2**32)))


@given(indices())
def test_what_is_written_is_read_back_as_lines_and_as_json(index: Index) -> None:
    text = "".join(index.to_lines())
    assert is_index(text.encode())
    for data in (text.encode(), json.dumps(json.loads(text), indent=1).encode()):
        found = read(data)
        assert (found.classes, found.seed, len(found)) == (index.classes, index.seed, len(index))
        for one, other in zip(found.shards, index.shards, strict=True):
            assert (one.file, one.names, one.sha256) == (other.file, other.names, other.sha256)
            for name in ("offsets", "sizes", "labels", "crcs"):
                assert np.array_equal(getattr(one, name), getattr(other, name))


@given(indices(), st.data())
def test_a_damaged_index_is_an_error_of_data_or_still_an_index(
    index: Index, data: st.DataObject
) -> None:
    text = bytearray("".join(index.to_lines()).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(text[: data.draw(st.integers(0, len(text)))])
    try:
        found = read(damaged)
    except DataError as error:
        assert str(error).startswith("index.json")
        return
    for one in found.shards:
        assert "/" not in one.file and (one.offsets + one.sizes <= one.bytes).all()
        assert (one.labels < len(found.classes)).all()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside),
    max_leaves=6,
)


@given(st.sampled_from([*shard()]), json_values)
def test_any_value_of_a_key_is_taken_or_refused_in_one_sentence(key: str, value: Any) -> None:
    data = document(shard(**{key: value}))
    try:
        read(data)
    except DataError as error:
        assert str(error).startswith("index.json") and "\n" not in str(error)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": "../train-000000.tar"}, "no name of a shard beside the index"),
        ({"file": "/etc/passwd"}, "no name of a shard"),
        ({"file": "a/b.tar"}, "no name of a shard"),
        ({"file": "..tar"}, "no name of a shard"),
        ({"file": "s3://bucket/x.tar"}, "no name of a shard"),
        ({"file": "train.zip"}, "no name of a shard"),
        ({"split": "secret"}, "none of"),
        ({"bytes": 2000}, "behind the end of the file"),
        ({"bytes": -1}, "no size"),
        ({"bytes": 2**60}, "no size"),
        ({"sha256": "abc"}, "SHA-256"),
        ({"names": ["hat/1.jpg"]}, "different lengths"),
        ({"names": ["hat/1.jpg", "../2.jpg"]}, "no name of a photo"),
        ({"names": ["hat/1.jpg", "/etc/2.jpg"]}, "no name of a photo"),
        ({"names": ["hat/1.jpg", "a\0b.jpg"]}, "no name of a photo"),
        ({"names": ["hat/1.jpg", "a.txt"]}, "no name of a photo"),
        ({"names": ["hat/1.jpg", "\ud800.jpg"]}, "no name of a photo"),
        ({"names": ["hat/1.jpg", "hat/1.jpg"]}, "twice"),
        ({"labels": [0, 2]}, "labels"),
        ({"labels": [0, True]}, "labels"),
        ({"offsets": [0, -5]}, "offsets"),
        ({"offsets": [0, 1.5]}, "offsets"),
        ({"offsets": [0, 10**30]}, "offsets"),
        ({"sizes": [10, 2**31]}, "sizes"),
        ({"crcs": None}, "lacks"),
    ],
)
def test_a_hostile_shard_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(document(shard(**changes)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "index.json"),
        (b"[]", "not a JSON object"),
        (b'{"format": "other"}', "no index of shards"),
        (document(shard(), version=2), "version 2"),
        (document(shard(), classes=[]), "no list of classes"),
        (document(shard(), classes=["a", "a"]), "class twice"),
        (document(shard(), classes=["a", 3]), "no name"),
        (document(shard(), seed="x"), "seed"),
        (document(), "no photos"),
        (document(shard(), shard()), "the shard 'train-000000.tar' twice"),
        (document(shard(), shard("train-000001.tar")), "the photo 'hat/1.jpg' twice"),
        (document().replace(b"[]", b"{}"), "no list of shards"),
        (b"{" + b" " * 100 + b'"format": ' + b"[" * 5000, "index.json"),
    ],
)
def test_a_damaged_document_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(data)


@pytest.mark.parametrize("cut", range(1, 6))
def test_an_index_that_ends_early_is_refused(cut: int) -> None:
    lines = "".join(read(document(shard())).to_lines()).encode()
    with pytest.raises(DataError):
        read(lines[: len(lines) * cut // 6])


def test_a_line_without_end_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_JSON", 1000)

    class Endless:
        asked = 0

        def readline(self, size: int = -1) -> bytes:
            self.asked = max(self.asked, size)
            return b" " * size

    endless = Endless()
    with pytest.raises(DataError, match="more than 1,000 bytes"):
        read_index(endless, "index.json")
    assert endless.asked == 1001


def test_a_large_index_needs_a_line_for_each_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    index = read(document(shard()))
    monkeypatch.setattr(module, "LARGEST_JSON", 300)
    lines = "".join(index.to_lines())
    assert len(lines) > 300 > max(map(len, lines.splitlines()))
    assert len(read(lines.encode())) == 2
    with pytest.raises(DataError, match="not one line for each shard"):
        read(lines.replace(",", ",\n").encode())


@pytest.mark.parametrize("change", [lambda line: line, lambda line: line[:-7], lambda line: ""])
def test_lines_of_a_killed_run_are_read_up_to_one_that_is_cut(
    change: Callable[[str], str],
) -> None:
    whole = f"{read(document(shard())).shards[0].to_line()}\n"
    found = read_shards(io.BytesIO((whole + change(whole)).encode()), "record", 2)
    assert len(found) == (2 if change(whole) == whole else 1)


def test_what_is_no_index_is_known_by_its_start() -> None:
    assert is_index(first_line(("a",), 0).encode())
    assert is_index(b'{\n  "format":"mobilenetv2-shards"}')
    for other in (b"", b"{}", b'{"model": 1}', b"PK\3\4", b'{"format": "mobilenetv2"}'):
        assert not is_index(other)
