"""File of answers that grows as they come, takes its place when it is complete, and can be resumed.

While the answers come, they are in ``NAME.unfinished``, which may be read, and a journal beside it
says which photos are done. At the end the file takes the place of an older one, in one step. What
is no regular file, such as a pipe or /dev/stdout, is written into at once, and cannot be resumed.
"""

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self

from mobilenetv2.errors import MobileNetV2Error, Stopped, argument, require
from mobilenetv2.files import take_place, target_of_links
from mobilenetv2.locks import hold
from mobilenetv2.runtime.output.journal import SECONDS_BETWEEN_SYNCS, Identity, Journal
from mobilenetv2.runtime.output.rows import Row, Rows, write_parquet
from mobilenetv2.text import counted

UNFINISHED, JOURNAL, FINISHED = ".unfinished", ".unfinished-photos", ".finished"
"""Ends of the names of the rows that are there, of their journal, and of the whole file before it
takes its place."""
SECONDS_BETWEEN_WRITES = 1.0
"""Seconds after which the rows that have come are written."""


class AnswerFile:
    """File of answers, to be used in a ``with`` block. At its end the file takes its place.

    If an error or Ctrl-C ends the block, what is done stays beside the file.

    Args:
        path: the file.
        rows: how answers are written.
        settings: what the answers depend on; a run is resumed with the same only.
        resume: True to go on where a run was stopped; it is started if there is none.
        overwrite: True to start anew where a run was stopped.

    Raises:
        MobileNetV2Error: a run was stopped here, and neither is given; or ``resume`` is given for
            what is no regular file.
    """

    def __init__(
        self, path: Path, rows: Rows, settings: Mapping[str, Any], resume: bool = False,
        overwrite: bool = False,
    ) -> None:  # fmt: skip
        self.path, self.rows, self.count, self.failed = path, rows, 0, 0
        self.closed = False
        """True if the reader of a pipe has ended, so that nobody takes further answers."""
        self._settings, self._resume, self._overwrite = settings, resume, overwrite
        self._target, replaced = target_of_links(path)
        self._direct = not replaced
        self._unfinished = self._target.with_name(self._target.name + UNFINISHED)
        self._beside = self._target.with_name(self._target.name + JOURNAL)
        self._stack = ExitStack()
        self._journal: Journal | None = None
        self._waiting = list[tuple[Identity | None, bytes, bool]]()
        if self._direct and resume:
            raise MobileNetV2Error(
                f"{path}: no regular file, so that nothing of it can be resumed; choose a file, or "
                f"leave {argument('resume', True)} out"
            )
        if self._direct and rows.kind == "parquet":
            raise MobileNetV2Error(f"{path}: Parquet is written into regular files only")
        if rows.kind == "parquet":
            require("pyarrow.parquet")  # now, not after hours

    def __enter__(self) -> Self:
        with self._stack:
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def _open(self) -> None:
        if self._direct:
            self._file: IO[bytes] = self._stack.enter_context(self.path.open("ab"))
            self._file.write(self.rows.start())
        else:
            self._stack.enter_context(hold(self.path))
            self._require_free()  # under the lock: a run that goes on has an unfinished file, too
            going_on = self._resume and self._beside.exists() and self._unfinished.exists()
            journal = Journal(self._beside, self._settings, going_on)
            self._journal = journal
            self._stack.callback(journal.close)
            mode = "r+b" if going_on else "wb"
            self._file = self._stack.enter_context(self._unfinished.open(mode))
            start = self.rows.start()
            end = journal.cut(os.fstat(self._file.fileno()).st_size) if going_on else 0
            if end:
                self._file.truncate(end)
                self._file.seek(end)
            else:
                self._file.truncate(0)
                self._file.write(start)
            self.count, self.failed = len(journal), journal.failed
        self._end = 0 if self._direct else self._file.tell()
        self._written = self._synced = time.monotonic()

    def _require_free(self) -> None:
        stopped = self._beside.exists() and self._unfinished.exists()
        if stopped and not (self._resume or self._overwrite):
            raise MobileNetV2Error(
                f"{self._unfinished}: a run was stopped here; {argument('resume', True)} goes on "
                f"with it, {argument('overwrite', True)} starts anew"
            )

    def is_done(self, photo: Identity) -> bool:
        """Return True for a photo whose answer is in the file already."""
        return self._journal is not None and self._journal.is_done(photo)

    def add(self, row: Row, photo: Identity | None) -> None:
        """Write the answer of a photo."""
        self.count, bad = self.count + 1, "error" in row
        self.failed += bad
        self._waiting.append((photo, self.rows.text(row), bad))
        if time.monotonic() - self._written > SECONDS_BETWEEN_WRITES:
            self._write()

    def _write(self) -> None:
        done: list[tuple[Identity, int, bool]] = []
        for photo, text, bad in self._waiting:
            self._end += len(text)
            if photo is not None:
                done.append((photo, self._end, bad))
        try:
            self._file.write(b"".join(text for _, text, _ in self._waiting))
            self._file.flush()
        except BrokenPipeError:
            self.closed = True
        self._waiting.clear()
        self._written = time.monotonic()
        if self._journal is not None:
            if self._written - self._synced > SECONDS_BETWEEN_SYNCS:
                os.fsync(self._file.fileno())
                self._journal.add(done)
                self._journal.sync()
                self._synced = self._written
            else:
                self._journal.add(done)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        with self._stack:
            self._write()
            if self._direct:
                return
            if error is None:
                self._finish()
            elif isinstance(error, KeyboardInterrupt) and not isinstance(error, Stopped):
                raise Stopped(
                    self.path,
                    f"the answers of {counted(self.count, 'photo')} are in {self._unfinished}; to "
                    "go on, give the same options",
                ) from None

    def _finish(self) -> None:
        """Let the file take its place, without the rows of photos that have changed since."""
        assert self._journal is not None
        os.fsync(self._file.fileno())
        obsolete = self._journal.obsolete(len(self.rows.start()))
        made = self._unfinished
        if obsolete or self.rows.kind == "parquet":
            made = self._target.with_name(self._target.name + FINISHED)
            lines = self._unfinished
            if obsolete:
                lines = made
                with self._unfinished.open("rb") as given, made.open("wb") as target:
                    _copy_without(given, target, obsolete)
            if self.rows.kind == "parquet":
                table = self._target.with_name(f"{self._target.name}{FINISHED}-table")
                with lines.open("rb") as given:
                    write_parquet(given, table, self.rows)
                made.unlink(missing_ok=True)
                made = table
            with made.open("rb+") as file:
                os.fsync(file.fileno())
        self._file.close()  # Windows renames no open file
        take_place(made, self._target)
        self._journal.close()
        self._beside.unlink()
        self._unfinished.unlink(missing_ok=True)


def _copy_without(given: BinaryIO, target: BinaryIO, left_out: list[tuple[int, int]]) -> None:
    """Copy a file without some parts, which are in order."""
    place = 0
    for first, last in left_out:
        _copy(given, target, first - place)
        given.seek(last)
        place = last
    shutil.copyfileobj(given, target)


def _copy(given: BinaryIO, target: BinaryIO, count: int) -> None:
    while count > 0 and (part := given.read(min(count, 2**20))):
        target.write(part)
        count -= len(part)
