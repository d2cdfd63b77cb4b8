"""Sources of photos: files by name, in a folder, in memory, and in built-in sets; their tree.

A name is text with '/' between folders. A file's name that is no text is escaped
(:func:`mobilenetv2.text.escaped`), here and so in all that is written of it.
"""

import io
import os
import stat
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data import passed_over
from mobilenetv2.data.passed_over import Ignore, PassedOver, reason_of
from mobilenetv2.errors import DataError, ImageError, require
from mobilenetv2.files import open_file
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.images.memory import read_photo_file
from mobilenetv2.text import counted, escaped

DIGITS_OF_TEST = 360


class Source:
    """Files by name, with '/' between folders.

    Args:
        place: the source's name for messages.
        names: files, and folders with '/' at the end; parent folders of files may be left out.
        passed: what is not among the names.
        notes: sentences about the source, for people.
    """

    def __init__(
        self,
        place: str,
        names: Iterable[str],
        passed: PassedOver | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        self.place, self.passed = place, passed or PassedOver()
        self.notes = list(notes)
        listed = set(names)
        files = {name for name in listed if not name.endswith("/")}
        folders = listed - files
        for name in files:
            parts = name.split("/")[:-1]
            folders |= {"/".join(parts[: depth + 1]) + "/" for depth in range(len(parts))}
        self._names = sorted(files) + sorted(folders)

    def names(self) -> list[str]:
        """Return all files, sorted, then all folders, including empty ones, with '/' at the end."""
        return self._names

    def read(self, name: str) -> bytes:
        """Return a file's bytes; within ``SHARED.work()``, once there is memory for a large one.

        Raises:
            ImageError: the file cannot be read; the message begins with its full name.
        """
        raise NotImplementedError

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, without reading it; None if they are unknown."""
        return None

    def ahead(self, names: Sequence[str]) -> AbstractContextManager[None]:
        """Read files ahead of their turn while the ``with`` block lasts, where that is faster.

        Args:
            names: files, in about the order in which they will be read.
        """
        return nullcontext()

    def stored(self, names: Sequence[str]) -> NDArray:
        """Return the order in which files are read fastest, as int64 indices (names,)."""
        return np.arange(len(names))

    def buffered(self, names: Sequence[str], seed: int, epoch: int) -> NDArray | None:
        """Return an epoch's order in which files are read in large parts; None if there is none.

        Args:
            names: files, each of which comes once.
            seed: seed of the run.
            epoch: the epoch, each of which has an order of its own.
        """
        return None


class Folder:
    """A folder among the names of photos: the folders in it, and its own photos."""

    __slots__ = ("count", "folders", "name", "path", "photos")

    def __init__(self, path: str) -> None:
        self.path, self.name = path, path.rpartition("/")[2]
        self.folders: dict[str, Folder] = {}
        self.photos: list[str] = []
        self.count = 0
        """Number of photos at any depth."""

    def below(self) -> "list[Folder]":
        """Return the folders in it that have photos at any depth."""
        return [folder for folder in self.folders.values() if folder.count]

    def all_photos(self) -> list[str]:
        """Return the names of photos at any depth."""
        found = list(self.photos)
        for folder in self.folders.values():
            found += folder.all_photos()
        return found

    def holders(self) -> set[str]:
        """Return the paths, seen from here, of the folders below that hold photos themselves."""
        found, start = set(), len(self.path) + 1 if self.path else 0
        left = list(self.folders.values())
        while left:
            folder = left.pop()
            left += folder.folders.values()
            if folder.photos:
                found.add(folder.path[start:])
        return found


def tree(photos: Iterable[str], folders: Iterable[str] = ()) -> Folder:
    """Return the folder around photos and folders, by their names with '/' between folders."""
    root = Folder("")

    def reach(parts: Sequence[str], photos: int) -> Folder:
        here = root
        here.count += photos
        for part in parts:
            path = f"{here.path}/{part}" if here.path else part
            here = here.folders.setdefault(part, Folder(path))
            here.count += photos
        return here

    for name in folders:
        reach(name.strip("/").split("/"), 0)
    for above, group in groupby(photos, lambda name: name.rpartition("/")[0]):
        inside = [*group]  # most names come in the order of their folders
        reach(above.split("/") if above else [], len(inside)).photos += inside
    return root


class FolderSource(Source):
    """A folder on the disk.

    Links are followed, inside the folder and to other places, which a note tells. A folder is read
    once, however many links lead to it, so that loops end; a link to a folder around the data is
    not followed.

    Args:
        root: the folder.
        ignore: patterns of names that are passed over.

    Raises:
        DataError: a folder cannot be listed.
    """

    def __init__(self, root: Path, ignore: Ignore | None = None) -> None:
        self.root = root
        self._real: dict[str, str] = {}
        """Names on the disk of those that are escaped."""
        walk = Walk(root, ignore or Ignore())
        found = [*walk]
        self._real = {escaped(name): name for name in found if escaped(name) != name}
        names = map(escaped, found)
        super().__init__(escaped(root), names, walk.passed, walk.notes())

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self.root / self._real.get(name, name)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        try:
            with open_file(self.path(name)) as file:
                return read_photo_file(
                    file, LIMITS.bytes
                )  # decoding then reports a file over the limit
        except OSError as error:
            raise ImageError(f"{self.place}/{name}: cannot be opened ({error.strerror})") from None

    def size(self, name: str) -> int | None:
        """Return the bytes of a file."""
        return size_of(self.path(name))


def size_of(path: Path) -> int | None:
    """Return the bytes of a file; None if it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return None


class Walk:
    """The files and folders below a folder, found one by one, with their links.

    Iteration yields names relative to the folder, as on the disk; those of folders end in '/'. They
    are in order, and those behind links to folders come last: a folder is read once, by its own
    name. Only the names of the folders around the current one are kept.

    Args:
        root: the folder.
        ignore: patterns of names that are passed over.
        ordered: False to yield names as the disk lists them, which starts at once even in a folder
            of a million files.
        lenient: True to yield a folder that cannot be listed as if it were a photo, whose reader
            then says why; False to raise.

    Attributes:
        passed: names that are passed over, escaped.
        elsewhere: number of links that lead to other places, and the first of them.
        unlisted: names of folders that could not be listed.
    """

    def __init__(
        self, root: Path, ignore: Ignore, ordered: bool = True, lenient: bool = False
    ) -> None:
        self.root, self.ignore, self.ordered, self.lenient = root, ignore, ordered, lenient
        # One who goes on when a folder cannot be listed takes names one by one, and keeps few.
        self.passed = PassedOver(most=1 if lenient else None)
        self.elsewhere, self.unlisted = (0, ""), set[str]()
        self._inside = os.path.realpath(root)
        # Who names a folder in the one that is passed over means it.
        self._within = ignore.is_without(root)
        self._seen: set[tuple[int, int]] = set()
        self._links: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        """Yield the names.

        Raises:
            DataError: a folder cannot be listed, unless ``lenient``.
        """
        yield from self._below("")
        while self._links:  # after all folders, so that those are not read by the name of a link
            yield from self._behind(self._links.popleft())

    def notes(self) -> list[str]:
        """Return a note on links that lead to other places."""
        count, first = self.elsewhere
        if not count:
            return []
        lead = "leads" if count == 1 else "lead"
        return [
            f"{counted(count, 'link')} that {lead} out of the folder followed "
            f"(first: {escaped(first)})"
        ]

    def _below(self, start: str) -> Iterator[str]:
        """Yield what is in a folder, at any depth; its name is '' or ends in '/'."""
        around = [self._entries(start)]
        try:
            if start:
                yield start
            while around:
                name = next(around[-1], None)
                if name is None:
                    around.pop()
                elif name.endswith("/"):
                    yield name
                    around.append(self._entries(name))
                else:
                    yield name
        finally:
            for entries in around:
                entries.close()

    def _entries(self, folder: str) -> Generator[str, None, None]:
        """Yield the names of what is in one folder and is not passed over, without links to others.

        Names have a '/' at the end for folders, so that they are sorted as their photos are.
        """
        try:
            status = (self.root / folder).stat()
            if not self._within and self.ignore.is_without(self.root / folder):
                self.passed.add(passed_over.SORTED, escaped(folder))
                return
            if folder and self._is_again(status):
                self.passed.add(passed_over.AGAIN, escaped(folder))
                return
            self._seen.add((status.st_dev, status.st_ino))
            with os.scandir(self.root / folder) as listed:
                names = (entry.name + _kind(entry) for entry in listed)
                if not self.ordered:
                    yield from filter(None, (self._taken(folder + name) for name in names))
                    return
                left = sorted(names, reverse=True)
        except OSError as error:
            if not self.lenient:
                raise DataError(
                    f"{escaped(error.filename)}: the folder cannot be listed ({error.strerror})"
                ) from None
            self.unlisted.add(folder.rstrip("/"))
            yield folder.rstrip("/")
            return
        while left:
            if name := self._taken(folder + left.pop()):
                yield name

    def _taken(self, name: str) -> str:
        """Return the name of an entry, with its kind at the end; '' if it is not taken, or later.

        A link to a file is taken as a file; one to a folder is kept for later.
        """
        link = name.endswith(_LINK)
        name = name.removesuffix(_LINK)
        below = name.endswith("/")
        plain = name.rstrip("/")
        why = reason_of(escaped(plain), self.ignore)
        if below and not why and plain.count("/") >= passed_over.MOST_DEEP:
            why = passed_over.TOO_DEEP
        if why:
            self.passed.add(why, escaped(name))
            return ""
        return self._linked(name) if link else name

    def _linked(self, name: str) -> str:
        """Return the name of a link to a file; '' for others, which are kept or passed over."""
        path = self.root / name
        try:
            status = path.stat()
        except (OSError, RuntimeError):  # nothing there, or a link to itself
            self.passed.add(passed_over.BROKEN, escaped(name))
            return ""
        if stat.S_ISDIR(status.st_mode):
            self._links.append(name)
            return ""
        self._note_place(name, os.path.realpath(path))
        return name

    def _behind(self, name: str) -> Iterator[str]:
        """Yield the folder to which a link leads, and what is in it."""
        target = os.path.realpath(self.root / name)
        around = f"{self._inside}{os.sep}".startswith(target.rstrip(os.sep) + os.sep)
        try:
            again = around or self._is_again(Path(target).stat())
        except OSError:  # it is gone meanwhile
            self.passed.add(passed_over.BROKEN, escaped(name))
            return
        if again:
            self.passed.add(passed_over.AGAIN, escaped(name) + "/")
            return
        self._note_place(name, target)
        yield from self._below(f"{name}/")

    def _note_place(self, name: str, target: str) -> None:
        if target != self._inside and not target.startswith(self._inside + os.sep):
            count, first = self.elsewhere
            self.elsewhere = count + 1, min(first, name) if count else name

    def _is_again(self, status: os.stat_result) -> bool:
        # Some network disks number no files: there, only a link to the data's own folder is known.
        return status.st_ino != 0 and (status.st_dev, status.st_ino) in self._seen


_LINK = "\0"
"""End of a link's name, which no name has."""


def _kind(entry: "os.DirEntry[str]") -> str:
    """Return what stands behind an entry's name: '/' for a folder, a mark for a link."""
    if entry.is_symlink():
        return _LINK
    return "/" if entry.is_dir(follow_symlinks=False) else ""


class MemorySource(Source):
    """Files in memory, for built-in sets."""

    def __init__(self, place: str, files: Mapping[str, bytes]) -> None:
        super().__init__(place, files)
        self._files = files

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        return self._files[name]

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        return len(self._files[name])


def digits() -> MemorySource:
    """Return 1,797 real handwritten digits of 8 x 8 pixels, dark strokes on white.

    The files are ``train/CLASS/N.png`` and ``test/CLASS/N.png``; the last 360 digits are the test
    split.

    Source: E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI repository (CC BY
    4.0).

    Raises:
        MissingExtra: scikit-learn, which contains them, is not installed.
    """
    bunch = require("sklearn.datasets").load_digits()
    files = {}
    for index, (picture, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        split = "test" if index >= len(bunch.target) - DIGITS_OF_TEST else "train"
        buffer = io.BytesIO()
        Image.fromarray(np.round(255 - picture * (255 / 16)).astype(np.uint8)).save(buffer, "PNG")
        files[f"{split}/{label}/{index:04d}.png"] = buffer.getvalue()
    return MemorySource("digits", files)


def photographs() -> list[Image.Image]:
    """Return two RGB photographs of 427 x 640 pixels, a Chinese temple and a flower (CC BY 2.0).

    Raises:
        MissingExtra: scikit-learn, which contains them, is not installed.
    """
    images = require("sklearn.datasets").load_sample_images().images
    return [Image.fromarray(image) for image in images]
