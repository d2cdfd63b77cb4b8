"""A folder of shards on a server, and single files that are fetched into the cache."""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mobilenetv2.data.remote.ahead import ReadAhead
from mobilenetv2.data.remote.transports import PROTOCOLS, Again, Part, Transport, transport_of
from mobilenetv2.data.shards.index import INDEX, Lines
from mobilenetv2.errors import DataError
from mobilenetv2.hub.cache import cache_folder
from mobilenetv2.locks import hold
from mobilenetv2.progress import track
from mobilenetv2.text import first_line, listed

Found = TypeVar("Found")

TRIES = 6
"""Number of times that a failure is met before it is an error."""
FIRST_WAIT = 0.5
"""Seconds before the second try; each further wait is twice as long."""
CHUNK = 8 * 1024**2
"""Bytes of a file that are fetched at once."""
FETCHED = "data"
"""Folder of fetched files in the cache."""


def checked(address: str) -> str:
    """Return an address without a '/' at its end.

    Raises:
        DataError: its protocol is none that is read here.
    """
    protocol, _, rest = address.partition("://")
    if protocol.lower() not in PROTOCOLS:
        known = listed([f"{one}://" for one in PROTOCOLS], len(PROTOCOLS))
        raise DataError(f"{address}: no address of data; those begin with {known}")
    return f"{protocol.lower()}://{rest.rstrip('/')}"


def folder_of(address: str) -> str:
    """Return the address of the folder of shards that an address names, or whose index it names."""
    return checked(address).removesuffix(f"/{INDEX}")


class RemoteFiles:
    """A folder on a server, read in parts; a failure that may pass is tried again.

    Args:
        address: the address of the folder.
        transport: what reads it. Default: by the protocol.

    Raises:
        MissingExtra: a package for the protocol is not installed.
        DataError: the protocol is none that is read here.
    """

    def __init__(self, address: str, transport: Transport | None = None) -> None:
        self.name = folder_of(address)
        self._transport, self._owner = transport, os.getpid()
        self._own = transport is None
        self._plans: list[ReadAhead] = []
        self._lock = threading.Lock()
        self.transport()

    def transport(self) -> Transport:
        """Return what reads the folder; a process that was forked makes its own."""
        if self._transport is None or (self._own and self._owner != os.getpid()):
            self._transport, self._owner = transport_of(self.name), os.getpid()
            self._plans, self._lock = [], threading.Lock()
        return self._transport

    @contextmanager
    def lines(self, file: str) -> Iterator[Lines]:
        """Open a file to be read line by line."""
        size = self.size(file)
        yield RemoteLines(self, file, size)

    def size(self, file: str) -> int:
        """Return the bytes of a file."""
        return tried(lambda: self.transport().size(file), f"{self.name}/{file}")

    def part(self, file: str, offset: int, size: int) -> bytes:
        """Return a part of a file; fewer bytes where it ends earlier.

        Raises:
            DataError: it cannot be read, after several tries.
        """
        transport = self.transport()
        for plan in [*self._plans]:
            if (found := plan.take((file, offset, size))) is not None:
                return found

        return _read(transport, (file, offset, size), f"{self.name}/{file}")

    @contextmanager
    def ahead(self, parts: Sequence[Part]) -> Iterator[None]:
        """Read parts ahead of their turn while the ``with`` block lasts."""
        plan = ReadAhead(parts, self.transport().parts)
        with self._lock:
            self._plans.append(plan)
        try:
            yield
        finally:
            with self._lock:
                self._plans = [one for one in self._plans if one is not plan]
            plan.close()


def tried(
    function: Callable[[], Found], where: str, sleep: Callable[[float], None] = time.sleep
) -> Found:
    """Return a function's result, after more tries where a failure may pass.

    Raises:
        DataError: the last try has failed, too.
    """
    for attempt in range(TRIES):
        try:
            return function()
        except Again as problem:
            if attempt == TRIES - 1:
                raise DataError(
                    f"{where}: {first_line(problem)}, the last of {TRIES} tries; try again later"
                ) from None
            sleep(FIRST_WAIT * 2**attempt if problem.wait is None else problem.wait)
    raise AssertionError("the last try returns or raises")


def _read(transport: Transport, part: Part, where: str) -> bytes:
    """Return a part of a file, after more tries where a failure may pass."""

    def read() -> bytes:
        (data,) = transport.parts([part])
        if isinstance(data, Exception):
            raise data
        return data

    return tried(read, where)


class RemoteLines:
    """Lines of a file on a server, fetched in chunks.

    Args:
        files: the folder.
        file: the file.
        size: its bytes.
    """

    def __init__(self, files: RemoteFiles, file: str, size: int) -> None:
        self._files, self._file, self._size = files, file, size
        self._data, self._at, self._place = b"", 0, 0

    def readline(self, size: int = -1, /) -> bytes:
        """Return the next line, at most ``size`` bytes of it."""
        parts: list[bytes] = []
        left = size if size >= 0 else self._size
        while left > 0:
            if self._at == len(self._data) and not self._more():
                break
            end = self._data.find(b"\n", self._at, self._at + left) + 1
            part = self._data[self._at : end or min(len(self._data), self._at + left)]
            self._at += len(part)
            left -= len(part)
            parts.append(part)
            if end:
                break
        return b"".join(parts)

    def _more(self) -> bool:
        count = min(CHUNK, self._size - self._place)
        self._data = self._files.part(self._file, self._place, count) if count > 0 else b""
        self._place += len(self._data)
        self._at = 0
        return bool(self._data)


def fetched(address: str) -> Path:
    """Return a file of an address in the cache, fetched if it is not there in this size.

    Raises:
        DataError: it is not there, or cannot be fetched as a whole.
        MissingExtra: a package for the protocol is not installed.
        OSError: the cache cannot be written.
    """
    address = checked(address)
    transport, name = transport_of(address), address.partition("?")[0].rpartition("/")[2]
    size = tried(lambda: transport.size(""), address)
    key = hashlib.sha256(f"{address}\0{size}".encode()).hexdigest()[:16]
    target = cache_folder() / FETCHED / key / name
    if target.is_file():
        return target
    with hold(target, wait=True):
        if target.is_file():
            return target
        partial = target.with_name(f"{name}.partial")
        free = shutil.disk_usage(target.parent).free
        if size > free:
            raise DataError(
                f"{address}: its {size:,} bytes do not fit on the disk of {target.parent}"
            )
        with partial.open("wb") as file:
            places = range(0, size, CHUNK)
            for data in track(_chunks(transport, address, size), f"{name}, in 8 MiB", len(places)):
                file.write(data)
        os.replace(partial, target)
    return target


def _chunks(transport: Transport, address: str, size: int) -> Iterator[bytes]:
    """Yield a file's bytes.

    Raises:
        DataError: it is shorter than it was said to be.
    """
    at = 0
    while at < size:
        data = _read(transport, ("", at, min(CHUNK, size - at)), address)
        if not data:
            raise DataError(f"{address}: ends after {at:,} of {size:,} bytes; try again")
        at += len(data)
        yield data
