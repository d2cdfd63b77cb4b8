"""Sources of photos: a folder, a .zip or .tar archive, an archive for each split, built-in sets.

Archives are read in place. Nothing is unpacked, so that no name in an archive can refer to a file
outside of it.
"""

import io
import os
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from mobilenetv2.errors import DataError, ImageError, argument, require
from mobilenetv2.files import open_file
from mobilenetv2.images.decode import LIMITS, SUFFIXES
from mobilenetv2.text import SHOWN, listed

DIGITS_OF_TEST = 360
MODEL, WEIGHTS = "config.json", "model.safetensors"
"""Files of every model folder (``model.store``, a room that this one does not know)."""


class Source:
    """Files by name, with '/' between folders.

    Args:
        place: the source's name for messages.
        names: files, and folders with '/' at the end; parent folders of files may be left out.
        links: number of links that were not followed.
    """

    def __init__(self, place: str, names: Iterable[str], links: int = 0) -> None:
        self.place, self.links = place, links
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
        """Return a file's bytes.

        Raises:
            ImageError: the file cannot be read; the message begins with its full name.
        """
        raise NotImplementedError

    def _require_small(self, name: str, size: int) -> None:
        if size > LIMITS.bytes:
            raise ImageError(f"{self.place}/{name}: larger than {LIMITS.bytes:,} bytes")


class FolderSource(Source):
    """A folder on the disk; links to places outside of it are not followed."""

    def __init__(self, root: Path) -> None:
        names, links, inside = [], 0, root.resolve()
        for folder, below, files in os.walk(root, onerror=_cannot_list):
            here = Path(folder)
            shown = sorted(name for name in below if not _hidden(name))
            below[:] = [name for name in shown if not (here / name).is_symlink()]
            links += len(shown) - len(below)
            names += [f"{(here / name).relative_to(root).as_posix()}/" for name in below]
            for path in (here / name for name in files if not _hidden(name)):
                if path.is_symlink() and not _leads_into(inside, path):
                    links += 1
                else:
                    names.append(path.relative_to(root).as_posix())
        super().__init__(str(root), names, links)
        self.root = root

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        path = self.root / name
        try:
            with open_file(path) as file:
                return file.read(LIMITS.bytes + 1)  # decoding then reports a file over the limit
        except OSError as error:
            raise ImageError(f"{path}: cannot be opened ({error.strerror})") from None


class ZipSource(Source):
    """A .zip archive."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise DataError(f"{path}: damaged zip archive ({error})") from None
        self._entries = {
            entry.filename: entry
            for entry in self._archive.infolist()
            if not _hidden_path(entry.filename)
        }
        super().__init__(str(path), self._entries)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        entry = self._entries[name]
        self._require_small(name, entry.file_size)
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Python unpacks bzip2 and LZMA with unbounded memory, and photos do not need them.
            raise ImageError(
                f"{self.place}/{name}: compressed by an unsupported method; "
                "make the archive without compression"
            )
        try:
            with self._archive.open(entry) as file:
                return file.read(LIMITS.bytes + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError,
                RuntimeError) as error:  # fmt: skip
            raise ImageError(f"{self.place}/{name}: cannot be unpacked ({error})") from None


class TarSource(Source):
    """An uncompressed .tar archive with random access."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with tarfile.TarFile(path) as archive:
                members = archive.getmembers()
            _check_end(path, archive.offset)
        except (tarfile.TarError, EOFError) as error:
            raise DataError(
                f"{path}: not an uncompressed tar archive, or damaged ({error})"
            ) from None
        named = {
            member.name.removeprefix("./"): member
            for member in members
            if not _hidden_path(member.name.removeprefix("./"))
        }
        self._members = {name: member for name, member in named.items() if member.isfile()}
        folders = [f"{name}/" for name, member in named.items() if name and member.isdir()]
        links = sum(member.issym() or member.islnk() for member in named.values())
        super().__init__(str(path), [*self._members, *folders], links)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        member = self._members[name]
        self._require_small(name, member.size)
        if member.issparse():
            raise ImageError(f"{self.place}/{name}: a sparse file, which is not supported")
        try:
            with open_file(self._path) as file:
                file.seek(member.offset_data)
                data = file.read(member.size)
        except OSError as error:
            raise ImageError(f"{self.place}/{name}: cannot be read ({error.strerror})") from None
        if len(data) < member.size:
            raise ImageError(f"{self.place}/{name}: cannot be read (the archive is truncated)")
        return data


class ArchivesSource(Source):
    """A folder with an archive for each split, as some datasets are published: train.zip, test.zip.

    The class folders of each archive are in a folder named after it.

    Raises:
        DataError: an archive is damaged, or two have the same name.
    """

    def __init__(self, root: Path, archives: list[Path]) -> None:
        self._files: dict[str, tuple[Source, str]] = {}
        links = 0
        twice = [
            name for name, count in Counter(p.stem.lower() for p in archives).items() if count > 1
        ]
        if twice:
            raise DataError(f"{root}: has several archives named {twice[0]!r}; keep one of them")
        for path in archives:
            source = open_source(path)
            links += source.links
            names, folder = source.names(), f"{path.stem}/"
            around = _folders_around(names)
            for name in names:
                if not around.startswith(name):  # skip the folders above the class folders
                    self._files[folder + name.removeprefix(around)] = (source, name)
        super().__init__(str(root), self._files, links)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        source, inner = self._files[name]
        return source.read(inner)


class MemorySource(Source):
    """Files in memory, for built-in sets."""

    def __init__(self, place: str, files: Mapping[str, bytes]) -> None:
        super().__init__(place, files)
        self._files = files

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        return self._files[name]


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


ARCHIVES: dict[str, type[ZipSource] | type[TarSource]] = {".zip": ZipSource, ".tar": TarSource}
"""Reader of each kind of archive, by suffix in lower case."""


def open_source(path: Path, splits: Collection[str] = ()) -> Source:
    """Open a folder, an archive, or a folder of archives named after ``splits`` (in lower case).

    A folder of archives must contain no folders and no photos.

    Raises:
        DataError: none of them, not there, a model's or a run's folder, or an archive is damaged.
        OSError: a pipe or a device, or it may not be read.
    """
    if path.is_dir():
        require_no_model(path)
        found = [below for below in sorted(path.iterdir()) if not _hidden(below.name)]
        named = [
            below
            for below in found
            if below.suffix.lower() in ARCHIVES and below.stem.lower() in splits
        ]
        other = any(below.is_dir() or below.suffix.lower() in SUFFIXES for below in found)
        return ArchivesSource(path, named) if named and not other else FolderSource(path)
    if not path.exists():
        raise DataError(f"{path}: no such folder or archive")
    kind = ARCHIVES.get(path.suffix.lower())
    open_file(path).close()  # raises for a pipe, on which the archive readers would wait
    if kind is None:
        raise DataError(
            f"{path}: neither a folder nor a .zip or .tar archive; unpack it or give its folder"
        )
    return kind(path)


def find_photos(names: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the photos named, and those in the folders named, at any depth, in order.

    Raises:
        DataError: names that are not there, folders without photos, or a folder of a model or of
            a run, whose figures are no photos.
    """
    return [photo for found in find_each(names) for photo in found]


def find_each(names: Iterable[str | os.PathLike[str]]) -> list[list[Path]]:
    """Return the photos of each name as :func:`find_photos` finds them.

    Raises:
        DataError: for the reasons of :func:`find_photos`; all names that are not there and all
            folders without photos stand in one message.
    """
    found: list[list[Path]] = []
    missing: list[str] = []
    empty: list[str] = []
    for path in map(Path, names):
        inside = [path]
        if path.is_dir():
            require_no_model(path)
            inside = [
                path / entry
                for entry in FolderSource(path).names()
                if Path(entry).suffix.lower() in SUFFIXES and not entry.endswith("/")
            ]
            empty += [] if inside else [str(path)]
        elif not path.exists():
            missing.append(str(path))
        found.append(inside)
    mistakes = [f"{listed(missing, SHOWN)}: no such photo or folder"] if missing else []
    which = "this folder" if len(empty) == 1 else "these folders"
    mistakes += [f"{listed(empty, SHOWN)}: no photos in {which}"] if empty else []
    if mistakes:
        raise DataError("; ".join(mistakes))
    return found


def require_no_model(folder: Path) -> None:
    """Raise DataError for a model folder or a run folder where photos are expected."""
    for model, what in ((folder / "best", "a run"), (folder, "a model folder")):
        if (model / MODEL).is_file() and (model / WEIGHTS).is_file():
            raise DataError(
                f"{folder}: {what}, not photos; did you mean it as the model: "
                f"{argument('model', str(model))}?"
            )


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _hidden_path(name: str) -> bool:
    return any(_hidden(part) for part in name.split("/"))


def _leads_into(folder: Path, link: Path) -> bool:
    # Before Python 3.13, Path.resolve raises on a link to itself.
    return Path(os.path.realpath(link)).is_relative_to(folder)


def _check_end(path: Path, offset: int) -> None:
    """Raise unless a tar archive ends with zeros, since tarfile takes a damaged header for the end.

    Raises:
        tarfile.ReadError: other bytes are there.
    """
    with open_file(path) as file:
        file.seek(offset)
        block = file.read(tarfile.BLOCKSIZE)
    if not block or any(block):
        raise tarfile.ReadError(f"no file and no end of the archive at byte {offset}")


def _folders_around(names: list[str]) -> str:
    """Return the folders above the class folders: 'train/' for train/CLASS/, '' for CLASS/."""
    photos = [
        PurePosixPath(name).parts
        for name in names
        if PurePosixPath(name).suffix.lower() in SUFFIXES
    ]
    depth = 0
    while (
        photos
        and len({parts[depth] for parts in photos}) == 1
        and all(len(parts) > depth + 2 for parts in photos)
    ):
        depth += 1
    return "".join(f"{part}/" for part in photos[0][:depth]) if photos else ""


def _cannot_list(error: OSError) -> None:
    raise DataError(f"{error.filename}: the folder cannot be listed ({error.strerror})")
