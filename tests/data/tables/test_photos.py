"""Datasets whose classes stand in a table: given by itself, in a folder, in an archive."""

import csv
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilenetv2.data import sources
from mobilenetv2.data.dataset import Dataset, open_dataset
from mobilenetv2.data.scan import check_dataset
from mobilenetv2.data.tables import photos as table_photos
from mobilenetv2.errors import DataError, ImageError, MobileNetV2Error
from mobilenetv2.images.decode import Limits

Png = Callable[[int], bytes]


@pytest.fixture
def folder(tmp_path: Path, png: Png) -> Path:
    """Six photos in a folder ``images``, 0.png to 5.png."""
    (tmp_path / "data" / "images").mkdir(parents=True)
    for number in range(6):
        (tmp_path / "data" / "images" / f"{number}.png").write_bytes(png(number))
    return tmp_path / "data"


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def found(data: Dataset) -> dict[str, dict[str, str]]:
    """Class of each photo, by split."""
    return {
        name: {photo.name: split.classes[photo.label] for photo in split.photos}
        for name, split in data.splits.items()
    }


def test_a_table_given_by_itself_names_photos_relative_to_it(folder: Path, png: Png) -> None:
    table = write(folder / "t.csv", "filename,label", "images/0.png,hat", r"images\1.png,shoe")
    data = open_dataset(table)
    assert (data.place, data.classes) == (str(table), ("hat", "shoe"))
    assert found(data) == {"all": {"images/0.png": "hat", "images/1.png": "shoe"}}
    split = data.splits["all"]
    assert split.source.read("images/1.png") == png(1)
    assert split.full_name(split.photos[0]) == str(folder / "images" / "0.png")
    assert data.notes == ()


def test_a_table_given_by_itself_may_name_photos_anywhere(folder: Path, tmp_path: Path) -> None:
    away = tmp_path / "tables"
    places = [f"{folder}/images/0.png,a", "../data/images/1.png,b"]
    data = open_dataset(write(away / "t.csv", "path,class", *places))
    assert found(data) == {"all": {"0.png": "a", "1.png": "b"}}
    assert data.splits["all"].source.place == str(folder / "images")


def test_names_without_suffix_or_folder_are_looked_up(folder: Path) -> None:
    table = write(folder / "train.csv", "id,species", "0,a", "1.png,b", "images/2,a")
    names = {"images/0.png": "a", "images/1.png": "b", "images/2.png": "a"}
    assert found(open_dataset(table)) == {"all": names}
    assert found(open_dataset(folder)) == {"train": names}  # the folder's other photos: left out
    assert len(open_dataset(folder).left_out) == 3


def test_of_two_photos_of_a_name_the_one_in_the_tables_split_counts(
    tmp_path: Path, png: Png
) -> None:
    for split in ("train", "test"):  # as competitions publish their data
        (tmp_path / split).mkdir()
        for number in range(3):
            (tmp_path / split / f"{number}.png").write_bytes(png(number))
    table = write(tmp_path / "train.csv", "id,label", "0,a", "1,b", "2,a")
    write(tmp_path / "sample_submission.csv", "id,label", "0,a", "1,a", "2,a")
    for place in (table, tmp_path):
        names = found(open_dataset(place)).popitem()[1]
        assert names == {"train/0.png": "a", "train/1.png": "b", "train/2.png": "a"}
    write(tmp_path / "labels.csv", "id,label", "0,a", "1,b", "2,a")
    with pytest.raises(DataError, match="none of its 3 photos is there"):
        open_dataset(tmp_path / "labels.csv")


def test_splits_of_a_column(folder: Path) -> None:
    lines = [f"images/{n}.png,{'ab'[n % 2]},{s}" for n, s in enumerate(
        ("train", "Training", "val", "valid", "TEST", "test"))]  # fmt: skip
    data = open_dataset(write(folder / "t.csv", "file,label,split", *lines))
    assert {name: [*names.values()] for name, names in found(data).items()} == {
        "train": ["a", "b"], "validation": ["a", "b"], "test": ["a", "b"]
    }  # fmt: skip
    wrong = write(folder / "t.csv", "file,label,split", "images/0.png,a,north")
    with pytest.raises(DataError, match=r"t\.csv: its column of splits has 'north'; call them tr"):
        open_dataset(wrong)


def test_a_table_for_each_split(folder: Path) -> None:
    for number, name in enumerate(("train", "val", "test_labels")):
        lines = (f"images/{2 * number}.png,a", f"images/{2 * number + 1}.png,b")
        write(folder / f"{name}.csv", "file,label", *lines)
    write(folder / "sample_submission.csv", "id,label", "99,a")
    data = open_dataset(folder)
    assert {name: len(names) for name, names in found(data).items()} == {
        "train": 2, "validation": 2, "test": 2
    }  # fmt: skip
    alone = open_dataset(folder / "train.csv")
    assert [*alone.splits] == ["all"]
    assert any("is read alone" in note and "'val.csv'" in note for note in alone.notes)


def test_roboflow_has_a_table_in_each_folder(tmp_path: Path, png: Png) -> None:
    for number, split in enumerate(("train", "valid", "test")):
        (tmp_path / split).mkdir()
        for index in range(2):
            (tmp_path / split / f"{index}_jpg.rf.{number}.png").write_bytes(png(index))
        lines = (f"0_jpg.rf.{number}.png, 1, 0", f"1_jpg.rf.{number}.png, 0, 1")
        write(tmp_path / split / "_classes.csv", "filename, hat, shoe", *lines)
    data = open_dataset(tmp_path)
    assert data.classes == ("hat", "shoe")
    assert found(data)["validation"] == {
        "valid/0_jpg.rf.1.png": "hat", "valid/1_jpg.rf.1.png": "shoe"
    }  # fmt: skip
    assert [*data.splits] == ["train", "validation", "test"]


@pytest.mark.parametrize("archive", [False, True])
def test_hugging_faces_metadata_counts_more_than_folders(
    folder: Path, tmp_path: Path, png: Png, archive: bool
) -> None:
    lines = [json.dumps({"file_name": f"{n}.png", "label": "ab"[n % 2]}) for n in range(6)]
    write(folder / "images" / "metadata.jsonl", *lines)
    (folder / "more").mkdir()
    (folder / "more" / "9.png").write_bytes(png(9))
    place = folder
    if archive:
        place = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))
    data = open_dataset(place)
    assert data.classes == ("a", "b") and len(found(data)["all"]) == 6
    assert data.left_out == ("more/9.png",)
    assert any("1 photo in no row" in note and "more/9.png" in note for note in data.notes)
    assert check_dataset(data).digests.keys() == {f"images/{n}.png" for n in range(6)}


def test_class_folders_and_a_table_of_other_classes_are_a_question(folder: Path, png: Png) -> None:
    (folder / "drawings").mkdir()
    (folder / "drawings" / "x.png").write_bytes(png(9))
    lines = [f"images/{n}.png,{'ab'[n % 2]}" for n in range(6)]
    table = write(folder / "labels.csv", "file,label", *lines)
    with pytest.raises(DataError) as caught:
        open_dataset(folder)
    for words in ("('drawings', 'images')", "give that table as the data", "ignore='labels.csv'"):
        assert words in str(caught.value)
    assert open_dataset(folder, ["labels.csv"]).classes == ("drawings", "images")
    assert open_dataset(table).classes == ("a", "b")
    for same in ("images", "3", ""):  # the folders', a number, none
        write(table, "file,label", *(f"images/{n}.png,{same}" for n in range(6)))
        assert open_dataset(folder).classes == ("drawings", "images")
    write(table, "file,label", *(f"images/{n}.png,photo {n}" for n in range(6)))
    assert open_dataset(folder).classes == ("drawings", "images")


def test_a_table_without_labels_is_the_reason_why_nothing_is_found(folder: Path) -> None:
    write(folder / "train.csv", "file,width", *(f"images/{n}.png,{n}" for n in range(6)))
    with pytest.raises(DataError, match=r"train\.csv: no column is called as one of labels"):
        open_dataset(folder)
    write(folder / "train.csv", "file,width", "other.png,3")  # no table of these photos
    assert open_dataset(folder).classes == ("images",)


def test_parquet_without_its_package_matters_only_where_nothing_else_says_the_classes(
    folder: Path, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (folder / "train.parquet").write_bytes(b"PAR1")
    for place in (folder, folder / "train.parquet"):
        with pytest.raises(MobileNetV2Error, match=r"pyarrow is not installed.*install it with"):
            open_dataset(place)
    (folder / "drawings").mkdir()
    (folder / "drawings" / "x.png").write_bytes(png(9))
    assert open_dataset(folder).classes == ("drawings", "images")
    (folder / "train.parquet").rename(folder / "metadata.parquet")
    with pytest.raises(MobileNetV2Error, match="pyarrow is not installed"):
        open_dataset(folder)


def test_case_counts_only_where_names_differ_in_nothing_else(folder: Path, png: Png) -> None:
    (folder / "images" / "Cat.png").write_bytes(png(7))
    (folder / "images" / "cat.png").write_bytes(png(8))
    if len(list((folder / "images").glob("?at.png"))) == 1:
        pytest.skip("a disk on which both names are one")
    lines = ["0.PNG,a", "Cat.png,b", "cat.png,a", "CAT.png,b"]
    names = found(open_dataset(write(folder / "t.csv", "file,label", *lines)))["all"]
    assert names == {
        "images/0.png": "a", "images/Cat.png": "b", "images/cat.png": "a", "CAT.png": "b"
    }  # fmt: skip


def test_predictions_beside_photos_are_no_truth(folder: Path) -> None:
    lines = [f"images/{n}.png,1,0,{'ab'[n % 2]},0.9," for n in range(6)]
    write(folder / "predictions.csv", "image,rank,index,label,probability,error", *lines)
    assert open_dataset(folder).classes == ("images",)


def test_a_table_inside_names_nothing_outside(folder: Path, tmp_path: Path, png: Png) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(9))
    lines = ["images/0.png,a", "images/1.png,b", "../secret.png,a", f"{secret},b"]
    write(folder / "metadata.csv", "file_name,label", *lines)
    data = open_dataset(folder)
    for photo in data.splits["all"].photos:
        if "secret" in photo.name:
            with pytest.raises(ImageError, match="no such photo, though the table names it"):
                data.splits["all"].source.read(photo.name)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in ("metadata.csv", "images/0.png", "images/1.png"):
            packed.write(folder / name, name)
    packed_data = open_dataset(tmp_path / "a.zip")
    assert len(packed_data.splits["all"]) == 4
    with pytest.raises(DataError, match="2 of 4 photos cannot be read"):
        check_dataset(packed_data)


def test_missing_photos_are_like_unreadable_ones(tmp_path: Path, png: Png) -> None:
    lines = []
    for number in range(120):
        (tmp_path / f"{number}.png").write_bytes(png(number))
        lines.append(f"{number}.png,{'ab'[number % 2]}")
    table = write(tmp_path / "t.csv", "file,label", *lines, "gone.png,a")
    checked = check_dataset(open_dataset(table))
    assert len(checked.dataset.splits["all"]) == 120
    assert any("gone.png: no such photo" in note for note in checked.notes)
    write(table, "file,label", *lines, "gone.png,a", "away.png,b")
    with pytest.raises(DataError, match=r"2 of 122 photos cannot be read.*gone\.png: no such"):
        check_dataset(open_dataset(table))
    write(table, "file,label", "gone.png,a", "away.png,b")
    with pytest.raises(DataError, match=r"none of its 2 photos is there \(first: gone\.png\)"):
        open_dataset(table)


def test_rows_that_repeat_contradict_or_say_nothing(folder: Path) -> None:
    lines = ["images/0.png,a", "images/0.png,a", "images/1.png,b", "images/2.png,"]
    data = open_dataset(write(folder / "t.csv", "file,label", *lines))
    assert len(found(data)["all"]) == 2 and data.left_out == ("images/2.png",)
    assert any("1 photo without a label left out (first: images/2.png)" in n for n in data.notes)
    assert any("1 row repeated" in note for note in data.notes)
    write(folder / "t.csv", "file,label", *lines, "images/0.png,b")
    with pytest.raises(DataError, match=r"1 photo has several labels \(first: .*0\.png: 'a', 'b'"):
        open_dataset(folder / "t.csv")
    with pytest.raises(DataError, match="no row has a label"):
        open_dataset(write(folder / "t.csv", "file,label", "images/0.png,"))


def test_two_tables_are_a_question(folder: Path) -> None:
    for name in ("one.csv", "two.csv"):
        write(folder / name, "file,label", "images/0.png,a", "images/1.png,b")
    with pytest.raises(DataError, match=r"several tables of labels \('one.csv', 'two.csv'\)"):
        open_dataset(folder)


def test_a_photo_in_two_splits_is_left_out_of_training(folder: Path) -> None:
    lines = [f"images/{n}.png,{'ab'[n % 2]},{'train' if n < 4 else 'test'}" for n in range(6)]
    table = write(folder / "t.csv", "file,label,split", *lines, "images/4.png,a,train")
    checked = check_dataset(open_dataset(table))
    assert len(checked.dataset.splits["train"]) == 4
    assert any("left out of train: 1 picture" in note for note in checked.notes)


def test_a_folder_with_many_tables_or_none(folder: Path) -> None:
    for number in range(60):
        write(folder / f"notes{number}.csv", "a,b", "1,2")
    assert open_dataset(folder).classes == ("images",)


def test_patterns_pass_over_rows_of_a_table(folder: Path) -> None:
    lines = [f"images/{n}.png,{'ab'[n % 2]}" for n in range(6)]
    table = write(folder / "labels.csv", "file,label", *lines, "gone.png,a")
    for place in (table, folder):
        for ignore in (["3.png", "gone*"], ["images/3.png", "gone.png"]):
            data = open_dataset(place, ignore)
            names = {f"images/{n}.png" for n in (0, 1, 2, 4, 5)}
            assert found(data)["all"].keys() == names, (place, ignore)
            notes = [note for note in data.notes if "passed over, as a pattern says" in note]
            assert len(notes) == 1 and "says: 2 (first: " in notes[0]
            assert not any("nothing has a name" in note for note in data.notes)
    with pytest.raises(DataError, match=r"labels\.csv: ignore passes over all its photos"):
        open_dataset(table, ["images", "gone.png"])
    write(folder / "labels.csv", "id,label", *(f"{n},{'ab'[n % 2]}" for n in range(6)))
    assert len(found(open_dataset(folder, ["3.png"]))["all"]) == 5


def test_an_ignored_photo_is_not_taken_for_one_of_its_name_elsewhere(
    folder: Path, png: Png
) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "3.png").write_bytes(png(9))
    lines = [f"images/{n}.png,{'ab'[n % 2]}" for n in range(6)]
    write(folder / "metadata.csv", "file_name,label", *lines)
    data = open_dataset(folder, ["images/3.png"])
    assert len(found(data)["all"]) == 5 and data.left_out == ("more/3.png",)


def test_a_table_that_is_cut_off_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"images/{n}.png,{'hat' if n % 2 else 'shoe'}" for n in range(6)]
    table = write(folder / "labels.csv", "file,label", *lines)
    limits = Limits(bytes=table.stat().st_size - 3)
    for module in (table_photos, sources):
        monkeypatch.setattr(module, "LIMITS", limits)
    with pytest.raises(DataError, match=r"labels\.csv: this table has more bytes than the limit"):
        open_dataset(folder)
    (folder / "drawings").mkdir()
    (folder / "drawings" / "x.png").write_bytes((folder / "images" / "0.png").read_bytes())
    assert open_dataset(folder).classes == ("drawings", "images")
    table.rename(folder / "metadata.csv")
    with pytest.raises(DataError, match=r"metadata\.csv: this table has more bytes than the limit"):
        open_dataset(folder)


def test_a_missing_photo_is_not_taken_for_one_elsewhere(tmp_path: Path, png: Png) -> None:
    pool, tables = tmp_path / "pool", tmp_path / "tables"
    pool.mkdir()
    for number in (1, 2):
        (pool / f"{number}.png").write_bytes(png(number))
    rows = (f"{pool}/1.png,hat", "1.png,shoe", f"{pool}/2.png,shoe")
    data = open_dataset(write(tables / "t.csv", "file,label", *rows))
    assert found(data) == {"all": {"1.png": "hat", "../tables/1.png": "shoe", "2.png": "shoe"}}
    with pytest.raises(ImageError, match="no such photo"):
        data.splits["all"].source.read("../tables/1.png")


def test_a_row_that_is_left_out_is_said_once(folder: Path) -> None:
    lines = [f"images/{n}.png,{'ab'[n % 2]},train" for n in range(4)]
    more = ("images/4.png,,train", "images/5.png,a,")
    write(folder / "metadata.csv", "file_name,label,split", *lines, *more)
    data = open_dataset(folder)
    assert data.left_out == ("images/4.png", "images/5.png")
    assert not any("in no row" in note for note in data.notes)


known = st.sampled_from([f"images/{n}.png" for n in range(6)] + [f"{n}" for n in range(6)])
paths = st.one_of(known, st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8))
labels = st.sampled_from(["a", "b", "ü, c", "", "1", "1.0", "a|b", "../x"])
splits = st.sampled_from(["train", "VAL", "test", "", "Testing", "fold 3"])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(paths, labels, splits), min_size=1, max_size=8), st.booleans())
def test_any_table_is_refused_or_every_row_is_in_a_class_or_left_out(
    folder: Path, rows: list[tuple[str, str, str]], inside: bool
) -> None:
    table = folder / ("metadata.csv" if inside else "t.csv")
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file_name", "label", "split"), *rows])
    try:
        data = open_dataset(folder if inside else table)
    except DataError as error:
        assert str(folder) in str(error) and len(str(error)) < 1000
        return
    finally:
        table.unlink()
    photos = [photo for split in data.splits.values() for photo in split.photos]
    if data.classes == ("images",):  # the table is none of these photos
        assert inside
        return
    assert set(data.classes) <= {"a", "b", "ü, c", "1", "1.0", "../x"}
    assert all(data.classes[photo.label] for photo in photos)
    named = {path.strip() for path, _, _ in rows if path.strip()}
    assert len(photos) + len(data.left_out) >= len({Path(n).stem for n in named} & set("012345"))
    for name in (photo.name for photo in photos):
        source = data.splits[next(iter(data.splits))].source
        if (folder / name).is_file():
            assert source.read(name) == (folder / name).read_bytes()
        else:
            with pytest.raises(ImageError, match="no such photo, though the table names it"):
                source.read(name)
