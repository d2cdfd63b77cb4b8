"""Atomic writes: a kill at any moment leaves the old file or folder, or the new, never half.

A file is written beside its target under a temporary name, flushed to the disk and renamed.
A folder cannot be renamed over another one, so the old folder steps aside first; a kill between
the two renames leaves it under a name that :func:`recover` knows, and every reader calls that.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

TEMPORARY = ".partial-"
PREVIOUS = ".previous-"


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


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``target`` that takes its place at the end.

    On an error inside the ``with`` block nothing is left and an old ``target`` is untouched.
    """
    recover(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMPORARY}{target.name}-{uuid4().hex[:8]}")
    temporary.mkdir()
    try:
        yield temporary
        _flush_folder(temporary)
        if target.exists():
            previous = target.with_name(f"{PREVIOUS}{target.name}")
            os.rename(target, previous)
            os.rename(temporary, target)
            shutil.rmtree(previous)
        else:
            os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _flush_folder(target.parent)


def recover(target: Path) -> None:
    """Finish what a kill inside :func:`atomic_folder` left: the old folder comes back.

    Where both are there, the kill came after the new folder was in place: the old one goes.
    """
    previous = target.with_name(f"{PREVIOUS}{target.name}")
    if not previous.is_dir():
        return
    if target.exists():
        shutil.rmtree(previous)
    else:
        os.rename(previous, target)


def sweep(folder: Path) -> None:
    """Remove temporary files and folders that a killed process left directly in ``folder``."""
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
