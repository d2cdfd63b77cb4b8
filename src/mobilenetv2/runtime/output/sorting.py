"""Photos sorted into folders by their classes: copies or links; the photos themselves stay."""

import filecmp
import io
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

from PIL import Image

from mobilenetv2.errors import ImageError, MobileNetV2Error, argument
from mobilenetv2.files import TEMPORARY, open_file, read_file
from mobilenetv2.images.photo import PackedPhoto, Photo, open_photo, path_of
from mobilenetv2.runtime.answers import Answer
from mobilenetv2.text import counted, escaped, visible

REVIEW = "review"
"""Folder of the photos of which the model is not sure."""
_ENDINGS = {
    "jpeg": ".jpg", "mpo": ".jpg", "jpeg2000": ".jp2", "tiff": ".tif", "heif": ".heic",
}  # fmt: skip
"""End of a file's name by Pillow's name of its format, where that is another one."""
LONGEST = 200
"""Largest number of bytes of a name."""
_UNSAFE = re.compile(r'[<>:"/\\|?*\0-\x1f\x7f]')
"""Characters that some system has not in names."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows does not have."""


class PhotoFolders:
    """Folders by class, into which photos are copied or linked.

    A photo whose most probable class is below the threshold goes into ``review``. A multi-label
    model's photo goes into the folder of each of its classes above the threshold. A name that
    another photo has already gets a number; the same photo is not copied twice. A photo in memory
    or in an archive is always copied.

    Args:
        folder: the folder around them; it is made.
        labels: names of the classes, by index.
        threshold: smallest probability, 0 to 1.
        links: True for symbolic links instead of copies.

    Raises:
        MobileNetV2Error: the threshold is not between 0 and 1, or the folder is a file.
    """

    def __init__(
        self, folder: Path, labels: Sequence[str], threshold: float = 0.5, links: bool = False
    ) -> None:
        if not 0 <= threshold <= 1:
            raise MobileNetV2Error(
                f"{argument('threshold', threshold)}: a probability is from 0 to 1"
            )
        if folder.exists() and not folder.is_dir():
            raise MobileNetV2Error(
                f"{argument('copy_to', str(folder))}: a file; give the name of a folder"
            )
        self.folder, self.threshold, self.links = folder, threshold, links
        self._names = folder_names(labels)
        self.counts = dict.fromkeys((*self._names, REVIEW), 0)
        """Number of photos in each folder that this run has sorted."""
        self.already = 0
        """Number of photos that were in their folder before, or are copies of one that is."""
        self.missed, self.first_missed = 0, ""
        """Number of photos that could not be read again, and so are in no folder; the first one."""

    def add(self, answer: Answer, photo: Photo) -> None:
        """Sort one photo by its answer.

        Raises:
            OSError: nothing can be written into a folder.
        """
        try:
            found = _Source(photo)
        except (OSError, ImageError) as error:  # it has changed since it was predicted
            reason = error.strerror if isinstance(error, OSError) else error
            self.missed += 1
            name = escaped(path_of(photo) or "a photo in memory")
            self.first_missed = self.first_missed or f"{name}: {reason}"
            return
        for name in self._folders_of(answer):
            self.counts[name] += 1
            self.already += not self._put(found, self.folder / name)

    def notes(self) -> list[str]:
        """Return a note on photos that were there before, and one on those that are missing."""
        notes = []
        if self.already:
            notes.append(f"note: {counted(self.already, 'photo')} in the folders already")
        if self.missed:
            first = self.first_missed
            notes.append(f"note: {counted(self.missed, 'photo')} in no folder (first: {first})")
        return notes

    def _folders_of(self, answer: Answer) -> list[str]:
        guesses = answer.named(None if answer.outputs == "sigmoid" else 1)
        sure = [guess.index for guess in guesses if guess.probability >= self.threshold]
        return [self._names[index] for index in sure] or [REVIEW]

    def _put(self, found: "_Source", folder: Path) -> bool:
        """Put a photo into a folder; return False if it is there."""
        folder.mkdir(parents=True, exist_ok=True)
        names = _numbered(folder / _safe(found.name))
        target = next(
            one for one in names if not os.path.lexists(one) or self._is_there(found, one)
        )
        if os.path.lexists(target):
            return False
        self._make(found, target)
        return True

    def _make(self, found: "_Source", target: Path) -> None:
        if self.links and found.path is not None:
            target.symlink_to(found.path.absolute())
            return
        temporary = target.with_name(f"{TEMPORARY}photo-{uuid4().hex[:8]}")
        try:
            if found.path is None:
                temporary.write_bytes(found.data)
            else:
                shutil.copy2(found.path, temporary)
            os.replace(temporary, target)
        finally:
            with suppress(OSError):
                temporary.unlink()

    def _is_there(self, found: "_Source", target: Path) -> bool:
        """Return True if a name stands for the same photo: a link to it, or a copy."""
        if not target.exists():
            return False
        if found.path is None:
            same = target.is_file() and target.stat().st_size == len(found.data)
            return same and read_file(target, len(found.data)) == found.data
        if target.is_symlink() or self.links:
            return target.samefile(found.path)
        return filecmp.cmp(found.path, target, shallow=False)


class _Source:
    """A photo to be copied: the file, or what would be in one.

    Raises:
        OSError, ImageError: it cannot be read.
    """

    def __init__(self, photo: Photo) -> None:
        path = path_of(photo)
        self.path: Path | None = None
        """Path of its file; None for one in memory or in an archive."""
        self.data = b""
        """Bytes for a file, if it has none."""
        if isinstance(photo, PackedPhoto):
            self.name, self.data = photo.path.name, photo.read()
        elif path is not None:
            open_file(path).close()
            self.name, self.path = path.name, path
        else:
            self.data, self.name = _as_file(photo)


def _as_file(photo: Photo) -> tuple[bytes, str]:
    """Return a photo in memory as a file, and the file's name, which says what is in it.

    Raises:
        ImageError: it is no photo.
    """
    if isinstance(photo, bytes):
        data, ending = photo, ".jpg"
        with suppress(OSError), Image.open(io.BytesIO(photo)) as opened:
            kind = (opened.format or "jpeg").lower()
            ending = _ENDINGS.get(kind, f".{kind}")
    else:
        file = io.BytesIO()
        open_photo(photo).save(file, "PNG")  # upright and in RGB, as it was predicted
        data, ending = file.getvalue(), ".png"
    return data, f"photo-{blake2b(data, digest_size=6).hexdigest()}{ending}"


def folder_names(labels: Sequence[str]) -> list[str]:
    """Return a name of a folder for each class, which every system has; all are different."""
    taken, names = {REVIEW}, []
    for label in labels:
        name = _safe(label)
        for candidate in _variants(name):
            if candidate.casefold() not in taken:
                break
        taken.add(candidate.casefold())
        names.append(candidate)
    return names


def _variants(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _numbered(path: Path) -> Iterator[Path]:
    return (path.with_name(name + path.suffix) for name in _variants(path.stem))


def _safe(name: str) -> str:
    """Return a name without what systems refuse, and without a way out of its folder."""
    found = _UNSAFE.sub("_", visible(escaped(name))).strip(". ") or "_"
    found = f"_{found}" if _RESERVED.fullmatch(found) else found
    # The end stays: it says what kind of a file it is.
    return found.encode()[-LONGEST:].decode("utf-8", "ignore").strip(". ") or "_"
