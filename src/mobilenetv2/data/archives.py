"""A folder with an archive for each split, as datasets are handed out: train.zip, test.zip."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from mobilenetv2.data.sources import Source, open_source
from mobilenetv2.errors import DataError
from mobilenetv2.images.decode import SUFFIXES

ARCHIVES = {".zip", ".tar"}


class Archives:
    """Several archives as one source: each one's class folders lie in a folder named after it.

    Args:
        root: the folder.
        archives: of it.

    Raises:
        DataError: one is damaged, or two have one name.
    """

    links = 0

    def __init__(self, root: Path, archives: list[Path]) -> None:
        self.place = str(root)
        self._files: dict[str, tuple[Source, str]] = {}
        twice = [
            name for name, count in Counter(p.stem.lower() for p in archives).items() if count > 1
        ]
        if twice:
            raise DataError(f"{root}: has several archives named {twice[0]!r}; keep one of them")
        for path in archives:
            source = open_source(path)
            self.links += source.links
            names, folder = source.names(), f"{path.stem}/"
            around = _around(names)
            for name in names:
                if not around.startswith(name):  # else one of the folders around the classes
                    self._files[folder + name.removeprefix(around)] = (source, name)

    def names(self) -> list[str]:
        """See :class:`mobilenetv2.data.sources.Source`."""
        files = sorted(name for name in self._files if not name.endswith("/"))
        return files + sorted(name for name in self._files if name.endswith("/"))

    def read(self, name: str) -> bytes:
        """See :class:`mobilenetv2.data.sources.Source`."""
        source, inner = self._files[name]
        return source.read(inner)


def archives_of_splits(place: Path, splits: Collection[str]) -> Archives | None:
    """What lies in a folder, if that is archives named after splits and neither folder nor photo.

    Args:
        splits: names of splits in lower case.

    Raises:
        DataError: an archive is damaged.
    """
    if not place.is_dir():
        return None
    found = [path for path in sorted(place.iterdir()) if not path.name.startswith(".")]
    named = [
        path for path in found if path.suffix.lower() in ARCHIVES and path.stem.lower() in splits
    ]
    other = any(path.is_dir() or path.suffix.lower() in SUFFIXES for path in found)
    return Archives(place, named) if named and not other else None


def _around(names: list[str]) -> str:
    """The folders around the class folders: 'train/' of train/CLASS/, '' of CLASS/."""
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
