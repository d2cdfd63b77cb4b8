"""Zip archives from elsewhere: bounded before they are listed, and while a member is inflated.

Python's zipfile reads a table of contents of any length, makes a record of each member, and
inflates bzip2 and LZMA in one piece, whatever size is declared. Every reader of a zip archive uses
this module. Whatever is wrong with an archive is a ``zipfile.BadZipFile`` with the reason.
"""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from mobilenetv2.files import open_file

MOST_MEMBERS = 20_000
"""Maximum number of members of an archive that is no collection of photos."""
TABLE, TABLE_PER_MEMBER = 4 * 1024**2, 80
"""Limit of a table of contents in bytes: this many, or this many for each allowed member."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that can be inflated piece by piece; no program stores networks or photos by others."""
ENCRYPTED = 0x1
ENTRY = b"PK\x01\x02"
"""First bytes of a member's entry in the table of contents."""
DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError,
    NotImplementedError, ValueError, OverflowError, IndexError,
)  # fmt: skip
"""Errors that zipfile raises for archives that no program writes."""


class TooManyMembers(zipfile.BadZipFile):
    """An archive with more members than are listed."""


class OtherMethod(zipfile.BadZipFile):
    """A member compressed by a method that cannot be inflated piece by piece."""


class Zip(zipfile.ZipFile):
    """A zip archive for reading, whose table of contents was bounded before it was read.

    Args:
        source: the archive, or its bytes, which may follow other bytes.
        most: maximum number of members.

    Raises:
        zipfile.BadZipFile: damaged, or not an archive.
        TooManyMembers: it has more than ``most`` members.
        OSError: it is no regular file, or may not be read.
    """

    _file: IO[bytes] | None = None

    def __init__(self, source: Path | bytes, most: int = MOST_MEMBERS) -> None:
        file: IO[bytes]
        file = io.BytesIO(source) if isinstance(source, bytes) else open_file(source)
        self._file, bounded = file, _BoundedTable(file, most)
        try:
            super().__init__(bounded)
        except DAMAGED as error:
            file.close()
            if isinstance(error, zipfile.BadZipFile):
                raise
            raise zipfile.BadZipFile(str(error) or "a wrong table of contents") from None
        bounded.most = None

    def close(self) -> None:
        """Close the archive and its file."""
        super().close()
        if self._file is not None:  # zipfile closes what it could not open, too
            self._file.close()

    def content(self, member: zipfile.ZipInfo | str, most: int) -> bytes:
        """Return a member's bytes, after its checksum was compared.

        Args:
            member: the member, or its name.
            most: maximum number of bytes.

        Raises:
            KeyError: there is no member of this name.
            zipfile.BadZipFile: larger than ``most`` bytes, damaged, encrypted, or compressed by a
                method whose memory cannot be bounded.
        """
        found = self.getinfo(member) if isinstance(member, str) else member
        require_plain(found)
        if found.file_size > most:
            raise zipfile.BadZipFile(
                f"{found.filename[:80]!r} has {found.file_size:,} bytes, and the limit is {most:,}"
            )
        return self.start(found, most)

    def start(self, member: zipfile.ZipInfo, count: int) -> bytes:
        """Return the first bytes of a member, at most ``count``.

        Raises:
            zipfile.BadZipFile: damaged, encrypted, or compressed by another method.
        """
        require_plain(member)
        try:
            with self.open(member) as file:
                # zipfile inflates as many bytes as it is asked for, and then cuts them to the size.
                return file.read(min(count, member.file_size))
        except DAMAGED as error:
            raise zipfile.BadZipFile(str(error) or "it ends too early") from None


def require_plain(member: zipfile.ZipInfo) -> None:
    """Raise unless a member is stored, or compressed by the usual method, without a password.

    Raises:
        OtherMethod: it is compressed by another method.
        zipfile.BadZipFile: it is encrypted.
    """
    if member.flag_bits & ENCRYPTED:
        raise zipfile.BadZipFile(f"{member.filename[:80]!r} is protected by a password")
    if member.compress_type not in METHODS:
        raise OtherMethod(
            f"the member {member.filename[:80]!r} is compressed by an unsupported method"
        )


class _BoundedTable:
    """File of an archive, which refuses to be read in one piece larger than a table of contents.

    Args:
        file: the archive.
        most: maximum number of members.
    """

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file = file
        self.most: int | None = most
        """Maximum number of members; None after the table was read."""
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        """Return bytes as the file does; while the archive is opened, at most a table's."""
        if self.most is None:
            return self.file.read(count)
        largest = max(TABLE, TABLE_PER_MEMBER * self.most)
        data = self.file.read(largest + 1 if count < 0 else min(count, largest + 1))
        if len(data) > largest or data.count(ENTRY) > self.most:
            raise TooManyMembers(f"more than {self.most:,} members")
        return data
