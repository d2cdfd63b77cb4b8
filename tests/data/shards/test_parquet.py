"""Parquet files with photos inside, as other programs read them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2.data.shards import parquet as module
from mobilenetv2.data.shards.parquet import divided, write_parquet
from mobilenetv2.data.shards.writing import Sample
from mobilenetv2.errors import DataError

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra: parquet)")
reader = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def test_the_columns_and_the_metadata_are_those_of_hugging_face(tmp_path: Path) -> None:
    samples = [Sample(at, f"x/{at}.jpg", at % 2, bytes([at]) * 10) for at in range(5)]
    path = tmp_path / "a.parquet"
    assert [*write_parquet(path, ["hat", "shoe"], samples)] == samples
    table = reader.read_table(path)
    assert table.schema.field("image").type == pyarrow.struct(
        [("bytes", pyarrow.binary()), ("path", pyarrow.string())]
    )
    assert table.to_pylist() == [
        {"image": {"bytes": one.data, "path": one.name}, "label": one.label} for one in samples
    ]
    described = json.loads(table.schema.metadata[b"huggingface"])
    assert described["info"]["features"] == {
        "image": {"_type": "Image"},
        "label": {"names": ["hat", "shoe"], "_type": "ClassLabel"},
    }


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_BYTES", 100)
    samples = [Sample(at, f"{at}.jpg", 0, bytes(40)) for at in range(10)]
    list(write_parquet(tmp_path / "a.parquet", ["a"], samples))
    about = reader.ParquetFile(tmp_path / "a.parquet").metadata
    assert [about.row_group(at).num_rows for at in range(about.num_row_groups)] == [3, 3, 3, 1]


def test_photos_are_divided_by_their_bytes() -> None:
    assert divided([5, 5, 5], 10) == [range(2), range(2, 3)]
    assert divided([50, 5, 50], 10) == [range(1), range(1, 2), range(2, 3)]
    assert divided([], 10) == []


def test_files_are_named_and_divided_as_hugging_face_does(
    png: Callable[[int], bytes], tmp_path: Path
) -> None:
    for number in range(30):
        path = tmp_path / "data" / ("hat" if number % 2 else "shoe") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number) + bytes(60_000))
    out = tmp_path / "out"
    made = mn.shard(tmp_path / "data", out, format="parquet", megabytes=1)
    names = sorted(path.name for path in out.iterdir())
    assert names == ["all-00000-of-00002.parquet", "all-00001-of-00002.parquet"]
    assert made.photos == 30 and made.splits["all"].counts == {"hat": 15, "shoe": 15}
    first = {name: (out / name).read_bytes() for name in names}
    with pytest.raises(DataError, match="exists; overwrite=True"):
        mn.shard(tmp_path / "data", out, format="parquet")
    mn.shard(tmp_path / "data", out, format="parquet", megabytes=1, overwrite=True)
    assert {name: (out / name).read_bytes() for name in names} == first
    (out / "mine.txt").touch()
    with pytest.raises(DataError, match="other files"):
        mn.shard(tmp_path / "data", out, format="parquet", overwrite=True)
    with pytest.raises(DataError, match="for the format tar"):
        mn.shard(tmp_path / "data", tmp_path / "new", format="parquet", resume=True)
    with pytest.raises(DataError, match="among the photos"):
        mn.shard(tmp_path / "data", tmp_path / "data" / "x", format="parquet")
    assert mn.shard(out / "all-00000-of-00002.parquet", tmp_path / "tars").kind == "shards"
