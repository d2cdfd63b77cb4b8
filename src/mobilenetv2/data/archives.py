"""Photos in archives: .zip, .tar and compressed .tar, and a folder with an archive for each split.

A .zip and a .tar are read in place. Nothing is unpacked under a name of the archive, so that no
name in it can refer to a file outside of it.

A name in a .zip is UTF-8 by its flag, else in the encoding that the user gives; else all names are
UTF-8 if they are valid as such, or in code page 437, as the format says, with a note. A backslash
separates folders, as in archives that some Windows programs make.
"""

import posixpath
import re
import stat
import tarfile
import weakref
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import IO, cast

from mobilenetv2.data import passed_over
from mobilenetv2.data.names import archive_stem, archive_suffix, is_photo
from mobilenetv2.data.passed_over import Ignore, PassedOver, passed_folder
from mobilenetv2.data.sources import Source
from mobilenetv2.data.unpacking import KINDS, unpacked
from mobilenetv2.errors import DataError, ImageError, argument
from mobilenetv2.files import open_file
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.images.memory import SHARED
from mobilenetv2.text import escaped
from mobilenetv2.zips import ENCRYPTED, OtherMethod, Zip

MOST_MEMBERS = 5_000_000
"""Largest number of files, folders and links in an archive."""
LARGEST_HEADERS = 256 * 1024
"""Most bytes of headers of a member of a .tar; a long name takes 1,536."""
MOST_ATTRIBUTES = 64
"""Most attributes that a .tar gives to a member, or to all its members."""
MOST_DIGITS, DIGITS = 30_000_000, 16
"""Squares of the lengths of numbers in attributes: for an archive, and for each byte of them."""
UTF8 = 0x800


def open_archive(path: Path, ignore: Ignore, zip_encoding: str | None = None) -> Source:
    """Open an archive.

    Args:
        path: the archive, whose name ends in one of :data:`mobilenetv2.data.names.ARCHIVES`.
        ignore: patterns of names that are passed over.
        zip_encoding: encoding of names that are not marked as UTF-8, such as 'gbk'.

    Raises:
        DataError: the archive is damaged or has a password, or there is no such encoding.
        MissingExtra: the package to unpack it is not installed.
        OSError: a pipe or a device, or it may not be read.
    """
    suffix = archive_suffix(path.name)
    if zip_encoding is not None:
        try:
            b"a/".decode(zip_encoding)
        except (LookupError, UnicodeError):
            raise DataError(
                f"{argument('zip_encoding', zip_encoding)}: no such encoding of text; give one "
                "such as gbk, shift_jis or cp866"
            ) from None
    open_file(path).close()  # raises for a pipe, on which the readers would wait
    if suffix == ".zip":
        return ZipSource(path, ignore, zip_encoding)
    kind = f".{(suffix or '').rpartition('.')[2]}"
    return TarSource(path, ignore, zip_encoding, unpacked(path, kind) if kind in KINDS else None)


class _Names:
    """The names of an archive's members as a source has them, each with its member's key.

    Args:
        ignore: patterns of names that are passed over.
    """

    def __init__(self, ignore: Ignore) -> None:
        self.ignore, self.passed = ignore, PassedOver()
        self.members: dict[str, int] = {}
        self.folders: list[str] = []
        self._passed: set[str] = set()

    def plain(self, name: str, key: int, folder: bool, link: bool = False) -> str | None:
        """Add a member; return its name, or None if it is passed over."""
        path = re.sub(r"^([A-Za-z]:)?/+", "", name.replace("\\", "/"))
        parts = [part for part in path.split("/") if part not in ("", ".")]
        shown = escaped("/".join(parts))
        if not parts:
            return None
        if ".." in parts:
            self.passed.add(passed_over.LEADING_OUT, shown)
            return None
        if len(parts) > passed_over.MOST_DEEP + 1:
            self.passed.add(passed_over.TOO_DEEP, f"{shown[:80]}...")
            return None
        if found := passed_folder(shown.split("/"), self.ignore):
            place, why = found
            place += "/" if folder and not place.endswith("/") else ""
            if place not in self._passed:
                self._passed.add(place)
                self.passed.add(why, place)
            return None
        if link:
            return shown
        if folder:
            self.folders.append(f"{shown}/")
            return shown
        if shown in self.members:
            self.passed.add(passed_over.TWICE, shown)
        self.members[shown] = key
        return shown

    def names(self) -> list[str]:
        """Return the names of files, and those of folders with '/' at the end."""
        return [*self.members, *self.folders]


class ZipSource(Source):
    """A .zip archive."""

    def __init__(
        self, path: Path, ignore: Ignore | None = None, encoding: str | None = None
    ) -> None:
        try:
            self._archive = Zip(path, MOST_MEMBERS)
        except zipfile.BadZipFile as error:
            raise DataError(f"{escaped(path)}: damaged zip archive ({error})") from None
        entries = self._archive.infolist()
        found = _Names(ignore or Ignore())
        names, notes = _zip_names(entries, encoding)
        for key, (entry, name) in enumerate(zip(entries, names, strict=True)):
            link = stat.S_ISLNK(entry.external_attr >> 16)
            folder = name.endswith(("/", "\\"))
            plain = found.plain(name, key, folder, link)
            if link and plain is not None:
                found.passed.add(passed_over.IN_ARCHIVE, plain)
        self._entries = {name: entries[key] for name, key in found.members.items()}
        locked = [
            name
            for name, entry in self._entries.items()
            if entry.flag_bits & ENCRYPTED and is_photo(name)
        ]
        if locked:
            raise DataError(
                f"{escaped(path)}: protected by a password ({locked[0]} is encrypted); unpack it "
                "and give its folder"
            )
        super().__init__(escaped(path), found.names(), found.passed, notes)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        entry = self._entries[name]
        _claim(self.place, name, entry.file_size)
        try:
            return self._archive.content(entry, LIMITS.bytes)
        except OtherMethod:
            raise ImageError(
                f"{self.place}/{name}: compressed by an unsupported method; "
                "make the archive without compression"
            ) from None
        except zipfile.BadZipFile as error:
            raise ImageError(f"{self.place}/{name}: cannot be unpacked ({error})") from None

    def size(self, name: str) -> int:
        """Return the bytes of a file when it is unpacked."""
        return self._entries[name].file_size


def _zip_names(
    entries: Sequence[zipfile.ZipInfo], encoding: str | None
) -> tuple[list[str], list[str]]:
    """Return the entries' names, with bytes that are no text as unpaired surrogates, and notes."""
    raw: dict[int, bytes] = {}
    for key, entry in enumerate(entries):
        stored = entry.orig_filename
        # Python takes the name of an extra field that has it in UTF-8 (and turns a backslash into
        # a slash on Windows).
        same = entry.filename.replace("\\", "/") == stored.partition("\0")[0].replace("\\", "/")
        if same and not entry.flag_bits & UTF8:
            raw[key] = stored.encode("cp437").partition(b"\0")[0]  # the bytes, read as such
    chosen, notes = encoding or "utf-8", []
    if encoding is None and not all(_is_utf8(data) for data in raw.values()):
        chosen, first = "cp437", next(data for data in raw.values() if not _is_utf8(data))
        notes.append(
            f"names in the archive are not UTF-8 and are read as code page 437 (first: "
            f"{first.decode(chosen)}); if they look wrong, give {argument('zip_encoding')}"
        )
    names = [_text(raw[key], chosen) if key in raw else e.filename for key, e in enumerate(entries)]
    return names, notes


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text(data: bytes, encoding: str) -> str:
    """Return bytes as text; those that are none in the encoding become unpaired surrogates."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("utf-8" if _is_utf8(data) else "ascii", "surrogateescape")


class TarSource(Source):
    """A .tar archive with random access.

    Args:
        path: the archive.
        ignore: patterns of names that are passed over.
        encoding: encoding of names that are not UTF-8; None shows their bytes.
        data: the unpacked bytes of a compressed one; None for an uncompressed one.
    """

    def __init__(
        self, path: Path, ignore: Ignore | None = None, encoding: str | None = None,
        data: IO[bytes] | None = None,
    ) -> None:  # fmt: skip
        self._path, self._data, self._lock = path, data, Lock()
        if data is not None:
            weakref.finalize(self, data.close)
        try:
            headers = _Headers(data or open_file(path))
            try:
                read = cast("IO[bytes]", headers)  # tarfile needs no more of a file
                archive = tarfile.TarFile(path, fileobj=read, encoding="utf-8")
                members = _members(archive, headers)
            finally:
                if data is None:
                    headers.file.close()
            self._check_end(archive.offset)
        except _DAMAGED as error:
            what = (
                "a damaged tar archive" if data else "not an uncompressed tar archive, or damaged"
            )
            raise DataError(f"{escaped(path)}: {what} ({error})") from None
        found = _Names(ignore or Ignore())
        links: dict[str, tarfile.TarInfo] = {}
        for key, member in enumerate(members):
            name = member.name
            if encoding and "path" not in member.pax_headers:  # which are UTF-8 in any case
                name = _text(name.encode("utf-8", "surrogateescape"), encoding)
            linked = member.issym() or member.islnk()
            if not (linked or member.isfile() or member.isdir()):
                continue  # a device or a pipe
            plain = found.plain(name, key, member.isdir(), linked)
            if linked and plain is not None:
                links[plain] = member
        self._members = {name: members[key] for name, key in found.members.items()}
        for name, member in links.items():
            target = _target(name, member, self._members)
            if target is None:
                found.passed.add(passed_over.IN_ARCHIVE, name)
            else:
                self._members[name] = self._members[target]
        super().__init__(escaped(path), [*self._members, *found.folders], found.passed)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        member = self._members[name]
        if member.issparse():
            raise ImageError(f"{self.place}/{name}: a sparse file, which is not supported")
        _claim(self.place, name, member.size)
        try:
            data = self._part(member.offset_data, member.size)
        except OSError as error:
            raise ImageError(f"{self.place}/{name}: cannot be read ({error.strerror})") from None
        if len(data) < member.size:
            raise ImageError(f"{self.place}/{name}: cannot be read (the archive is truncated)")
        return data

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        return self._members[name].size

    def part_of(self, name: str) -> tuple[int, int]:
        """Return the place of a file's first byte in the uncompressed archive, and its bytes.

        Raises:
            DataError: it is a sparse file, which is in several places.
        """
        member = self._members[name]
        if member.issparse():
            raise DataError(f"{self.place}/{name}: a sparse file, which is not supported")
        return member.offset_data, member.size

    def _part(self, offset: int, size: int) -> bytes:
        if self._data is not None:
            with self._lock:  # photos are read in threads
                self._data.seek(offset)
                return self._data.read(size)
        with open_file(self._path) as file:
            file.seek(offset)
            return file.read(size)

    def _check_end(self, offset: int) -> None:
        """Raise unless the archive ends with zeros, since tarfile takes a damaged header for it.

        Raises:
            tarfile.ReadError: other bytes are there.
        """
        block = self._part(offset, tarfile.BLOCKSIZE)
        if not block or any(block):
            raise tarfile.ReadError(f"no file and no end of the archive at byte {offset}")


_DAMAGED = (tarfile.TarError, EOFError, ValueError, IndexError, OverflowError, RecursionError)
"""Errors that tarfile raises for headers that no program writes."""


class _Headers:
    """File of a tar archive, of which only the headers of members are read, each bounded.

    tarfile reads a long name or a list of attributes of any size at once, and takes time and memory
    by the square of it where attributes overlap.

    Attributes:
        left: bytes that may still be read for the next member.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.left = file, LARGEST_HEADERS
        self.seek, self.tell = file.seek, file.tell
        self._attributes = False
        self._digits = MOST_DIGITS

    def read(self, count: int) -> bytes:
        """Return the next bytes of a header."""
        self.left -= count
        if self.left < 0:
            raise tarfile.ReadError(f"a member with more than {LARGEST_HEADERS:,} bytes of headers")
        data = self.file.read(count)
        if self._attributes:
            _require_attributes(data)
            # tarfile looks for a number at each digit of a longer one.
            work = sum(len(digits) ** 2 for digits in re.findall(rb"\d+", data))
            self._digits -= work - DIGITS * len(data)
            if self._digits < 0:
                raise tarfile.ReadError("attributes of long numbers, which no program writes")
        self._attributes = data[156:157] in (b"x", b"g", b"X") and not self._attributes
        return data


def _require_attributes(data: bytes) -> None:
    """Raise unless attributes, 'LENGTH KEY=VALUE' and a line feed each, follow one another."""
    place = count = 0
    while data[place : place + 1].isdigit():
        count += 1
        digits = data[place : place + 8].partition(b" ")[0]
        end = place + int(digits) if digits.isdigit() else 0
        if data[end - 1 : end] != b"\n" or data.find(b"=", place, end) < 0:
            raise tarfile.ReadError("damaged attributes of a member")
        place = end
        if count > MOST_ATTRIBUTES:
            raise tarfile.ReadError(f"a member with more than {MOST_ATTRIBUTES} attributes")


def _members(archive: tarfile.TarFile, headers: _Headers) -> list[tarfile.TarInfo]:
    """Return the members of an archive; each lies behind the one before.

    tarfile follows a header whose size is negative back to where it was, and would read the same
    members for ever.

    Raises:
        tarfile.ReadError: a header is damaged, or there are more than :data:`MOST_MEMBERS`.
    """
    members: list[tarfile.TarInfo] = []
    offset = 0
    while (member := archive.next()) is not None:
        if member.size < 0 or archive.offset <= offset:
            raise tarfile.ReadError(
                f"the header at byte {member.offset:,} has a size of {member.size:,} bytes"
            )
        if len(members) == MOST_MEMBERS:
            raise tarfile.ReadError(f"more members than the limit of {MOST_MEMBERS:,}")
        if len(archive.pax_headers) > MOST_ATTRIBUTES:
            raise tarfile.ReadError(f"more than {MOST_ATTRIBUTES} attributes for all members")
        # Each member has those of all members, and its own.
        member.pax_headers = {
            key: member.pax_headers[key] for key in {"path"} & {*member.pax_headers}
        }
        members.append(member)
        offset, headers.left = archive.offset, LARGEST_HEADERS
    return members


def _target(name: str, link: tarfile.TarInfo, members: Mapping[str, tarfile.TarInfo]) -> str | None:
    """Return the file in the archive to which a link leads; None if it leads elsewhere."""
    to = escaped(link.linkname)
    path = to if link.islnk() else posixpath.join(posixpath.dirname(name), to)
    path = posixpath.normpath(path)
    return path if path in members else None


class ArchivesSource(Source):
    """A folder with an archive for each split, as some datasets are published: train.zip, test.zip.

    The class folders of each archive are in a folder named after it.

    Args:
        root: the folder.
        archives: its archives.
        sources: each archive, opened.
    """

    def __init__(self, root: Path, archives: Sequence[Path], sources: Sequence[Source]) -> None:
        self._files: dict[str, tuple[Source, str]] = {}
        passed, notes = PassedOver(), list[str]()
        for path, source in zip(archives, sources, strict=True):
            names, folder = source.names(), f"{escaped(archive_stem(path.name))}/"
            passed.join(source.passed, folder)
            notes += source.notes
            around = _folders_around(names)
            for name in names:
                if not around.startswith(name):  # skip the folders above the class folders
                    self._files[folder + name.removeprefix(around)] = (source, name)
        super().__init__(escaped(root), self._files, passed, notes)

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        source, inner = self._files[name]
        return source.read(inner)

    def size(self, name: str) -> int | None:
        """Return the bytes of a file."""
        source, inner = self._files[name]
        return source.size(inner)


def _folders_around(names: list[str]) -> str:
    """Return the folders above the class folders: 'train/' for train/CLASS/, '' for CLASS/."""
    photos = [name.split("/") for name in names if is_photo(name)]
    depth = 0
    while (
        photos
        and len({parts[depth] for parts in photos}) == 1
        and all(len(parts) > depth + 2 for parts in photos)
    ):
        depth += 1
    return "".join(f"{part}/" for part in photos[0][:depth]) if photos else ""


def _claim(place: str, name: str, size: int) -> None:
    """Wait for the memory of a member; raise ImageError if it is larger than a photo may be."""
    if size > LIMITS.bytes:
        raise ImageError(f"{place}/{name}: larger than {LIMITS.bytes:,} bytes")
    SHARED.claim_file(size)
