"""Parquet files with photos inside: those of Hugging Face, ours, damaged and hostile ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mobilenetv2 as mn
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.tables import inside
from mobilenetv2.data.tables.inside import holds_photos, parquet_files
from mobilenetv2.errors import DataError

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra: parquet)")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

Png = Callable[[int], bytes]
IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def write(
    path: Path, photos: list[Any], labels: list[Any], kind: Any = IMAGE, names: Any = None,
    label: Any = None, columns: tuple[str, str] = ("image", "label"), **options: Any,
) -> Path:  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = [(columns[0], kind), (columns[1], label or pyarrow.int64())]
    schema = pyarrow.schema(fields)
    if names is not None:
        features = {columns[1]: {"names": names, "_type": "ClassLabel"}}
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    table = pyarrow.Table.from_pydict(dict(zip(columns, (photos, labels), strict=True)), schema)
    parquet.write_table(table, path, **options)
    return path


def photos(png: Png, count: int = 4) -> list[dict[str, Any]]:
    return [{"bytes": png(number), "path": None} for number in range(count)]


def counts(place: Path) -> dict[str, dict[str, int]]:
    return {name: split.counts for name, split in mn.data_info(place).splits.items()}


def test_a_file_as_hugging_face_writes_it(tmp_path: Path, png: Png) -> None:
    path = write(tmp_path / "a.parquet", photos(png), [0, 1, 1, 0], names=["hat", "shoe"])
    assert counts(path) == {"all": {"hat": 2, "shoe": 2}}
    dataset = open_dataset(path)
    split = dataset.splits["all"]
    assert [photo.name for photo in split.photos] == [
        f"a/00000000{row}.png" for row in (0, 3, 1, 2)
    ]
    assert [split.source.read(photo.name) for photo in split.photos] == [
        png(row) for row in (0, 3, 1, 2)
    ]
    assert mn.data_info(path).bytes == sum(len(png(row)) for row in range(4))


def test_a_folder_with_files_for_each_split(tmp_path: Path, png: Png) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "README.md").write_text("# Card")
    for name, labels in (
        ("train-00000-of-00002", [0, 1]), ("train-00001-of-00002", [1]),
        ("test-00000-of-00001", [0]),
    ):  # fmt: skip
        path = tmp_path / "set" / "data" / f"{name}.parquet"
        write(path, photos(png, len(labels)), labels, names=["a", "b"])
    assert counts(tmp_path / "set") == {"train": {"a": 1, "b": 2}, "test": {"a": 1, "b": 0}}


@pytest.mark.parametrize(
    ("kind", "column", "label", "values"),
    [
        (pyarrow.binary(), "image", pyarrow.string(), ["a", "b", "b", "a"]),
        (pyarrow.large_binary(), "img", pyarrow.int32(), [3, 4, 4, 3]),
        (
            pyarrow.binary(),
            "jpg",
            pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
            list("abba"),
        ),
    ],
)
def test_other_columns_of_photos_and_labels(
    tmp_path: Path, png: Png, kind: Any, column: str, label: Any, values: list[Any]
) -> None:
    data = [png(number) for number in range(4)]
    path = write(tmp_path / "a.parquet", data, values, kind, None, label, (column, "label"))
    assert [*counts(path)["all"].values()] == [2, 2]


def test_ours_is_read_back_with_names_and_splits(photos_in_splits: Path, tmp_path: Path) -> None:
    made = mn.shard(photos_in_splits, tmp_path / "out", format="parquet", megabytes=1)
    assert made.kind == "parquet"
    one, two = open_dataset(photos_in_splits), open_dataset(tmp_path / "out")
    assert {n: s.photos for n, s in one.splits.items()} == {
        name: split.photos for name, split in two.splits.items()
    }
    for name, split in one.splits.items():
        for photo in split.photos:
            assert split.source.read(photo.name) == two.splits[name].source.read(photo.name)


@pytest.fixture
def photos_in_splits(photo_folder: Callable[[Path, int], Path], tmp_path: Path) -> Path:
    for split, count in (("train", 6), ("test", 3)):
        photo_folder(tmp_path / "data" / split, count)
    return tmp_path / "data"


def test_prediction_takes_them_labelled_or_not(tmp_path: Path, png: Png, model: Path) -> None:
    path = write(tmp_path / "a.parquet", photos(png), [0, 1, None, 0])
    answers = [*mn.predict(path, model)]
    assert len(answers) == 4 and not any(answer.error for answer in answers)
    schema = pyarrow.schema([("image", IMAGE)])
    table = pyarrow.Table.from_pydict({"image": photos(png)}, schema)
    parquet.write_table(table, tmp_path / "b.parquet")
    assert len([*mn.predict(tmp_path / "b.parquet", model)]) == 4
    with pytest.raises(DataError, match="no column of labels"):
        open_dataset(tmp_path / "b.parquet")


def test_rows_without_a_photo_or_a_label_are_counted(tmp_path: Path, png: Png) -> None:
    cells = [*photos(png, 3), None, {"bytes": None, "path": "x.png"}, {"bytes": b"", "path": ""}]
    path = write(tmp_path / "a.parquet", cells, [0, 1, None, 0, 1, 1])
    dataset = open_dataset(path)
    assert len(dataset.splits["all"]) == 2
    assert any("4 rows without a photo or a label" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        (["x/1.png", "y/2.png"], True),
        (["1.png", "1.png"], False),
        (["../1.png", "2.png"], False),
        (["/etc/1.png", "2.png"], False),
        (["1.txt", "2.png"], False),
        (["", "2.png"], False),
    ],
)
def test_own_names_are_kept_where_they_are_names_of_photos(
    tmp_path: Path, png: Png, own: list[str], kept: bool
) -> None:
    cells = [{"bytes": png(at), "path": name} for at, name in enumerate(own)]
    path = write(tmp_path / "a.parquet", cells, [0, 1])
    names = {photo.name for photo in open_dataset(path).splits["all"].photos}
    assert (names == {*own}) == kept and len(names) == 2
    assert all(".." not in name and not name.startswith("/") for name in names)


def test_patterns_pass_photos_over(tmp_path: Path, png: Png) -> None:
    cells = [{"bytes": png(at), "path": f"{'ab'[at % 2]}/{at}.png"} for at in range(4)]
    path = write(tmp_path / "a.parquet", cells, [0, 1, 0, 1])
    assert counts_of(path, "a") == {"1": 2}
    with pytest.raises(DataError, match="passes over all"):
        open_dataset(path, ignore="*")


def counts_of(path: Path, ignore: str) -> dict[str, int]:
    return mn.data_info(path, ignore=ignore).splits["all"].counts


@pytest.mark.parametrize("names", [["a"], ["a", ""], ["a", 5], "ab", {"x": 1}])
def test_labels_that_are_no_class_are_refused(tmp_path: Path, png: Png, names: Any) -> None:
    path = write(tmp_path / "a.parquet", photos(png, 2), [0, 1], names=names)
    if isinstance(names, list):
        with pytest.raises(DataError, match=r"none of its 1 classes|a class without a name"):
            open_dataset(path)
    else:
        assert counts(path) == {"all": {"0": 1, "1": 1}}


def test_damaged_files_are_one_sentence(tmp_path: Path, png: Png) -> None:
    path = write(tmp_path / "a.parquet", photos(png), [0, 1, 1, 0])
    data = path.read_bytes()
    for number, damaged in enumerate(
        (data[: len(data) // 2], b"PAR1" + bytes(100) + b"PAR1", data[:-8] + b"\xff" * 4 + b"PAR1",
         bytes(range(256)) + data[256:])
    ):  # fmt: skip
        (tmp_path / f"{number}.parquet").write_bytes(damaged)
        try:
            split = open_dataset(tmp_path / f"{number}.parquet").splits["all"]
            assert all(split.source.read(photo.name) for photo in split.photos)
        except DataError as error:
            assert "\n" not in str(error)


def test_what_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "SMALL", 10_000)
    cells = [{"bytes": bytes(100_000), "path": None}] * 40
    path = write(tmp_path / "a.parquet", cells, [0, 1] * 20, compression="zstd")
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="more than it should hold"):
        open_dataset(path)


def test_the_temporary_file_is_closed_with_the_source(tmp_path: Path, png: Png) -> None:
    path = write(tmp_path / "a.parquet", photos(png, 2), [0, 1])
    source = open_dataset(path).splits["all"].source
    assert isinstance(source, inside.InsideSource)
    file = source._file
    del source
    assert file.closed


def test_which_files_are_looked_at(tmp_path: Path, png: Png) -> None:
    path = write(tmp_path / "a.parquet", photos(png, 2), [0, 1])
    assert parquet_files(path) == parquet_files(tmp_path) == [path] and holds_photos(path)
    assert parquet_files(tmp_path / "none.parquet") == []
    (tmp_path / "hat").mkdir()
    assert parquet_files(tmp_path) == []
    table = pyarrow.Table.from_pydict({"image": ["1.jpg"], "label": ["a"]})
    parquet.write_table(table, tmp_path / "b.parquet")
    assert not holds_photos(tmp_path / "b.parquet")
