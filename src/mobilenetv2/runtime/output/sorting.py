"""Photos sorted into folders by their classes: copies or links; the photos themselves stay."""

import filecmp
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from mobilenetv2.errors import MobileNetV2Error, argument
from mobilenetv2.files import read_file
from mobilenetv2.images.photo import PackedPhoto, Photo, path_of
from mobilenetv2.runtime.answers import Answer
from mobilenetv2.text import escaped, visible

REVIEW = "review"
"""Folder of the photos of which the model is not sure."""
THRESHOLD = 0.5
"""Smallest probability of a photo that is not for review."""
_UNSAFE = re.compile(r'[<>:"/\\|?*\0-\x1f\x7f]')
"""Characters that some system has not in names."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows does not have."""


class PhotoFolders:
    """Folders by class, into which photos are copied or linked.

    A photo whose most probable class is below the threshold goes into ``review``. A multi-label
    model's photo goes into the folder of each of its classes above the threshold. A name that
    another photo has already gets a number; the same photo is not copied twice.

    Args:
        folder: the folder around them; it is made.
        labels: names of the classes, by index.
        threshold: smallest probability, 0 to 1.
        links: True for symbolic links instead of copies.

    Raises:
        MobileNetV2Error: the threshold is not between 0 and 1.
    """

    def __init__(
        self, folder: Path, labels: Sequence[str], threshold: float = THRESHOLD, links: bool = False
    ) -> None:
        if not 0 <= threshold <= 1:
            raise MobileNetV2Error(
                f"{argument('threshold', threshold)}: a probability is from 0 to 1"
            )
        self.folder, self.threshold, self.links = folder, threshold, links
        self._names = folder_names(labels)
        self.counts = dict.fromkeys((*self._names, REVIEW), 0)
        """Number of photos in each folder that this run has sorted."""

    def add(self, answer: Answer, photo: Photo) -> None:
        """Sort one photo by its answer.

        Raises:
            OSError: it cannot be copied or linked.
        """
        for name in self._folders_of(answer):
            self.counts[name] += 1
            self._put(photo, self.folder / name)

    def _folders_of(self, answer: Answer) -> list[str]:
        guesses = answer.named(None if answer.outputs == "sigmoid" else 1)
        sure = [guess.index for guess in guesses if guess.probability >= self.threshold]
        return [self._names[index] for index in sure] or [REVIEW]

    def _put(self, photo: Photo, folder: Path) -> None:
        path = path_of(photo)
        folder.mkdir(parents=True, exist_ok=True)
        name = _safe(path.name if path else "photo.jpg")
        for target in _numbered(folder / name):
            if not os.path.lexists(target):
                self._make(photo, target)
                return
            if self._is_there(photo, target):
                return

    def _make(self, photo: Photo, target: Path) -> None:
        if self.links and not isinstance(photo, PackedPhoto):
            source = Path(str(path_of(photo))).absolute()
            target.symlink_to(source)
            return
        temporary = target.with_name(f".partial-{target.name}-{uuid4().hex[:8]}")
        try:
            if isinstance(photo, PackedPhoto):
                temporary.write_bytes(photo.read())
            else:
                shutil.copy2(str(path_of(photo)), temporary)
            os.replace(temporary, target)
        finally:
            with suppress(OSError):
                temporary.unlink()

    def _is_there(self, photo: Photo, target: Path) -> bool:
        """Return True if a name stands for the same photo: a link to it, or a copy."""
        if isinstance(photo, PackedPhoto):
            data = photo.read()
            same = target.is_file() and target.stat().st_size == len(data)
            return same and read_file(target, len(data)) == data
        path = path_of(photo)
        if path is None or not target.exists():
            return False
        if target.is_symlink() or self.links:
            return target.samefile(path)
        return filecmp.cmp(path, target, shallow=False)


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
    return f"_{found}" if _RESERVED.fullmatch(found) else found[-200:]
