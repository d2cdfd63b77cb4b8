"""Parts of files on servers: over HTTP by this package's own client, else by fsspec.

A failure that may pass is :class:`Again`; others are a :class:`DataError` with what to do.
"""

import contextlib
import http.client
import urllib.parse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from mobilenetv2.errors import DataError, MissingExtra, WeightsError, require
from mobilenetv2.hub.download import WAY_OUT, Again, in_words, open_url
from mobilenetv2.text import first_line

PROTOCOLS = {
    "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs",
    "hf": "huggingface_hub", "memory": "", "http": "", "https": "",
}  # fmt: skip
"""Package that fsspec needs beside itself, by the protocol of an address; '' for none."""
WEB = ("http", "https")
TIMEOUT = 30.0
"""Seconds without a byte after which a request counts as stalled."""
CONNECTIONS = 16
"""Requests of a transport that run at the same time."""

Part = tuple[str, int, int]
"""A part of a file: its name, first byte and number of bytes."""


class Transport(Protocol):
    """Files of a folder on a server."""

    def size(self, file: str) -> int:
        """Return the bytes of a file.

        Raises:
            Again: it may go better later.
            DataError: it is not there, or may not be read.
        """

    def parts(self, parts: Sequence[Part]) -> list[bytes | Exception]:
        """Return parts of files, or the error of each; fewer bytes where a file ends earlier."""


@dataclass(frozen=True, slots=True)
class WebTransport:
    """Files below an address of the web, by requests of ranges."""

    address: str

    def size(self, file: str) -> int:
        """Return the bytes of a file."""
        with contextlib.closing(self._open(file, 0, 1)) as response:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if response.status != 206 or not total.isdecimal():
                raise self._no_ranges(file)
            return int(total)

    def parts(self, parts: Sequence[Part]) -> list[bytes | Exception]:
        """Return parts of files, or the error of each."""
        with ThreadPoolExecutor(min(CONNECTIONS, max(1, len(parts)))) as pool:
            return [*pool.map(self._part, parts)]

    def _part(self, part: Part) -> bytes | Exception:
        file, start, size = part
        try:
            if not size:
                return b""
            with contextlib.closing(self._open(file, start, size)) as response:
                if response.status == 416:  # the file ends before
                    return b""
                given = response.headers.get("Content-Range", "")
                if response.status != 206:
                    raise self._no_ranges(file)
                if not given.startswith(f"bytes {start}-"):
                    raise Again(f"the server sent another part than the requested one ({given!r})")
                data = response.read(size)
                last = given.removeprefix(f"bytes {start}-").partition("/")[0]
                if not last.isdecimal() or len(data) < min(int(last) + 1 - start, size):
                    raise Again(f"cut off after {len(data):,} bytes")
                return data
        except (Again, DataError) as error:
            return error
        except (OSError, http.client.HTTPException) as error:
            return Again(in_words(error))

    def _open(self, file: str, start: int, size: int) -> http.client.HTTPResponse:
        base, question, query = self.address.partition("?")
        quoted = f"/{urllib.parse.quote(file)}" if file else ""
        try:
            return open_url(
                f"{base.rstrip('/')}{quoted}{question}{query}", f"{self.address}/{file}".strip("/"),
                {"Range": f"bytes={start}-{start + size - 1}"}, TIMEOUT,
            )  # fmt: skip
        except WeightsError as error:  # as the client of published weights says it
            raise DataError(str(error).removesuffix(f"; {WAY_OUT}")) from None

    def _no_ranges(self, file: str) -> DataError:
        return DataError(
            f"{self.address}/{file}: the server sends whole files only, no parts of them (ranges); "
            "download the folder, or use another server"
        )


class FsspecTransport:
    """Files below an address of a protocol that fsspec knows.

    What the protocol needs, such as keys and another server's address, is taken from where its
    package takes it: variables of the environment and files of the user.

    Args:
        address: the address.

    Raises:
        MissingExtra: fsspec, or what it needs for the protocol, is not installed.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        protocol = address.partition("://")[0]
        fsspec = require("fsspec")
        package = PROTOCOLS[protocol]
        if package and find_spec(package) is None:
            raise MissingExtra(
                f"{package} is not installed and {protocol}:// needs it; install it with: pip "
                f"install {package}"
            )
        try:
            self._system: Any = fsspec.filesystem(protocol)
        except Exception as error:  # of the protocol's package, which has many classes
            raise DataError(
                f"{address}: {protocol}:// cannot be used ({first_line(error)})"
            ) from None

    def size(self, file: str) -> int:
        """Return the bytes of a file."""
        try:
            found = self._system.info(self._path(file)).get("size")
        except Exception as error:
            raise self._error(file, error) from None
        if not isinstance(found, int):
            raise DataError(f"{self._path(file)}: its size is unknown, or it is no file")
        return found

    def parts(self, parts: Sequence[Part]) -> list[bytes | Exception]:
        """Return parts of files, or the error of each."""
        paths, starts = [self._path(file) for file, _, _ in parts], [start for _, start, _ in parts]
        ends = [start + size for _, start, size in parts]
        try:
            found = self._system.cat_ranges(paths, starts, ends, on_error="return")
        except Exception as error:
            return [self._error(file, error) for file, _, _ in parts]
        return [
            self._error(file, one) if isinstance(one, Exception) else bytes(one)
            for (file, _, _), one in zip(parts, found, strict=True)
        ]

    def _path(self, file: str) -> str:
        return f"{self.address.rstrip('/')}/{file}" if file else self.address

    def _error(self, file: str, error: Exception) -> Exception:
        """Return a failure of the package as one of ours; what is not known may pass."""
        where = self._path(file)
        if isinstance(error, FileNotFoundError):
            return DataError(f"{where}: no such file, or no access to it")
        if isinstance(error, PermissionError):
            return DataError(f"{where}: the server refuses to give it ({first_line(error)})")
        if type(error).__name__ in ("NoCredentialsError", "DefaultCredentialsError"):
            return DataError(f"{where}: no keys for this server were found in the environment")
        return Again(f"{type(error).__name__}: {first_line(error)}")


def transport_of(address: str) -> Transport:
    """Return the transport for an address."""
    if address.partition("://")[0] in WEB:
        return WebTransport(address)
    return FsspecTransport(address)


__all__ = [
    "CONNECTIONS", "PROTOCOLS", "Again", "FsspecTransport", "Part", "Transport", "WebTransport",
    "transport_of",
]  # fmt: skip
