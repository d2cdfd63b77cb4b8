"""Files that a person names: opened without waiting, written atomically.

Reading: only regular files are opened, so that no pipe is waited for and no device is touched.

Writing: a kill at any moment leaves the old file or folder, or the new, never half. A file is
written beside its target under a temporary name, flushed to the disk and renamed. A folder cannot
be renamed over another one, so the old folder steps aside first; a kill between the two renames
leaves it under a name that :func:`recover` knows, and every reader calls that. Links stay links:
what they lead to is replaced. What is no regular file is written into and never replaced.
"""

import contextlib
import errno
import glob
import io
import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

TEMPORARY = ".partial-"
PREVIOUS = ".previous-"
ORPHANED = 24 * 3600.0
"""Seconds after which nobody writes a temporary folder any more."""


KINDS = {
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip
OPEN_FILES = re.compile(r"/(dev|proc/\w+)/fd")
"""Folders whose entries stand for files that a process has open: /dev/stdout leads there."""
MOST_LINKS = 40


def open_file(path: Path) -> io.BufferedReader:
    """Open a person's file for reading, without waiting for whoever writes it.

    Raises:
        OSError: it is no regular file but a pipe, a device, a socket or a folder; it is not
            there, or may not be read.
    """
    _require_regular(path, path.stat().st_mode)  # opening a device may already do something
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(
            errno.EINVAL, f"is {kind}, not a regular file; save its contents as a file first",
            str(path),
        )  # fmt: skip


def read_file(path: Path) -> bytes:
    """Read a whole file that :func:`open_file` opens; the errors are its."""
    with open_file(path) as file:
        return file.read()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    import hashlib  # loads OpenSSL, which few need

    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file (text as UTF-8), replacing an existing one in one step.

    A link stays, and what it leads to is replaced. A pipe, a device, or a file that this process
    has open under a name such as /dev/stdout is written into.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    target, replaced = _end_of_links(path)
    temporary = target.with_name(f"{TEMPORARY}{target.name}-{uuid4().hex[:8]}")
    try:
        if not replaced:
            with target.open("ab") as file:
                file.write(data)
            return
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):  # what went wrong first is what a person should hear
            temporary.unlink()
        if isinstance(error, OSError):
            # A full disk names no file, and the temporary name would mean nothing to a person.
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    _flush_folder(target.parent)


def _end_of_links(path: Path) -> tuple[Path, bool]:
    """Return what is to be written instead of ``path``, and whether it may be replaced."""
    for _ in range(MOST_LINKS):
        if OPEN_FILES.fullmatch(str(path.parent.absolute())):
            return path, False
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    with suppress(OSError):  # not there, or writing will say why
        mode = path.stat().st_mode
        return path, stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return path, True


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
    target = _place_for_folder(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(_previous(target), ignore_errors=True)  # of a kill after the second rename
    remove_orphans(target)
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


def remove_orphans(target: Path) -> None:
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
        target = _place_for_folder(target)
        shutil.rmtree(_previous(target), ignore_errors=True)
        _exchange(made, target)
        shutil.rmtree(_previous(target), ignore_errors=True)
    else:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(target))
        if _end_of_links(target) == (target, True):
            os.replace(made, target)
        else:  # a link may lead to another disk
            write_atomically(target, made.read_bytes())
            made.unlink()
    _flush_folder(target.parent)


def _place_for_folder(target: Path) -> Path:
    """Return where ``target`` leads, an old folder brought back there; no file may be there."""
    recover(target)
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", str(target))
    return _without_links(target)


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


def _without_links(target: Path) -> Path:
    # Path.resolve raises on a link to itself before Python 3.13.
    return Path(os.path.realpath(target))


def _previous(target: Path) -> Path:
    return target.with_name(f"{PREVIOUS}{target.name}")


def recover(target: Path) -> None:
    """Finish what a kill inside :func:`atomic_folder` left: the old folder comes back.

    Safe beside a process that is just writing: nothing is ever removed here.
    """
    target = _without_links(target)
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
