"""A folder with an archive for each split, as datasets are handed out: train.zip, test.zip."""

from collections.abc import Collection
from pathlib import Path

from mobilenetv2.data.sources import Source, open_source
from mobilenetv2.images.decode import SUFFIXES

ARCHIVES = {".zip", ".tar"}


class Archives:
    """Several archives as one source: each one's files lie in a folder named after it.

    Args:
        root: the folder.
        archives: of it.
    """

    links = 0

    def __init__(self, root: Path, archives: list[Path]) -> None:
        self.place = str(root)
        self._files: dict[str, tuple[Source, str]] = {}
        for path in archives:
            source = open_source(path)
            self.links += source.links
            names, folder = source.names(), f"{path.stem}/"
            # train.zip may hold train/CLASS/ or CLASS/: a folder of its own name counts once.
            own = all(name.lower().startswith(folder.lower()) for name in names)
            for name in names:
                self._files[name if own else folder + name] = (source, name)

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
