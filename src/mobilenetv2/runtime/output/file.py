"""File of answers that grows as they come, takes its place when it is complete, and can be resumed.

While the answers come, they are in ``NAME.unfinished``, which may be read, and a journal beside it
says which photos are done. At the end the file takes the place of an older one, in one step. What
is no regular file, such as a pipe or /dev/stdout, is written into at once, and cannot be resumed.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from contextvars import copy_context
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self

from mobilenetv2.errors import MobileNetV2Error, Stopped, argument, require
from mobilenetv2.files import take_place, target_of_links
from mobilenetv2.locks import hold
from mobilenetv2.process import without_interrupts
from mobilenetv2.progress import say
from mobilenetv2.runtime.output.journal import SECONDS_BETWEEN_SYNCS, Identity, Journal, settings_in
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
        MobileNetV2Error: a run was stopped here, and neither is given; both are; ``resume`` is
            given for what is no regular file; or the path is a folder.
        InUse: another stream of answers is written there.
    """

    def __init__(
        self, path: Path, rows: Rows, settings: Mapping[str, Any], resume: bool = False,
        overwrite: bool = False,
    ) -> None:  # fmt: skip
        if path.is_dir():
            raise MobileNetV2Error(f"{path}: is a folder; give the name of a file")
        if resume and overwrite:
            raise MobileNetV2Error(
                f"{path}: {argument('resume', True)} goes on and {argument('overwrite', True)} "
                "starts anew; give one of them"
            )
        self.path, self.rows = path, rows
        self._count = self._failed = 0
        self.at_once = False
        """True to write each answer at once, where the next photo may come much later."""
        self.closed = False
        """True if the reader of a pipe has ended, so that nobody takes further answers."""
        self._settings, self._resume, self._overwrite = settings, resume, overwrite
        self._target, replaced = target_of_links(path)
        self._direct = not replaced
        self._unfinished = self._target.with_name(self._target.name + UNFINISHED)
        self._beside = self._target.with_name(self._target.name + JOURNAL)
        self._stack = ExitStack()
        self._journal: Journal | None = None
        # Its own context: the lock that it holds is not held by whoever takes the answers.
        self._context = copy_context()
        self._waiting = list[tuple[Identity, bytes, bool]]()
        self._torn = False
        """True while rows are written, and after an error or Ctrl-C in the middle of it."""
        if self._direct and resume:
            raise MobileNetV2Error(
                f"{path}: no regular file, so that nothing of it can be resumed; choose a file, or "
                f"leave {argument('resume', True)} out"
            )
        if self._direct and rows.kind == "parquet":
            raise MobileNetV2Error(f"{path}: Parquet is written into regular files only")
        if rows.kind == "parquet":
            require("pyarrow.parquet")  # now, not after hours

    @property
    def count(self) -> int:
        """Number of photos whose answers are there, with those of the runs before."""
        return self._count + (len(self._journal) if self._journal is not None else 0)

    @property
    def failed(self) -> int:
        """Number of those that have no answer."""
        return self._failed + (self._journal.failed if self._journal is not None else 0)

    def __enter__(self) -> Self:
        with self._naming(), self._stack:
            self._context.run(self._open)
            self._stack = self._stack.pop_all()
        return self

    def _open(self) -> None:
        if self._direct:
            self._file: IO[bytes] = self.path.open("ab")
            self._stack.callback(self._end, self._file.close)
            self._file.write(self.rows.start())
        else:
            self._stack.enter_context(hold(self.path))
            self._require_free()  # under the lock: a run that goes on has an unfinished file, too
            going_on = self._resume and self._beside.exists() and self._unfinished.exists()
            if self._resume and not going_on:
                say(f"{self.path}: no unfinished run to resume, so all photos are predicted")
            journal = Journal(self._beside, self._settings, going_on)
            self._journal = journal
            self._stack.callback(self._end, journal.close)
            self._file = self._unfinished.open("r+b" if going_on else "wb")
            self._stack.callback(self._end, self._file.close)
            start = self.rows.start()
            end = journal.cut(os.fstat(self._file.fileno()).st_size) if going_on else 0
            if end:
                self._file.truncate(end)
                self._file.seek(end)
            else:
                self._file.truncate(0)
                self._file.write(start)
        self._size = 0 if self._direct else self._file.tell()
        self._written = self._synced = time.monotonic()

    def _require_free(self) -> None:
        stopped = self._beside.exists() and self._unfinished.exists()
        if stopped and not (self._resume or self._overwrite):
            raise MobileNetV2Error(
                f"{self._unfinished}: a run was stopped here; {argument('resume', True)} goes on "
                f"with it, {argument('overwrite', True)} starts anew"
            )

    def _end(self, close: Callable[[], None]) -> None:
        """Close a file; what it could not write was reported before."""
        try:
            close()
        except BrokenPipeError:
            pass  # the reader has ended, and has not taken all
        except OSError:
            if not self._torn:
                raise

    def is_done(self, photo: Identity) -> bool:
        """Return True for a photo whose answer is in the file already."""
        return self._journal is not None and self._journal.is_done(photo)

    def add(self, row: Row, photo: Identity) -> None:
        """Write the answer of a photo."""
        bad = "error" in row
        self._count, self._failed = self._count + 1, self._failed + bad
        self._waiting.append((photo, self.rows.text(row), bad))
        if self.at_once or time.monotonic() - self._written > SECONDS_BETWEEN_WRITES:
            self._write()

    def _write(self) -> None:
        if self._torn:  # what is behind the last entry is cut off when the run goes on
            return
        self._torn = True
        # Ctrl-C comes after the entries of the rows. It may end the wait for a pipe's reader.
        with self._naming(), nullcontext() if self._direct else without_interrupts():
            self._write_rows()
        self._torn = False

    def _write_rows(self) -> None:
        done: list[tuple[Identity, int, bool]] = []
        for photo, text, bad in self._waiting:
            self._size += len(text)
            done.append((photo, self._size, bad))
        try:
            self._file.write(b"".join(text for _, text, _ in self._waiting))
            self._file.flush()
        except BrokenPipeError:
            self.closed = True
        self._waiting.clear()
        self._written = time.monotonic()
        if self._journal is None:
            return
        if syncs := self._written - self._synced > SECONDS_BETWEEN_SYNCS:
            os.fsync(self._file.fileno())
        self._journal.add(done)
        if syncs:
            self._journal.sync()
            self._synced = self._written

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._context.run(self._leave, error)

    def _leave(self, error: BaseException | None) -> None:
        stopped = isinstance(error, KeyboardInterrupt) and not isinstance(error, Stopped)
        try:
            with self._naming(), self._stack:
                try:
                    self._write()
                    if error is None and not self._direct:
                        self._finish()
                finally:
                    self._remove_if_empty()
        except KeyboardInterrupt:
            stopped = True
        if stopped and self._journal is not None:
            count = self._journal.written
            done = f"the answers of {counted(count, 'photo')} are in {self._unfinished}"
            raise Stopped(
                self.path,
                f"{done if count else 'no answer was there yet'}; to go on, give the same options",
            ) from None
        if stopped and error is None:
            raise KeyboardInterrupt

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Name the file in the errors of a full disk, which name none."""
        try:
            yield
        except OSError as error:
            if error.filename is not None or error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def _remove_if_empty(self) -> None:
        """Remove the unfinished file of a run that has ended early without an answer."""
        if self._journal is not None and not self._journal.entries:
            self._end(self._file.close)
            self._end(self._journal.close)
            for left in (self._beside, self._unfinished):
                left.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Let the file take its place, without the rows of photos that have changed since."""
        assert self._journal is not None
        os.fsync(self._file.fileno())
        obsolete = self._journal.obsolete(len(self.rows.start()))
        lines = made = self._unfinished
        if obsolete:
            lines = made = self._target.with_name(self._target.name + FINISHED)
            with self._unfinished.open("rb") as given, lines.open("wb") as target:
                _copy_without(given, target, obsolete)
        if self.rows.kind == "parquet":
            made = self._target.with_name(f"{self._target.name}{FINISHED}-table")
            with lines.open("rb") as given:
                write_parquet(given, made, self.rows)
        if made != self._unfinished:
            with made.open("rb+") as file:
                os.fsync(file.fileno())
        self._file.close()  # Windows renames no open file
        take_place(made, self._target)
        self._journal.close()
        # The rows last: as long as the file has not taken its place, they are all there is.
        self._beside.unlink()
        for left in (lines, self._unfinished):
            left.unlink(missing_ok=True)


def settings_before(path: Path) -> Mapping[str, Any] | None:
    """Return the settings of the run that was stopped at a file; None if none was."""
    if path.is_dir():
        return None
    target, _ = target_of_links(path)
    with suppress(OSError):
        if target.with_name(target.name + UNFINISHED).exists():
            return settings_in(target.with_name(target.name + JOURNAL))
    return None


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
