"""Reading of regular files, and atomic writing of files and folders.

Reading: only regular files are opened, so that no read waits for a pipe or touches a device.

Writing: a kill at any moment leaves the old or the new file or folder, never a half-written one. A
file is written beside its target under a temporary name, flushed to the disk and renamed. A folder
cannot be renamed over another one, so the old folder is renamed first. A kill between the two
renames leaves it under a name that :func:`recover` knows; every reader calls that. A folder has one
writer at a time (:func:`mobilenetv2.locks.hold`); the others wait. Symbolic links are kept, and
their targets replaced. A pipe or a device is written into and never replaced.
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

from mobilenetv2.errors import InUse
from mobilenetv2.locks import hold

TEMPORARY = ".partial-"
PREVIOUS = ".previous-"
ORPHANED = 24 * 3600.0
"""Age in seconds after which a temporary folder counts as abandoned on a disk without locks."""


LEFT = re.compile(
    rf"{re.escape(PREVIOUS)}(?P<previous>.+)|{re.escape(TEMPORARY)}(?P<temporary>.+)(\.lock|-\w+)",
    re.DOTALL,
)
"""Names of what a killed process leaves: a former folder, a temporary file or folder, a lock."""

KINDS = {
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip
OPEN_FILES = re.compile(r"/(dev|proc/\w+)/fd")
"""Folders whose entries stand for a process's open files; /dev/stdout leads there."""
MOST_LINKS = 40


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file for reading, without waiting for another process to write it.

    Raises:
        OSError: the path is a pipe, a device, a socket or a folder, does not exist, or may not be
            read.
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


def exists(path: Path) -> bool:
    """Return True if something is there; False for a name that no file can have, too."""
    with suppress(OSError, ValueError):  # ValueError: a NUL
        path.stat()
        return True
    return False


def is_folder(path: Path) -> bool:
    """Return True for a folder; False for a name that no file can have, too."""
    with suppress(OSError, ValueError):
        return stat.S_ISDIR(path.stat().st_mode)
    return False


def read_file(path: Path, most: int | None = None) -> bytes:
    """Read a whole regular file.

    Args:
        path: the file.
        most: maximum size in bytes; None for any.

    Raises:
        OSError: :func:`open_file` cannot open it, or it is larger.
    """
    with open_file(path) as file:
        if most is None:
            return file.read()
        data = read_start(file, most)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"is larger than {most:,} bytes", str(path))
    return data


def read_start(file: io.BufferedReader, most: int) -> bytes:
    """Return a whole open file, or its first ``most`` + 1 bytes if it has more than ``most``."""
    # Python takes as much memory as it is asked for, whatever there is to read.
    size = os.fstat(file.fileno()).st_size
    data = file.read(min(size, most) + 1)
    if len(data) > size:  # it grows, or is one of /proc's, which are larger than they say
        data += file.read(most + 1 - len(data))
    return data


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    import hashlib  # loads OpenSSL, which few need

    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file (text as UTF-8), replacing an existing one in one step.

    A symbolic link is kept, and its target is replaced. A pipe, a device, or a file that this
    process has open under a name such as /dev/stdout is written into.
    """
    # A name that is not UTF-8 has surrogates; as escapes they are also right in JSON.
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    target, replaced = target_of_links(path)
    temporary = target.with_name(f"{TEMPORARY}{target.name}-{uuid4().hex[:8]}")
    try:
        if not replaced:
            # The reader of a pipe may have ended, as head does.
            with suppress(BrokenPipeError), target.open("ab") as file:
                file.write(data)
            return
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):  # report the first error, not this one
            temporary.unlink()
        if isinstance(error, OSError):
            # The error of a full disk names no file, and users do not know the temporary name.
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    _flush_folder(target.parent)


def target_of_links(path: Path) -> tuple[Path, bool]:
    """Return the path to write instead of ``path``, and True if it may be replaced.

    It may not if it is a pipe, a device, or a file that this process has open.

    Raises:
        OSError: links lead to each other.
    """
    for _ in range(MOST_LINKS):
        if OPEN_FILES.fullmatch(str(path.parent.absolute())):
            return path, False
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    with suppress(OSError):  # the path does not exist, or writing will raise
        mode = path.stat().st_mode
        return path, stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return path, True


def require_only(folder: Path, names: Collection[str]) -> None:
    """Raise if a folder that will be replaced holds anything except ``names``.

    Raises:
        FileExistsError: another entry would be lost; the error names the first one.
    """
    if folder.is_dir():
        for entry in sorted(folder.iterdir()):
            if entry.name not in names or entry.is_dir():
                raise FileExistsError(
                    errno.EEXIST, "would be lost, so the folder is not replaced", str(entry)
                )


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``target`` that replaces it at the end.

    After an error in the ``with`` block nothing is left, and an old ``target`` is unchanged.

    Raises:
        NotADirectoryError: ``target`` is a file.
        OSError: the folder cannot be written; the error names ``target``.
    """
    given = target
    with hold(target, wait=True) as alone:
        target = _place_for_folder(target)
        remove_orphans(target, alone)
        temporary = target.with_name(f"{TEMPORARY}{target.name}-{uuid4().hex[:8]}")
        try:
            with naming(given, temporary):
                temporary.mkdir()
                yield temporary
                _flush_folder(temporary)
                _exchange(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk, which may come without the name of a file."""


@contextmanager
def naming(place: Path, temporary: Path, home: Path | None = None) -> Iterator[None]:
    """Make errors of a disk in the ``with`` block name a path that users know.

    Args:
        place: path for the temporary folder, and for errors that name no file.
        temporary: the temporary folder.
        home: folder that the temporary folder's files are for. Default: ``place``.
    """
    try:
        yield
    except OSError as error:
        name, known = str(error.filename or ""), str(temporary)
        if name.startswith(f"{known}{os.sep}"):
            name = f"{place if home is None else home}{name.removeprefix(known)}"
        elif (name and name != known) or (not name and error.errno not in NO_SPACE):
            raise
        else:
            name = str(place)
        raise OSError(error.errno, error.strerror, name) from None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder in the system's folder for temporary files, which is deleted at the end.

    Raises:
        OSError: the disk is full; the error names the system's folder.
    """
    import tempfile  # it takes milliseconds

    with tempfile.TemporaryDirectory(prefix="mobilenetv2-") as name:
        place = Path(name)
        with naming(place.parent, place, place.parent):
            yield place


def remove_orphans(target: Path, alone: bool) -> None:
    """Remove the temporary folders that killed writers of ``target`` left.

    Args:
        target: the file or folder that they were for.
        alone: True if this process holds ``target``. Else only old ones are removed, because a new
            one may belong to another process that is writing.
    """
    for orphan in target.parent.glob(f"{TEMPORARY}{glob.escape(target.name)}-{'[0-9a-f]' * 8}"):
        with suppress(OSError):  # another process removed it
            if alone or time.time() - orphan.stat().st_mtime > ORPHANED:
                shutil.rmtree(orphan)


def take_place(made: Path, target: Path) -> None:
    """Rename a finished file or folder to ``target`` on the same disk, replacing an older one.

    Raises:
        NotADirectoryError: ``target`` is a file, and ``made`` a folder.
        IsADirectoryError: ``target`` is a folder, and ``made`` a file.
    """
    if made.is_dir():
        with hold(target, wait=True):
            _exchange(made, _place_for_folder(target))
        return
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(target))
    if target_of_links(target) == (target, True):
        os.replace(made, target)
    else:  # a link may lead to another disk
        write_atomically(target, made.read_bytes())
        made.unlink()
    _flush_folder(target.parent)


def _place_for_folder(target: Path) -> Path:
    """Return the target of ``target``'s links, after an interrupted replacement is finished.

    Raises:
        NotADirectoryError: a file is there.
    """
    recover(target)
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", str(target))
    return _without_links(target)


def _exchange(temporary: Path, target: Path) -> None:
    """Rename ``temporary`` to ``target``, which this process holds; the old folder is removed."""
    shutil.rmtree(_previous(target), ignore_errors=True)  # left by a kill after the second rename
    for attempt in range(100):
        if target.exists():
            os.rename(target, _previous(target))
        try:
            os.rename(temporary, target)
            break
        except OSError:
            # A reader may have brought the old folder back between the two renames.
            if attempt == 99 or not target.exists():
                raise
    _flush_folder(target.parent)
    shutil.rmtree(_previous(target), ignore_errors=True)


def _without_links(target: Path) -> Path:
    # Path.resolve raises on a link to itself before Python 3.13.
    return Path(os.path.realpath(target))


def _previous(target: Path) -> Path:
    return target.with_name(f"{PREVIOUS}{target.name}")


def recover(target: Path) -> None:
    """Bring back the old folder after a kill inside :func:`atomic_folder`.

    This is safe while another process is writing, since nothing is removed.
    """
    target = _without_links(target)
    if not target.exists():
        # There is no old folder, or the writer was faster; the reader reports a missing folder.
        with contextlib.suppress(OSError):
            os.rename(_previous(target), target)


def sweep(folder: Path) -> None:
    """Remove what killed processes left directly in ``folder``.

    What another process holds stays: it may be writing there.
    """
    for left in sorted(folder.iterdir()):
        if not (found := LEFT.fullmatch(left.name)):
            continue
        target = folder / (found["previous"] or found["temporary"])
        if found["previous"] and not target.exists():
            continue  # recover will bring it back
        # What cannot be locked or removed is in nobody's way.
        with suppress(InUse, OSError), hold(target) as alone:  # removes the lock that was left
            if left.exists() and (alone or time.time() - left.stat().st_mtime > ORPHANED):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _flush_folder(folder: Path) -> None:
    # Without this a power failure may undo a rename. Windows cannot open folders.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
