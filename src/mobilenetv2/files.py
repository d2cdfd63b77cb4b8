"""Atomic writes: a kill at any moment leaves the old file or folder, or the new, never half.

A file is written beside its target under a temporary name, flushed to the disk and renamed.
A folder cannot be renamed over another one, so the old folder steps aside first; a kill between
the two renames leaves it under a name that :func:`recover` knows, and every reader calls that.
"""

import contextlib
import errno
import glob
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

TEMPORARY = ".partial-"
PREVIOUS = ".previous-"
ORPHANED = 24 * 3600.0
"""Seconds after which nobody writes a temporary folder any more."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file (text as UTF-8), replacing an existing one in one step."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{uuid4().hex[:8]}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # what went wrong first is what a person should hear
            temporary.unlink()
        if isinstance(error, OSError):
            # A full disk names no file, and the temporary name would mean nothing to a person.
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    _flush_folder(path.parent)


def require_only(folder: Path, names: Collection[str]) -> None:
    """Raise if a folder that is to be replaced as a whole holds anything else.

    Raises:
        FileExistsError: the first of what would be lost.
    """
    if folder.is_dir():
        for entry in sorted(folder.iterdir()):
            if entry.name not in names or entry.is_dir():
                raise FileExistsError(
                    errno.EEXIST, "would be lost, so the folder is not replaced", str(entry)
                )


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``target`` that takes its place at the end.

    On an error inside the ``with`` block nothing is left and an old ``target`` is untouched.

    Raises:
        NotADirectoryError: ``target`` is a file.
    """
    recover(target)
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", str(target))
    target = target.absolute()  # '.' has neither a name nor a parent
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(_previous(target), ignore_errors=True)  # of a kill after the second rename
    _remove_orphans(target)
    temporary = target.with_name(f"{TEMPORARY}{target.name}-{uuid4().hex[:8]}")
    temporary.mkdir()
    try:
        yield temporary
        _flush_folder(temporary)
        _exchange(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _flush_folder(target.parent)
    shutil.rmtree(_previous(target), ignore_errors=True)


def _remove_orphans(target: Path) -> None:
    """What killed writers of ``target`` left. Another may be writing: only what is old goes."""
    for orphan in target.parent.glob(f"{TEMPORARY}{glob.escape(target.name)}-{'[0-9a-f]' * 8}"):
        with suppress(OSError):  # somebody else removed it
            if time.time() - orphan.stat().st_mtime > ORPHANED:
                shutil.rmtree(orphan)


def take_place(made: Path, target: Path) -> None:
    """Rename a finished file or folder, on the same disk, to where an older one may be.

    Raises:
        NotADirectoryError, IsADirectoryError: the older one is of the other kind.
    """
    if made.is_dir():
        recover(target)
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", str(target))
        shutil.rmtree(_previous(target), ignore_errors=True)
        _exchange(made, target)
        shutil.rmtree(_previous(target), ignore_errors=True)
    else:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(target))
        os.replace(made, target)
    _flush_folder(target.parent)


def _exchange(temporary: Path, target: Path) -> None:
    """Put ``temporary`` in the place of ``target``; the old one stays under its other name."""
    for attempt in range(100):
        if target.exists():
            os.rename(target, _previous(target))
        try:
            os.rename(temporary, target)
            return
        except OSError:
            # Between the two renames a reader may have put the old folder back.
            if attempt == 99 or not target.exists():
                raise


def _previous(target: Path) -> Path:
    return target.with_name(f"{PREVIOUS}{target.name}")


def recover(target: Path) -> None:
    """Finish what a kill inside :func:`atomic_folder` left: the old folder comes back.

    Safe beside a process that is just writing: nothing is ever removed here.
    """
    if not target.exists():
        # No old folder, or the writer was quicker: whoever reads says what is not there.
        with contextlib.suppress(OSError):
            os.rename(_previous(target), target)


def sweep(folder: Path) -> None:
    """Remove what a killed process left directly in ``folder``; nobody may be writing there."""
    for previous in folder.glob(f"{PREVIOUS}*"):
        if previous.with_name(previous.name.removeprefix(PREVIOUS)).exists():
            shutil.rmtree(previous, ignore_errors=True)
    for orphan in folder.glob(f"{TEMPORARY}*"):
        if orphan.is_dir():
            shutil.rmtree(orphan, ignore_errors=True)
        else:
            orphan.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    # Without this a rename may be lost with the power. Windows cannot open folders.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
