"""Text of answers in files."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.runtime.output.rows import COLUMNS, Rows, kind_of, write_parquet

GUESS = {"index": 3, "label": "=hat, red", "probability": 0.25}
ANSWER = {"image": "a/1.jpg", "predictions": [GUESS, {**GUESS, "index": 0, "label": "ball"}]}
NOTHING: dict[str, Any] = {"image": "2.jpg", "predictions": []}
BAD = {"image": "3.jpg", "error": "3.jpg: not a picture"}
FEATURES = {"image": "4.jpg", "features": [0.5, -1.25]}


def test_a_row_is_a_class_of_a_photo_and_names_are_quoted() -> None:
    rows = Rows("csv")
    text = (rows.start() + b"".join(map(rows.text, (ANSWER, NOTHING, BAD)))).decode()
    first, second, nothing, bad = csv.DictReader(io.StringIO(text, newline=""))
    assert tuple(first) == COLUMNS
    assert first["label"] == "'=hat, red"  # a spreadsheet does not compute it
    assert (second["rank"], second["index"], second["label"]) == ("2", "0", "ball")
    assert [*nothing.values()] == ["2.jpg", "", "", "", "", ""]
    assert bad["error"] == BAD["error"] and bad["rank"] == ""


def test_features_have_a_column_each() -> None:
    rows = Rows("csv", features=2)
    text = (rows.start() + rows.text(FEATURES) + rows.text(BAD)).decode()
    assert text == (
        "image,error,feature_0,feature_1\n4.jpg,,0.5,-1.25\n3.jpg,3.jpg: not a picture\n"
    )


def test_lines_of_json_are_the_answers() -> None:
    rows = Rows("jsonl")
    assert rows.start() == b""
    assert json.loads(rows.text(ANSWER)) == ANSWER
    odd = {"image": "\udce9 ü", "predictions": []}
    assert json.loads(rows.text(odd).decode("utf-8"))["image"].endswith("ü")


@pytest.mark.parametrize(("rows", "answers"), [
    (Rows("parquet"), (ANSWER, NOTHING, BAD)), (Rows("parquet", features=2), (FEATURES, BAD)),
])  # fmt: skip
def test_parquet_has_the_same_rows(
    rows: Rows, answers: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, of an extra")
    lines = io.BytesIO(b"".join(map(rows.text, answers)))
    write_parquet(lines, tmp_path / "a.parquet", rows)
    found = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    if rows.features:
        assert found == [
            {"image": "4.jpg", "error": None, "features": [0.5, -1.25]},
            {"image": "3.jpg", "error": BAD["error"], "features": None},
        ]
        return
    assert [row["image"] for row in found] == ["a/1.jpg", "a/1.jpg", "2.jpg", "3.jpg"]
    assert (found[0]["rank"], found[0]["label"], found[0]["probability"]) == (1, "=hat, red", 0.25)
    assert found[3]["error"] == BAD["error"] and found[3]["rank"] is None


def test_the_suffix_says_how_a_file_is_written(tmp_path: Path) -> None:
    assert [kind_of(Path(name)) for name in ("a.csv", "b.JSONL", "c.parquet")] == [
        "csv", "jsonl", "parquet",
    ]  # fmt: skip
    with pytest.raises(MobileNetV2Error, match=r"a\.txt.*\.csv, \.jsonl, \.parquet"):
        kind_of(Path("a.txt"))
    with pytest.raises(MobileNetV2Error, match="a folder"):
        kind_of(tmp_path)
    assert kind_of(tmp_path / "new.csv") == "csv"
