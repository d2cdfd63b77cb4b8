"""File of answers that grows, takes its place, and can be resumed."""

import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.errors import InUse, MobileNetV2Error, Stopped
from mobilenetv2.runtime.output.file import JOURNAL, UNFINISHED, AnswerFile, settings_before
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


def test_resuming_nothing_starts_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write(tmp_path / "a.csv", range(2), resume=True).count == 2
    assert "a.csv: no unfinished run to resume" in capsys.readouterr().err


def test_an_error_keeps_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(OSError, match="gone"), file(path) as made:
        made.add(answer(1), Identity(1, 1))
        raise OSError("gone")
    assert "1.jpg" in path.with_name(path.name + UNFINISHED).read_text()
    assert not path.exists()
    with pytest.raises(OSError, match="gone"), file(tmp_path / "b.csv"):
        raise OSError("gone")
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("b")]


class Torn(io.BytesIO):
    """File in which an error comes after the rows are written, before they are said to be."""

    def __init__(self, real: Any, error: BaseException) -> None:
        self.real, self.error = real, error

    def write(self, data: Any) -> int:
        return int(self.real.write(data))

    def flush(self) -> None:
        self.real.flush()
        if self.error:
            raise self.error

    def fileno(self) -> int:
        return int(self.real.fileno())

    def close(self) -> None:
        self.real.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_rows_that_an_error_has_cut_short_are_not_there_twice(
    error: BaseException, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises((Stopped, OSError)) as raised, file(path) as made:
        for number in range(2):
            made.add(answer(number), Identity(number, 1))
        made._write()
        made._file = Torn(made._file, error)
        for number in range(2, 4):
            made.add(answer(number), Identity(number, 1))
        made._write()
    assert str(path) in str(raised.value)
    write(path, range(5), resume=True)
    names = [line.partition(",")[0] for line in path.read_text().splitlines()[1:]]
    assert names == [f"{number}.jpg" for number in range(5)]


INTERRUPTED = """
import signal, sys
from pathlib import Path
from mobilenetv2.errors import Stopped
from mobilenetv2.runtime.output.file import AnswerFile
from mobilenetv2.runtime.output.journal import Identity
from mobilenetv2.runtime.output.rows import Rows

class Interrupted:
    def __init__(self, real):
        self.real = real
    def write(self, data):
        self.real.write(data)
    def flush(self):
        self.real.flush()
        signal.raise_signal(signal.SIGINT)
    def __getattr__(self, name):
        return getattr(self.real, name)

try:
    with AnswerFile(Path(sys.argv[1]), Rows("csv"), {"model": ["abc"]}) as made:
        for number in range(3):
            made.add({"image": f"{number}.jpg", "error": "none"}, Identity(number, 1))
        made._file = Interrupted(made._file)
except Stopped as error:
    print(error)
"""


def test_rows_that_ctrl_c_has_met_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    words = [sys.executable, "-c", INTERRUPTED, str(path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert "the answers of 3 photos are in" in done.stdout, done.stderr
    with file(path, resume=True) as made:
        assert [made.is_done(Identity(number, 1)) for number in range(4)] == [True] * 3 + [False]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
@pytest.mark.parametrize("limit", ["header", "journal"])
def test_a_full_disk_is_named_and_leaves_nothing_that_is_in_the_way(
    limit: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    most = 5 if limit == "header" else len(json.dumps(SETTINGS)) + 3
    code = f"""
import resource, signal
from pathlib import Path
from mobilenetv2.runtime.output.file import AnswerFile
from mobilenetv2.runtime.output.journal import Identity
from mobilenetv2.runtime.output.rows import Rows
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))
try:
    with AnswerFile(Path({str(path)!r}), Rows("jsonl"), {SETTINGS!r}) as made:
        made.add({{"image": "1"}}, Identity(1, 1))
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "" and str(path) in done.stdout
    write(path, range(2))


def test_what_is_counted_after_a_change_is_what_is_there(tmp_path: Path) -> None:
    path, failed = tmp_path / "a.jsonl", {"image": "1.jpg", "error": "no picture"}
    with pytest.raises(Stopped), file(path, "jsonl") as made:
        made.add(answer(0), Identity(0, 1))
        made.add(failed, Identity(1, 1))
        raise KeyboardInterrupt
    with file(path, "jsonl", resume=True) as made:
        assert (made.count, made.failed) == (2, 1)
        assert made.is_done(Identity(0, 1)) and not made.is_done(Identity(1, 2))
        assert (made.count, made.failed) == (1, 0)
        made.add(answer(1), Identity(1, 2))
    assert (made.count, made.failed) == (2, 0) and len(path.read_text().splitlines()) == 2


def test_a_folder_and_two_opposite_options_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(MobileNetV2Error, match="a folder; give the name of a file"):
        file(tmp_path)
    with pytest.raises(MobileNetV2Error, match="a folder; give the name of a file"):
        file(Path())
    assert settings_before(Path()) is None
    with pytest.raises(MobileNetV2Error, match=r"resume.*overwrite.*one of them"):
        file(tmp_path / "a.csv", resume=True, overwrite=True)


def test_a_second_file_in_the_same_thread_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def rows(numbers: range) -> Iterator[int]:
        with file(path, overwrite=True) as made:
            for number in numbers:
                made.add(answer(number), Identity(number, 1))
                yield number

    first = rows(range(3))
    next(first)
    with pytest.raises(InUse, match=re.escape(str(path))):
        next(rows(range(3)))
    assert list(first) == [1, 2] and len(path.read_text().splitlines()) == 4


def test_the_rows_of_a_table_stay_until_it_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow, of an extra")
    path = tmp_path / "a.parquet"

    def killed(made: Path, target: Path) -> None:
        assert made.stat().st_size and path.with_name(path.name + UNFINISHED).exists()
        raise OSError("killed")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="killed"):
        patch.setattr("mobilenetv2.runtime.output.file.take_place", killed)
        with file(path, "parquet") as made:
            made.add(answer(1), Identity(1, 1))
    assert write_kind(path, "parquet", range(3)).count == 3
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.parquet"]


def write_kind(path: Path, kind: Kind, numbers: range) -> AnswerFile:
    with file(path, kind, resume=True) as made:
        for number in numbers:
            if not made.is_done(Identity(number, 1)):
                made.add(answer(number), Identity(number, 1))
    return made


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
def test_a_pipe_whose_reader_has_left_ends_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: path.open("rb").close())
    reader.start()
    with file(path) as made:
        reader.join()
        made.add(answer(0), Identity(0, 1))
        made._write()
        assert made.closed
        made.add(answer(1), Identity(1, 1))


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
