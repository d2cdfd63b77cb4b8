"""Checksums of files: what their bytes must be, and what is said where they are others."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mobilenetv2.errors import WeightsError


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of a file must be."""

    sha256: str | None = None
    """64 hexadecimal digits."""
    prefix: str | None = None
    """The first digits, where only they are published."""
    source: str = "the published one"
    """Where ``sha256`` stands, for the message."""

    def __bool__(self) -> bool:
        return bool(self.sha256 or self.prefix)

    def difference(self, digest: str) -> str:
        """What is wrong with a file of that SHA-256, in words; '' where it fits."""
        if self.sha256 and digest != self.sha256:
            return f"wrong bytes: its SHA-256 is {digest}, {self.source} is {self.sha256}"
        if self.prefix and not digest.startswith(self.prefix):
            return f"wrong bytes: its SHA-256 is {digest}, the published one begins {self.prefix}"
        return ""


UNKNOWN = Checksum()
"""Nothing is published: any bytes fit."""


def check(path: Path, checksum: Checksum) -> str:
    """Compare a file on the disk with its checksum; its SHA-256.

    Raises:
        WeightsError: it differs.
    """
    digest = file_sha256(path)
    if difference := checksum.difference(digest):
        raise WeightsError(f"{path}: {difference}; delete it to fetch it again")
    return digest


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
