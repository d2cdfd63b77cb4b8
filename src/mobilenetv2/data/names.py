"""Kinds of places by their names alone: photos, archives, tables, addresses, what systems leave."""

import os
import re

from mobilenetv2.images.decode import SUFFIXES

ARCHIVES = (
    ".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst",
    ".tgz", ".tbz2", ".txz", ".tzst",
)  # fmt: skip
"""Suffixes of archives, in lower case."""
TABLES = frozenset((".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"))
"""Suffixes of tables, in lower case."""
JUNK = frozenset({
    "@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
    "system volume information", "__macosx", "__pycache__", "thumbs.db", "desktop.ini",
    "ehthumbs.db",
})  # fmt: skip
"""Names of files and folders that systems make, in lower case; hidden ones begin with a dot."""


def is_photo(name: str) -> bool:
    """Return True for a file's name with the suffix of a photo; names of folders end in '/'."""
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    return bool(stem) and f"{dot}{ending}".lower() in SUFFIXES


def is_junk(name: str) -> bool:
    """Return True for the name of a file or folder that is hidden or made by a system."""
    return name.startswith(".") or name.lower() in JUNK


def archive_suffix(name: str) -> str | None:
    """Return the suffix of an archive's name in lower case, such as '.tar.gz'; None for others."""
    return next((suffix for suffix in ARCHIVES if name.lower().endswith(suffix)), None)


def archive_stem(name: str) -> str:
    """Return the name of an archive without its suffix."""
    return name[: -len(archive_suffix(name) or "")]


def is_table(name: str) -> bool:
    """Return whether a name has the suffix of a table."""
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")  # a path object takes 20 us
    return bool(stem) and f"{dot}{ending}".lower() in TABLES


def is_address(place: str | os.PathLike[str]) -> bool:
    """Return whether a place is an address, such as s3://bucket/shards, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", os.fspath(place)) is not None
