"""Files of the page: its own, and those of other makers that ``make web`` puts beside them."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from mobilenetv2.files import read_file

INDEX = "index.html"
FOLDERS = ("page", "vendor")
"""Folders here whose files are the page's, with the same names in its addresses."""
HERE = Path(__file__).parent
GZIPPED = ".gz"
"""Suffix of a file that is stored compressed, and asked for without it."""
TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".json": "application/json",
    ".wasm": "application/wasm", ".svg": "image/svg+xml", ".png": "image/png",
    ".ico": "image/x-icon", ".txt": "text/plain; charset=utf-8",
}  # fmt: skip
"""Media types by suffix; a file with another one is no part of the page."""
NEEDED = ("vendor/litert", "vendor/fflate.js")
"""Folder and file of other makers without which the page cannot compute in the browser."""
LARGEST = 64 * 1024**2
"""Largest file of the page, in bytes."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page."""

    data: bytes
    media_type: str
    gzipped: bool
    """True if ``data`` is compressed, and sent with the header Content-Encoding: gzip."""
    tag: str
    """Identifier of the content, in quotation marks as in the header ETag."""

    def plain(self) -> bytes:
        """Return the content uncompressed."""
        return gzip.decompress(self.data) if self.gzipped else self.data


def page_file(path: str) -> PageFile | None:
    """Return a file of the page; None if there is none.

    Args:
        path: 'index.html', 'page/main.js', 'vendor/litert/NAME.wasm' and so on, as in an address.
    """
    # The path is only looked up, so that none leads out of the folders.
    place = _places().get(path)
    return None if place is None else _read(place, place.stat().st_mtime_ns)


def all_files() -> dict[str, PageFile]:
    """Return all files of the page by the paths that :func:`page_file` takes."""
    found = {path: page_file(path) for path in _places()}
    return {path: file for path, file in found.items() if file is not None}


def missing_vendor() -> str:
    """Return what the page lacks of other makers' files, in one sentence; '' if it has all."""
    lacking = [name for name in NEEDED if not (HERE / name).exists()]
    if not lacking:
        return ""
    return (
        f"this installation lacks {' and '.join(lacking)}, with which the page computes in the "
        "browser; run 'make web' in the source folder (it needs npm), and install from there"
    )


def _places() -> dict[str, Path]:
    """Return all files by their paths in an address, which lack the suffix of compressed ones."""
    found: dict[str, Path] = {}
    for folder in FOLDERS:
        for place in sorted((HERE / folder).rglob("*")):
            path = place.relative_to(HERE).as_posix().removesuffix(GZIPPED)
            if PurePosixPath(path).suffix in TYPES and place.is_file():
                found[INDEX if path == f"page/{INDEX}" else path] = place
    return found


@lru_cache(maxsize=256)
def _read(place: Path, changed: int) -> PageFile:
    """Read a file anew after each change; ``changed`` is the time of the last one."""
    data, gzipped = read_file(place, LARGEST), place.suffix == GZIPPED
    name = place.name.removesuffix(GZIPPED)
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    return PageFile(data, TYPES[PurePosixPath(name).suffix], gzipped, tag)
