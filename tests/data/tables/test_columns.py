"""Columns of a table: their meaning, by their names and by what they hold."""

import pytest

from mobilenetv2.data.tables.columns import Row, find_columns, read_rows
from mobilenetv2.data.tables.table import parse
from mobilenetv2.errors import DataError


def rows(text: str) -> list[Row]:
    table = parse(text.encode(), "t.csv")
    return read_rows(table, find_columns(table))


def refusal(text: str) -> str:
    with pytest.raises(DataError) as caught:
        rows(text)
    assert str(caught.value).startswith("t.csv: ")
    return str(caught.value)


@pytest.mark.parametrize("path", ["filename", "file_name", "Image Path", "filepaths", "id", "IMG"])
@pytest.mark.parametrize(
    "label", ["label", "labels", "Class Name", "species", "category", "target"]
)
def test_columns_are_found_by_any_usual_name(path: str, label: str) -> None:
    assert rows(f"{label},{path}\nhat,a.jpg\n") == [Row("a.jpg", ("hat",), "")]


def test_a_split_and_the_name_of_a_class_before_its_number() -> None:
    text = "class id,filepaths,labels,data set,scientific name\n0,train/a.jpg,OWL,train,Strix\n"
    assert rows(text) == [Row("train/a.jpg", ("OWL",), "train")]
    assert rows("id_code,diagnosis\n000c1434d8d7,2\n") == [Row("000c1434d8d7", ("2",), "")]


def test_a_column_of_zero_and_one_for_each_class() -> None:
    text = "filename, hat, shoes, Unlabeled\na.jpg, 1, 0, 0\nb.jpg, 1, 1, 0\nc.jpg, 0, 0, 0\n"
    assert rows(text) == [
        Row("a.jpg", ("hat",), ""), Row("b.jpg", ("hat", "shoes"), ""), Row("c.jpg", (), "")
    ]  # fmt: skip
    text = "image,MEL,NV\nISIC_1,0.0,1.0\nISIC_2,1.0,0.0\n"
    assert [row.labels for row in rows(text)] == [("NV",), ("MEL",)]


def test_several_labels_in_a_cell() -> None:
    assert rows("Image Index,Finding Labels\n1.png,Mass|Edema\n")[0].labels == ("Mass", "Edema")
    assert rows('file,tags\na.jpg,"red, big"\n')[0].labels == ("red", "big")
    assert rows('file,label\na.jpg,"red, big"\n')[0].labels == ("red, big",)  # a name with a comma


def test_numbers_of_classes_lose_pandas_points() -> None:
    assert [r.labels for r in rows("file,label\na,1.0\nb,\nc,12.0\n")] == [("1",), (), ("12",)]
    assert [r.labels for r in rows("file,label\na,1.0\nb,1.5\n")] == [("1.0",), ("1.5",)]


def test_what_lacks_is_said_with_what_is_there() -> None:
    assert "its first line is already a photo" in refusal("a.jpg,hat\nb.jpg,shoes\n")
    text = refusal("first,second\n1,2\n")
    assert "no column is called as one of photos" in text and "'first', 'second'" in text
    text = refusal("filename,width,height\na.jpg,640,480\n")
    assert "no column is called as one of labels" in text and "'width'" in text
    assert "nothing is downloaded" in refusal("url,image,label\n1,https://x/y.jpg,hat\n")
    assert "'filename' is empty in 2 rows" in refusal("filename,label\n,hat\n,shoes\n")


def test_predictions_are_known() -> None:
    table = parse(b"image,rank,index,label,probability,error\na.jpg,1,0,hat,0.9,\n", "t.csv")
    assert find_columns(table).predicted
    assert not find_columns(parse(b"image,label\na.jpg,hat\n", "t.csv")).predicted


def test_an_ambiguous_column_is_one_of_splits_only_if_it_names_some() -> None:
    text = "lesion_id,image_id,dx,dataset\n1,a,nv,vidir_modern\n2,b,mel,rosendahl\n"  # HAM10000
    assert rows(text) == [Row("a", ("nv",), ""), Row("b", ("mel",), "")]
    (note,) = find_columns(parse(text.encode(), "t.csv")).notes
    assert "'dataset' names no splits" in note
    text = "file,label,usage,dataset\na,x,Training,lab\nb,y,PublicTest,lab\n"  # FER2013
    assert [row.split for row in rows(text)] == ["Training", "PublicTest"]
