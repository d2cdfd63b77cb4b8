"""One file from the web: resumed after a cut, checked, and under its name only when it is whole.

What has arrived lies in ``NAME.partial``, and ``NAME.partial.json`` says of which version on the
server it is a part; a later call, or another process after a kill, goes on from there. Only a
whole and checked file is renamed to ``NAME``.
"""

import contextlib
import http.client
import json
import math
import os
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

from mobilenetv2.errors import WeightsError
from mobilenetv2.files import write_atomically
from mobilenetv2.hub import web
from mobilenetv2.hub.web import WAY_OUT, Again
from mobilenetv2.model.checksum import UNKNOWN, Checksum, check, file_sha256
from mobilenetv2.progress import say, track

LARGEST = 256 * 1024**2
"""Bytes: no published MobileNetV2 comes near, and an endless answer ends here."""
TRIES = 5
BLOCK = 1 << 16
STEP = 100_000
"""Bytes between two updates of the progress bar."""


def download(
    url: str,
    target: Path,
    checksum: Checksum = UNKNOWN,
    *,
    size_limit: int = LARGEST,
    timeout: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Fetch ``url`` into ``target``; one process at a time does it, the others wait.

    Args:
        target: its folder is made; a file that is there already is checked, not fetched again.
        size_limit: bytes.
        timeout: seconds without a byte after which a try counts as stalled.
        sleep: waits between two tries.

    Returns:
        The file's SHA-256, 64 hexadecimal digits.

    Raises:
        WeightsError: it cannot be had, or is not what was published; nothing is then under
            ``target``'s name that was not there before.
        OSError: the disk is full or may not be written to.
    """
    if target.is_file():  # without a lock: a cache that may only be read is one, too
        return check(target, checksum)
    from filelock import FileLock, Timeout

    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f"{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{target.name}: another process is fetching it, waiting")
        lock.acquire()
    try:
        if target.is_file():
            return check(target, checksum)
        return _Transfer(url, target, size_limit, timeout).run(checksum, sleep)
    finally:
        lock.release()


class _Transfer:
    """The tries at one file."""

    def __init__(self, url: str, target: Path, size_limit: int, timeout: float) -> None:
        self.url, self.target = url, target
        self.size_limit, self.timeout = size_limit, timeout
        self.partial = target.with_name(f"{target.name}.partial")
        self.record = target.with_name(f"{target.name}.partial.json")
        self.name = f"{target.name} from {urllib.parse.urlsplit(url).netloc}"

    def run(self, checksum: Checksum, sleep: Callable[[float], None]) -> str:
        reached = False
        for attempt in range(TRIES):
            try:
                return self.fetch(checksum)
            except Again as problem:
                reached = reached or not problem.offline
                if not reached:
                    raise WeightsError(f"no network: {self.name}: {problem}; {WAY_OUT}") from None
                if attempt == TRIES - 1:
                    raise WeightsError(
                        f"{self.name}: {problem}, the last of {TRIES} tries; try again later, it "
                        f"goes on from what has arrived, or {WAY_OUT}"
                    ) from None
                sleep(2.0**attempt if problem.wait is None else problem.wait)
            except OSError as error:
                self.forget()  # a full disk gets its space back
                raise OSError(error.errno, error.strerror, str(self.target)) from None
        raise AssertionError("the last try returns or raises")

    def fetch(self, checksum: Checksum) -> str:
        """One try, from where the last one ended; the SHA-256 of the published file."""
        offset, version = self.resumable()
        headers = {"Range": f"bytes={offset}-", "If-Range": version} if offset else {}
        with contextlib.closing(
            web.open_url(self.url, self.name, headers, self.timeout)
        ) as response:
            resumed = offset > 0 and response.status == 206
            whole = self.expected(response, offset, checksum)
            if not resumed:
                offset = 0
                self.begin(response)
            steps = math.ceil(((self.size_limit if whole is None else whole) - offset) / STEP)
            label = f"{self.target.name}, in {STEP // 1000} kB"
            for _ in track(self.receive(response, offset), label, steps):
                pass
            size = self.partial.stat().st_size
            if whole is not None and size < whole:
                raise Again(f"cut off after {size:,} of {whole:,} bytes")
            if whole is not None and web.has_surplus(response):
                self.forget()
                raise Again(f"more bytes came than the {whole:,} that the server announced")
        digest = file_sha256(self.partial)
        if difference := checksum.difference(digest):
            self.forget()
            if resumed:  # the part that was here may have been what is wrong
                raise Again(difference)
            raise WeightsError(f"{self.name}: {difference}; nothing of it was kept")
        # The folder is not flushed: a rename lost with the power only means another download.
        os.replace(self.partial, self.target)
        self.forget()
        return digest

    def resumable(self) -> tuple[int, str]:
        """Bytes that are there already, and what names their version on the server."""
        try:
            record = json.loads(self.record.read_text("utf-8"))
            if record["url"] == self.url and isinstance(record["version"], str):
                return self.partial.stat().st_size, record["version"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0, ""  # nothing, or nothing to be trusted: from the beginning
        return 0, ""

    def expected(
        self, response: http.client.HTTPResponse, offset: int, checksum: Checksum
    ) -> int | None:
        """Bytes of the whole file, or None where only the checksum will tell."""
        web.check_content(response, self.name)
        if response.status == 200:  # all of it, whether or not a part was asked for
            whole = response.length
            if whole is None and not response.chunked and not checksum:
                raise WeightsError(
                    f"{self.name}: the server does not say how long it is and no checksum is "
                    f"published, so a cut could not be seen; {WAY_OUT}"
                )
        else:
            found = response.headers.get("Content-Range", "")
            total = found.rpartition("/")[2]
            if not offset or not found.startswith(f"bytes {offset}-") or not total.isdecimal():
                self.forget()
                raise Again(f"the server has another part than was asked for ({found!r})")
            whole = int(total)
        if whole is not None and whole > self.size_limit:
            raise self.too_large(whole)
        return whole

    def begin(self, response: http.client.HTTPResponse) -> None:
        """Make room for a whole file: the old bytes go first, then comes the record of the new."""
        self.forget()
        if version := web.validator(response):
            write_atomically(self.record, json.dumps({"url": self.url, "version": version}))

    def receive(self, response: http.client.HTTPResponse, offset: int) -> Iterator[None]:
        """Write what arrives; yields after every ``STEP`` bytes, for the progress bar."""
        size = told = offset
        with self.partial.open("ab") as file:
            while True:
                try:
                    part = response.read1(BLOCK)
                except (OSError, http.client.HTTPException) as error:
                    raise Again(f"{web.in_words(error)} after {size:,} bytes") from None
                if not part:
                    break
                size += len(part)
                if size > self.size_limit:
                    raise self.too_large(size)
                file.write(part)
                for _ in range((size - told) // STEP):
                    told += STEP
                    yield
            file.flush()
            os.fsync(file.fileno())

    def too_large(self, size: int) -> WeightsError:
        self.forget()
        return WeightsError(
            f"{self.name}: {size:,} bytes or more, the limit is {self.size_limit:,}; this cannot "
            "be what was published"
        )

    def forget(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)
