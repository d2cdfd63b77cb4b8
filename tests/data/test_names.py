"""Kinds of files by their names."""

import pytest

from mobilenetv2.data.names import archive_stem, archive_suffix, is_junk, is_photo, is_table


def test_the_kind_of_an_archive_is_in_its_name() -> None:
    assert [archive_suffix(n) for n in ("a.ZIP", "a.b.tar.gz", "a.tgz", "a.gz", "a.jpg")] == [
        ".zip", ".tar.gz", ".tgz", None, None,
    ]  # fmt: skip
    assert archive_stem("train.tar.zst") == "train" and archive_stem("a.b.zip") == "a.b"


def test_tables_are_known_by_their_suffix() -> None:
    assert all(map(is_table, ("a.csv", "b/C.TSV", "x.jsonl", "x.ndjson", "x.parquet")))
    assert not any(map(is_table, ("a.jpg", "csv", "a.csv/", "a.json", "a.txt")))


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", ".ipynb_checkpoints", "__MACOSX",
        "Thumbs.db", ".DS_Store", "._1.jpg", "System Volume Information", ".Trash-1000", ".git",
        "desktop.ini", "@tmp", "#snapshot",
    ],
)  # fmt: skip
def test_what_systems_leave_is_junk(name: str) -> None:
    assert is_junk(name)


def test_other_names_are_none() -> None:
    assert not any(map(is_junk, ("hat", "recycle", "@home", "__MACOSX.jpg", "a.b", "found")))
    assert is_photo("a/1.JPG") and not is_photo("a.jpg/") and not is_photo("a/notes.txt")
