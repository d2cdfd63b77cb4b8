"""Constants of an ONNX file that lie in files beside it.

PyTorch's exporter writes them by default, and every file above 2 GB has them. A name is followed
inside the ONNX file's folder only, and what is declared is compared with the data file's size
before it is read.
"""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import open_file

MOST_REREAD = 2
"""Largest multiple of a data file's size that is read of it; constants may share their values."""


class ExternalData:
    """Reader of the data files in one folder.

    Args:
        folder: folder of the ONNX file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._left: dict[Path, int] = {}
        """Bytes that may still be read, by file."""

    def read(self, name: str, entries: Iterable[tuple[str, str]], needed: int) -> bytes:
        """Return the bytes of a constant.

        Args:
            name: name of the constant, for messages.
            entries: keys and values in the ONNX file: 'location', 'offset' and 'length'.
            needed: number of bytes that the constant's shape and type have.

        Raises:
            WeightsError: the file lies elsewhere or does not exist, or is too short.
        """
        said = dict(entries)
        path = self._inside(name, said.get("location", ""))
        start, length = (_whole(name, said.get(key)) for key in ("offset", "length"))
        start = start or 0
        if length is not None and length != needed:
            raise WeightsError(f"damaged: {name!r} has {length:,} bytes in {path.name}, "
                               f"but its shape needs {needed:,}")  # fmt: skip
        size = path.stat().st_size
        left = self._left.setdefault(path, MOST_REREAD * min(size, bounds.LARGEST_GRAPH))
        if start + needed > size:
            raise WeightsError(
                f"{path.name}, with the values of {name!r}, has {size:,} bytes where "
                f"{start + needed:,} are needed; download it again"
            )
        if needed > left:
            raise WeightsError(f"constants in {path.name} are declared larger than the file")
        self._left[path] = left - needed
        with open_file(path) as file:
            file.seek(start)
            return file.read(needed)

    def _inside(self, name: str, location: str) -> Path:
        """Return the path of a data file, which must lie in the folder and lead nowhere else."""
        parts = PurePosixPath(location.replace("\\", "/")).parts
        outside = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
        if not parts or outside or ".." in parts or "\0" in location:
            raise WeightsError(
                f"{name!r} is in the file {bounds.clean(location)[:80]!r}, which is not in this "
                "file's folder, and is not read"
            )
        path = self.folder.joinpath(*parts)
        if not path.is_file():
            raise WeightsError(
                f"{name!r} is in the file {bounds.clean(location)[:80]!r}, which is not there; "
                "put it beside this file"
            )
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise WeightsError(
                f"{name!r} is in the file {bounds.clean(location)[:80]!r}, a link to another "
                "folder, which is not followed; put the file itself there"
            )
        return path


def _whole(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise WeightsError(f"damaged: {name!r} is at {bounds.clean(text)[:20]!r} of another file")
    return int(text)
