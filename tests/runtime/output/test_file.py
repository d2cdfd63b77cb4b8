"""File of answers that grows, takes its place, and can be resumed."""

import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.errors import InUse, MobileNetV2Error, Stopped
from mobilenetv2.runtime.output.file import JOURNAL, UNFINISHED, AnswerFile
from mobilenetv2.runtime.output.journal import Identity
from mobilenetv2.runtime.output.rows import Kind, Rows

SETTINGS = {"model": ["abc"]}


def answer(number: int) -> dict[str, object]:
    guess = {"index": 0, "label": "hat", "probability": number / 100}
    return {"image": f"{number}.jpg", "predictions": [guess]}


def file(path: Path, kind: Kind = "csv", **how: Any) -> AnswerFile:
    return AnswerFile(path, Rows(kind), SETTINGS, **how)


def write(path: Path, numbers: range, stop: bool = False, **how: Any) -> AnswerFile:
    """Write the answers that are not there, and perhaps stop before the end."""
    with file(path, **how) as made:
        for number in numbers:
            photo = Identity(number, 1)
            if not made.is_done(photo):
                made.add(answer(number), photo)
        if stop:
            raise KeyboardInterrupt
    return made


def test_an_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with file(path) as made:
        made.add(answer(1), Identity(1, 1))
        assert path.read_text() == "old"
    assert path.read_text().splitlines()[1].startswith("1.jpg,1,0,hat,0.01")
    assert [one.name for one in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("stops", [(0,), (3,), (3, 3, 7)])
def test_a_stopped_and_resumed_file_is_that_of_an_unbroken_run(
    tmp_path: Path, kind: Kind, stops: tuple[int, ...]
) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow, of an extra")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for path in (whole, broken):
        first = True
        for count in stops if path is broken else ():
            with (
                pytest.raises(Stopped, match=r"resume|--resume"),
                file(path, kind, resume=not first) as made,
            ):
                for number in range(count):
                    if not made.is_done(Identity(number, 1)):
                        made.add(answer(number), Identity(number, 1))
                raise KeyboardInterrupt
            first = False
        with file(path, kind, resume=not first) as made:
            for number in range(10):
                if not made.is_done(Identity(number, 1)):
                    made.add(answer(number), Identity(number, 1))
        assert made.count == 10
    assert whole.read_bytes() == broken.read_bytes()


def test_what_a_kill_left_behind_the_last_entry_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(Stopped):
        write(path, range(4), stop=True)
    with path.with_name(path.name + UNFINISHED).open("ab") as torn:
        torn.write(b"5.jpg,1,0,ha")
    write(path, range(6), resume=True)
    names = [line.partition(",")[0] for line in path.read_text().splitlines()[1:]]
    assert names == [f"{number}.jpg" for number in range(6)]


def test_rows_of_a_photo_that_changed_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(Stopped):
        write(path, range(3), stop=True)
    with file(path, resume=True) as made:
        for number in range(4):
            photo = Identity(number, 2 if number == 1 else 1)
            if not made.is_done(photo):
                made.add(answer(10 + number), photo)
    names = [line.partition(",")[0] for line in path.read_text().splitlines()[1:]]
    assert names == ["0.jpg", "2.jpg", "11.jpg", "13.jpg"]


def test_a_stopped_run_is_not_thrown_away_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(Stopped, match=r"4 photos are in .*a\.csv\.unfinished"):
        write(path, range(4), stop=True)
    with pytest.raises(MobileNetV2Error, match=r"a run was stopped here; .*resume.*overwrite"):
        write(path, range(6))
    with (
        pytest.raises(MobileNetV2Error, match="other settings"),
        AnswerFile(path, Rows("csv"), {"model": ["other"]}, resume=True),
    ):
        pass
    write(path, range(2), overwrite=True)
    assert len(path.read_text().splitlines()) == 3
    assert not path.with_name(path.name + JOURNAL).exists()


def test_resuming_nothing_starts(tmp_path: Path) -> None:
    assert write(tmp_path / "a.csv", range(2), resume=True).count == 2


def test_an_error_keeps_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(OSError, match="gone"), file(path) as made:
        made.add(answer(1), Identity(1, 1))
        raise OSError("gone")
    assert "1.jpg" in path.with_name(path.name + UNFINISHED).read_text()
    assert not path.exists()


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    found = []

    def other() -> None:
        try:
            with file(path):
                pass
        except InUse as error:
            found.append(error)

    with file(path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(found) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_is_written_into_and_cannot_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found = io.BytesIO()
    reader = threading.Thread(target=lambda: found.write(path.read_bytes()))
    reader.start()
    write(path, range(2))
    reader.join()
    assert len(found.getvalue().splitlines()) == 3
    with pytest.raises(MobileNetV2Error, match=r"pipe: no regular file"):
        file(path, resume=True)
    with pytest.raises(MobileNetV2Error, match="Parquet is written into regular files only"):
        file(path, "parquet")


def test_through_a_link_the_file_behind_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "a.csv"
    link.symlink_to(tmp_path / "there" / "b.csv")
    with pytest.raises(Stopped):
        write(link, range(1), stop=True)
    write(link, range(3), resume=True)
    assert link.is_symlink() and len((tmp_path / "there" / "b.csv").read_text().splitlines()) == 4
