"""Locks, so that no two processes write one run folder or one output at the same time.

A lock is an empty file, which its process keeps locked and removes when it is done. The operating
system releases the lock when the process ends, however it ends. A file that a killed process left
therefore locks nothing: the next writer takes it over and removes it.

A run folder's lock lies inside, because the folder around it may belong to somebody else. The lock
of a file, and of a folder that is replaced as a whole, lies beside it.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenetv2.errors import InUse
from mobilenetv2.progress import say

if TYPE_CHECKING:
    from filelock import BaseFileLock

INSIDE = ".lock"
"""Name of the lock in a folder."""
BESIDE = ".partial-{}.lock"
"""Name of the lock beside an output; it begins as the names of temporary files do."""
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""Errors of file systems that have no locks."""
TRIES = 10
"""Largest number of tries to lock in a folder that another process makes and removes."""
PATIENCE = 0.5
"""Seconds to wait for another holder before a note says so."""

_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


@contextmanager
def hold(
    output: Path, *, inside: bool = False, wait: bool = False,
    allowed: Callable[[], object] | None = None,
) -> Iterator[bool]:  # fmt: skip
    """Lock an output for as long as the ``with`` block lasts; yield False if that is impossible.

    Missing folders are made first, and removed at the end by the process that made them if they
    are empty. Where another process still holds something in them at that time, they may stay,
    empty. Who holds an output may hold it again, as a function does that is called by the
    holder. On a file system without locks, a note says so and nothing is locked.

    Args:
        output: file or folder, which need not exist. Links are followed.
        inside: True for a folder whose files are written one by one; False for a file, and for a
            folder that is replaced as a whole.
        wait: True to wait for the other holder to finish; a note says so once.
        allowed: check that raises if the output may not be written. It is called first, so that
            nothing is made for an output that is refused, and again under the lock, because
            another process may have been faster.

    Raises:
        InUse: another process or thread holds it.
        NotADirectoryError: a file is where a folder is needed.
        OSError: the folder of the lock cannot be made or written; the error names ``output``.
    """
    if allowed is not None:
        allowed()
    place = Path(os.path.realpath(output))  # Path.resolve raises on a link to itself
    file = place / INSIDE if inside else place.with_name(BESIDE.format(place.name))
    if file in _held.get():
        yield True
        return
    from filelock import FileLock, Timeout  # takes too long for a prediction

    made: list[Path] = []
    lock, locked = FileLock(file, fallback_to_soft=False), True
    try:
        for attempt in range(TRIES):
            try:
                made += _make(file.parent)
                _acquire(lock, file, output, wait)
                break
            except FileNotFoundError:  # another process made the folder, and removed it
                if attempt == TRIES - 1:
                    raise
                time.sleep(0.01 * attempt)
    except Timeout:
        _remove(made)
        raise InUse(
            f"{output}: in use, another process is writing there; wait until it has ended, or "
            "choose another path"
        ) from None
    except NotADirectoryError:
        _remove(made)
        raise
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            _remove(made)
            raise OSError(error.errno, error.strerror, str(output)) from None
        locked = False
        file.unlink(missing_ok=True)
        say(
            f"note: {output}: this disk has no locks, so do not start a second command that "
            "writes there"
        )
    _held.set(_held.get() | {file})
    try:
        if allowed is not None:
            allowed()
        yield locked
    finally:
        _held.set(_held.get() - {file})
        if locked:
            if os.name != "nt":  # Windows removes no file that is open; its lock removes itself
                # Before the release: afterwards, the file may be the lock of another process.
                with suppress(OSError):  # the folder is gone, or the disk has become read-only
                    file.unlink()
            lock.release()
        _remove(made)


def _acquire(lock: "BaseFileLock", file: Path, output: Path, wait: bool) -> None:
    """Lock a file, which is made if it is missing.

    Raises:
        Timeout: another process or thread has it locked, and ``wait`` is False.
        OSError: the file can be neither made nor locked.
    """
    from filelock import Timeout

    # filelock would take an error of making the file for another holder, and wait without end.
    # On Windows it does not, and a file that is being removed there cannot be made for a moment.
    if os.name != "nt":
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    try:
        lock.acquire(timeout=PATIENCE if wait else 0)
    except Timeout:
        if not wait:
            raise
        say(f"{output}: another process is writing there; waiting until it has ended")
        lock.acquire()


def _make(folder: Path) -> list[Path]:
    """Make a folder and return those of its path that were missing, the innermost first."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if folder.exists():
            raise NotADirectoryError(
                errno.ENOTDIR, "is a file, not a folder", str(folder)
            ) from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder)) from None
    return missing


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it is not empty
            folder.rmdir()
