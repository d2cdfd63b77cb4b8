"""ImageNet (ILSVRC2012) in its official archives, which are read in place.

``ILSVRC2012_img_train.tar`` holds a .tar for each class, ``ILSVRC2012_img_val.tar`` the validation
photos without labels. These are in the devkit as numbers, and its ``meta.mat`` says which WordNet
id a number means. The numbers are not the classes' places in the order of published networks, which
is that of the sorted WordNet ids: here every photo gets the WordNet id as its class.
"""

import io
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

from mobilenetv2.data.archives import TarSource, open_archive
from mobilenetv2.data.passed_over import Ignore, PassedOver, passed_folder
from mobilenetv2.data.shards.source import LocalFiles
from mobilenetv2.data.sources import Source
from mobilenetv2.errors import DataError, ImageError, require
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.images.memory import SHARED
from mobilenetv2.spec.records import imagenet_classes
from mobilenetv2.text import counted, escaped, quoted

TRAIN = "ILSVRC2012_img_train.tar"
VALIDATION = "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
CLASSES = 1000
NUMBER = re.compile(rb"\d{1,4}")
"""Number of a class in the devkit."""
LARGEST_META = 64 * 1024**2
"""Most bytes of ``meta.mat``, which has some 0.1 MB."""


def has_imagenet(folder: Path) -> bool:
    """Return whether a folder holds an official archive of photos."""
    return (folder / TRAIN).is_file() or (folder / VALIDATION).is_file()


def classes_of_ids(meta: bytes, where: str) -> tuple[dict[int, str], dict[str, int]]:
    """Return WordNet ids by ILSVRC2012_ID, from 1, and the training photos of each class.

    Args:
        meta: the bytes of ``meta.mat``: a struct for each of 1,860 nodes of WordNet, of which the
            1,000 without children are the classes.
        where: name of the file, for messages.

    Raises:
        DataError: it is damaged, or its classes are not ImageNet's 1,000.
        MissingExtra: SciPy, which reads files of Matlab, is not installed.
    """
    loadmat = require("scipy.io").loadmat
    try:
        nodes = loadmat(io.BytesIO(meta), squeeze_me=True, variable_names=["synsets"])["synsets"]
        leaves = [node for node in nodes if int(node["num_children"]) == 0]
        ids = {int(node["ILSVRC2012_ID"]): str(node["WNID"]).strip() for node in leaves}
        counts = {str(node["WNID"]).strip(): int(node["num_train_images"]) for node in leaves}
    except Exception as error:  # SciPy raises of every kind for damaged files
        raise DataError(f"{where}: not the devkit's meta.mat ({error})") from None
    if len(leaves) != CLASSES or sorted(ids) != [*range(1, CLASSES + 1)]:
        raise DataError(f"{where}: its classes do not have the numbers 1 to {CLASSES}")
    _require_classes(ids.values(), where)
    return ids, counts


def _require_classes(found: Any, where: str) -> None:
    """Raise DataError unless WordNet ids are those of ImageNet's 1,000 classes, each once."""
    known, have = Counter(imagenet_classes()[1]), Counter(found)
    if have != known:
        lacking, more = sorted(known - have), sorted(have - known)
        parts = [f"lacks {quoted(lacking)}"] if lacking else []
        parts += [f"has {quoted(more)} too many"] if more else []
        what = " and ".join(parts)
        raise DataError(f"{where}: does not hold ImageNet's {CLASSES} classes once each; it {what}")


def read_devkit(path: Path) -> tuple[list[str], dict[str, int]]:
    """Return the WordNet id of each validation photo, and the training photos of each class.

    Args:
        path: the devkit's archive.

    Raises:
        DataError: it is damaged, or lacks one of its files.
        MissingExtra: as :func:`classes_of_ids`.
    """
    archive = open_archive(path, Ignore())

    def content(name: str) -> bytes:
        for inside in archive.names():
            if inside.rpartition("/")[2] == name:
                if (archive.size(inside) or 0) > LARGEST_META:
                    raise DataError(f"{escaped(path)}: {name} has more than {LARGEST_META:,} bytes")
                with SHARED.work():
                    return archive.read(inside)
        raise DataError(f"{escaped(path)}: has no {name}")

    try:
        ids, counts = classes_of_ids(content(META), f"{escaped(path)}/{META}")
        lines = content(TRUTH).split()
    except ImageError as error:
        raise DataError(str(error)) from None
    # int() refuses thousands of digits with an error of its own.
    if wrong := [line for line in lines if not NUMBER.fullmatch(line) or int(line) not in ids]:
        raise DataError(
            f"{escaped(path)}/{TRUTH}: {escaped(wrong[0].decode(errors='replace'))[:40]!r} is no "
            f"number from 1 to {CLASSES}"
        )
    return [ids[int(line)] for line in lines], counts


class _Part(io.RawIOBase):
    """A part of a file as a file, such as an archive within an archive."""

    def __init__(self, files: LocalFiles, name: str, offset: int, size: int) -> None:
        super().__init__()
        self._files, self._name, self._offset, self._size = files, name, offset, size
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as counted from the start, from here or from the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; fewer at the end of the part."""
        left = max(0, self._size - self._at)
        wanted = left if size < 0 else min(size, left)
        data = self._files.part(self._name, self._offset + self._at, wanted) if wanted else b""
        self._at += len(data)
        return data


class ImageNetSource(Source):
    """Photos in the official archives: ``train/WORDNET_ID/NAME``, ``validation/WORDNET_ID/NAME``.

    Only names and places of photos are kept, and nothing is unpacked.

    Args:
        folder: the folder of the archives: those of training photos, validation photos or both; the
            latter need the devkit.
        ignore: patterns of names that are passed over.

    Raises:
        DataError: an archive is damaged, lacks a class, or does not fit the devkit.
        MissingExtra: SciPy is not installed, and the devkit is there.
    """

    def __init__(self, folder: Path, ignore: Ignore | None = None) -> None:
        self._files, self._patterns = LocalFiles(folder), ignore or Ignore()
        self._places: dict[str, tuple[str, int, int]] = {}
        passed, notes = PassedOver(), list[str]()
        place, devkit = escaped(folder), folder / DEVKIT
        truth, counts = read_devkit(devkit) if devkit.is_file() else ([], dict[str, int]())
        if (folder / TRAIN).is_file():
            notes += self._add_train(folder / TRAIN, counts, passed)
        if (folder / VALIDATION).is_file():
            if not truth:
                raise DataError(
                    f"{place}: {VALIDATION} has no labels; put {DEVKIT}, which has them, beside it"
                )
            self._add_validation(folder / VALIDATION, truth, passed)
        super().__init__(place, self._places, passed, notes)

    def _add_train(self, path: Path, counts: Mapping[str, int], passed: PassedOver) -> list[str]:
        """Add the photos of the archives in an archive; return a note if their number is odd."""
        outer = TarSource(path)
        inner = {name: name.removesuffix(".tar") for name in outer.names() if name[-1:] != "/"}
        _require_classes(inner.values(), escaped(path))
        odd = list[str]()
        for name, class_ in inner.items():
            offset, size = outer.part_of(name)
            if offset + size > path.stat().st_size:
                raise DataError(f"{escaped(path)}: is truncated in {name}; fetch it again")
            part = _Part(self._files, path.name, offset, size)
            photos = TarSource(path / name, data=cast("IO[bytes]", part))
            files = [photo for photo in photos.names() if photo[-1:] != "/"]
            for photo in files:
                start, length = photos.part_of(photo)
                self._add(f"train/{class_}/{photo}", path.name, offset + start, length, passed)
            if counts and len(files) != counts[class_]:
                odd.append(class_)
        if not odd:
            return []
        return [
            f"{escaped(path)}: {counted(len(odd), 'class')} with another number of "
            f"photos than the devkit says (first: {odd[0]})"
        ]

    def _add_validation(self, path: Path, truth: list[str], passed: PassedOver) -> None:
        """Add the validation photos, each with the class that its number has in the devkit."""
        archive = TarSource(path)
        files = [name for name in archive.names() if name[-1:] != "/"]
        numbers = dict[int, str]()
        for name in files:
            match = re.fullmatch(r"(?:.*/)?ILSVRC2012_val_(\d{8})\.JPEG", name)
            if not match:
                raise DataError(
                    f"{escaped(path)}: {name[:80]!r} is no name such as "
                    "ILSVRC2012_val_00000001.JPEG, whose number says the class"
                )
            numbers[int(match[1])] = name
        if sorted(numbers) != [*range(1, len(truth) + 1)] or len(files) != len(truth):
            raise DataError(
                f"{escaped(path)}: holds {len(files):,} photos, and the devkit has labels of the "
                f"numbers 1 to {len(truth):,}; fetch both again"
            )
        for number, name in numbers.items():
            offset, size = archive.part_of(name)
            last = name.rpartition("/")[2]
            self._add(f"validation/{truth[number - 1]}/{last}", path.name, offset, size, passed)

    def _add(self, name: str, file: str, offset: int, size: int, passed: PassedOver) -> None:
        if found := passed_folder(name.split("/"), self._patterns):
            passed.add(found[1], name)
        else:
            self._places[name] = file, offset, size

    def read(self, name: str) -> bytes:
        """Return a photo's bytes."""
        file, offset, size = self._places[name]
        if size > LIMITS.bytes:
            raise ImageError(f"{self.place}/{name}: larger than {LIMITS.bytes:,} bytes")
        SHARED.claim_file(size)
        try:
            data = self._files.part(file, offset, size)
        except OSError as error:
            raise ImageError(f"{self.place}/{name}: cannot be read ({error.strerror})") from None
        if len(data) < size:
            raise ImageError(f"{self.place}/{name}: cannot be read ({file} is truncated)")
        return data

    def size(self, name: str) -> int:
        """Return the bytes of a photo."""
        return self._places[name][2]
