"""Download of one file: resumed after an interruption, checked, and renamed only when complete.

The bytes received so far are in ``NAME.partial``; ``NAME.partial.json`` records the version on the
server to which they belong. A later call, or another process after a kill, continues there. Only a
complete and checked file is renamed to ``NAME``. The number of redirects is bounded. A failure is
either temporary (:class:`Again`) or final, a :class:`WeightsError` that says what to do.
"""

import contextlib
import email.utils
import http.client
import ipaddress
import json
import math
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mobilenetv2 import __version__
from mobilenetv2.documents import LARGEST_RECORD, read_table
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import sha256_of_file, write_atomically
from mobilenetv2.locks import hold
from mobilenetv2.progress import track

LARGEST = 256 * 1024**2
"""Maximum size in bytes; every published MobileNetV2 is much smaller."""
TRIES = 5
BLOCK = 1 << 16
STEP = 100_000
"""Number of bytes between two updates of the progress bar."""
LONGEST_WAIT = 120.0
"""Maximum wait in seconds that a server may ask for; a longer one is an error."""
MOST_REDIRECTS = 8
REDIRECTS = (301, 302, 303, 307, 308)
LATER = (408, 429, 500, 502, 503, 504)
REFUSED, GONE = "the server refuses to give it ({status})", "not there any more ({status}, {url})"
FINAL = {401: REFUSED, 403: REFUSED, 404: GONE, 410: GONE}
IN_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "stalled"),
    (http.client.RemoteDisconnected, "the server closed without an answer"),
    (http.client.IncompleteRead, "cut off"),
)
WEB_PAGES = ("text/html", "application/xhtml+xml")
WAY_OUT = "give the file itself with: weights import FILE"


@dataclass(frozen=True, slots=True)
class Checksum:
    """Checksum of a file as far as it is published; without one, all bytes are accepted."""

    sha256: str | None = None
    """Whole SHA-256, 64 hexadecimal digits."""
    prefix: str | None = None
    """First digits of the SHA-256, if only these are published."""
    source: str = "the published one"
    """Source of ``sha256``, for the message."""

    def __bool__(self) -> bool:
        return bool(self.sha256 or self.prefix)

    def difference(self, digest: str) -> str:
        """Return the difference from a file's SHA-256 in words; '' if there is none."""
        if self.sha256 and digest != self.sha256:
            return f"wrong bytes: its SHA-256 is {digest}, {self.source} is {self.sha256}"
        if self.prefix and not digest.startswith(self.prefix):
            return f"wrong bytes: its SHA-256 is {digest}, the published one begins {self.prefix}"
        return ""

    def require(self, path: Path) -> str:
        """Return the SHA-256 of a file on the disk.

        Raises:
            WeightsError: it differs from the checksum.
        """
        digest = sha256_of_file(path)
        if difference := self.difference(digest):
            raise WeightsError(f"{path}: {difference}; delete it to fetch it again")
        return digest


UNKNOWN = Checksum()
"""Checksum for a file without a published one."""


def download(
    url: str,
    target: Path,
    checksum: Checksum = UNKNOWN,
    *,
    size_limit: int = LARGEST,
    timeout: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Fetch ``url`` into ``target``; one process at a time does it, others wait.

    Args:
        target: path of the file; its folder is made. A file that exists is checked and not fetched
            again.
        size_limit: maximum number of bytes.
        timeout: seconds without a byte after which a try counts as stalled.
        sleep: function that waits between two tries.

    Returns:
        The file's SHA-256, 64 hexadecimal digits.

    Raises:
        WeightsError: the file cannot be fetched or differs from the published one; no new file is
            then at ``target``.
        OSError: the disk is full, or the folder cannot be written.
    """
    if target.is_file():  # without a lock, since the cache may be read-only
        return checksum.require(target)
    with hold(target, wait=True):
        if target.is_file():
            return checksum.require(target)
        return _Transfer(url, target, checksum, size_limit, timeout).finish(sleep)


@dataclass
class _Transfer:
    """State of all tries to fetch one file."""

    url: str
    target: Path
    checksum: Checksum
    size_limit: int
    timeout: float

    def __post_init__(self) -> None:
        self.partial = self.target.with_name(f"{self.target.name}.partial")
        self.record = self.target.with_name(f"{self.target.name}.partial.json")
        self.name = f"{self.target.name} from {urllib.parse.urlsplit(self.url).netloc}"

    def finish(self, sleep: Callable[[float], None]) -> str:
        """Try until the file is complete, and return its SHA-256."""
        reached = False
        for attempt in range(TRIES):
            try:
                return self.fetch()
            except Again as problem:
                reached = reached or not problem.offline
                if not reached:
                    raise WeightsError(
                        f"no internet connection: {self.name}: {problem}; {WAY_OUT}"
                    ) from None
                if attempt == TRIES - 1:
                    raise WeightsError(
                        f"{self.name}: {problem}, the last of {TRIES} tries; try again later, it "
                        f"continues where it stopped, or {WAY_OUT}"
                    ) from None
                sleep(2.0**attempt if problem.wait is None else problem.wait)
            except OSError as error:
                self.forget()  # a full disk gets its space back
                raise OSError(error.errno, error.strerror, str(self.target)) from None
        raise AssertionError("the last try returns or raises")

    def fetch(self) -> str:
        """Try once, from the end of the last try, and return the SHA-256 of the file."""
        offset, version = self.resumable()
        headers = {"Range": f"bytes={offset}-", "If-Range": version} if offset else {}
        with contextlib.closing(open_url(self.url, self.name, headers, self.timeout)) as response:
            resumed = offset > 0 and response.status == 206
            whole = self.expected(response, offset)
            if not resumed:
                offset = 0
                self.forget()  # remove the old bytes before recording the new version
                if version := validator(response):
                    record = {"url": self.url, "version": version}
                    write_atomically(self.record, json.dumps(record))
            steps = math.ceil(((self.size_limit if whole is None else whole) - offset) / STEP)
            label = f"{self.target.name}, in {STEP // 1000} kB"
            for _ in track(self.receive(response, offset), label, steps):
                pass
            size = self.partial.stat().st_size
            if whole is not None and size < whole:
                raise Again(f"cut off after {size:,} of {whole:,} bytes")
            if whole is not None and has_surplus(response):
                self.forget()
                raise Again(f"the server sent more bytes than the announced {whole:,}")
        digest = sha256_of_file(self.partial)
        if difference := self.checksum.difference(digest):
            self.forget()
            if resumed:  # the earlier part may have been wrong
                raise Again(difference)
            raise WeightsError(f"{self.name}: {difference}; the download was deleted")
        # The folder is not flushed: after a power failure the file may be fetched again.
        os.replace(self.partial, self.target)
        self.forget()
        return digest

    def resumable(self) -> tuple[int, str]:
        """Return the number of bytes received so far, and their version on the server."""
        with contextlib.suppress(OSError, WeightsError):
            record = read_table(self.record, WeightsError, LARGEST_RECORD)
            if record.get("url") == self.url and isinstance(record.get("version"), str):
                return self.partial.stat().st_size, record["version"]
        return 0, ""  # nothing usable, so start from the beginning

    def expected(self, response: http.client.HTTPResponse, offset: int) -> int | None:
        """Return the size of the whole file; None if only the checksum can confirm it."""
        check_content(response, self.name)
        if response.status == 200:  # the whole file, even if a part was requested
            whole = response.length
            if whole is None and not response.chunked and not self.checksum:
                raise WeightsError(
                    f"{self.name}: the server does not report its size and no checksum is "
                    f"published, so a truncated file could not be detected; {WAY_OUT}"
                )
        else:
            found = response.headers.get("Content-Range", "")
            total = found.rpartition("/")[2]
            if not offset or not found.startswith(f"bytes {offset}-") or not total.isdecimal():
                self.forget()
                raise Again(f"the server sent another part than the requested one ({found!r})")
            whole = int(total)
        if whole is not None and whole > self.size_limit:
            raise self.too_large(whole)
        return whole

    def receive(self, response: http.client.HTTPResponse, offset: int) -> Iterator[None]:
        """Write the received bytes; yield after every ``STEP`` bytes, for the progress bar."""
        size = told = offset
        with self.partial.open("ab") as file:
            while True:
                try:
                    part = response.read1(BLOCK)
                except (OSError, http.client.HTTPException) as error:
                    raise Again(f"{in_words(error)} after {size:,} bytes") from None
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
            "be the published file"
        )

    def forget(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)


class Again(Exception):
    """A temporary failure; another try may succeed."""

    def __init__(self, message: str, wait: float | None = None, offline: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        """Seconds to wait, if the server named them."""
        self.offline = offline
        """True if no server was reached."""


def open_url(
    url: str, name: str, headers: dict[str, str], timeout: float
) -> http.client.HTTPResponse:
    """Return the response to a GET after all redirects (200, 206 or 416); the caller closes it.

    Args:
        name: name of the file for messages.
        timeout: seconds without a byte after which the server counts as stalled.
    """
    # urllib supports proxies and certificates, so the core install needs no other client.
    opener = urllib.request.OpenerDirector()  # without file:, ftp: and automatic redirects
    request = urllib.request
    for handler in (request.ProxyHandler(), request.HTTPHandler(), request.HTTPSHandler()):
        opener.add_handler(handler)
    headers |= {"User-Agent": f"mobilenetv2/{__version__}", "Accept-Encoding": "identity"}
    url = _address(url, name)
    for _ in range(MOST_REDIRECTS + 1):
        try:
            response: http.client.HTTPResponse = opener.open(
                request.Request(url, headers=headers), timeout=timeout
            )
        except (OSError, http.client.HTTPException) as error:
            raise _failure(error, name) from None
        if response.status in (200, 206, 416):
            return response
        with contextlib.closing(response):
            if response.status not in REDIRECTS:
                raise _refusal(response, url, name)
            url = _address(response.headers.get("Location", ""), name, url)
    raise WeightsError(f"{name}: more than {MOST_REDIRECTS} redirects; {WAY_OUT}")


def check_content(response: http.client.HTTPResponse, name: str) -> None:
    """Raise if the response cannot be the file."""
    if response.headers.get_content_type() in WEB_PAGES:
        raise WeightsError(
            f"{name}: the server sent a web page instead of the file (perhaps a sign-in page); "
            f"{WAY_OUT}"
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise WeightsError(f"{name}: the server compressed it without being asked; {WAY_OUT}")


def validator(response: http.client.HTTPResponse) -> str:
    """Return the value for If-Range: a strong ETag, or the date of the last change, or ''."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def has_surplus(response: http.client.HTTPResponse) -> bool:
    """Return True if bytes follow after the announced ones, where the server should close."""
    if response.chunked:
        return False
    response.length = None  # otherwise http.client would not read further
    try:
        return bool(response.read1(1))
    except (OSError, http.client.HTTPException):
        return False


def retry_after(text: str) -> float | None:
    """Return the seconds to wait for a Retry-After with a number or a date, otherwise None."""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def in_words(reason: object) -> str:
    """Return a network error in a few words."""
    for kind, words in IN_WORDS:
        if isinstance(reason, kind):
            return words
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    if isinstance(reason, http.client.HTTPException):  # its text comes from the server
        return f"not an answer in HTTP ({type(reason).__name__})"
    return type(reason).__name__


def _failure(error: Exception, name: str) -> Exception:
    """Return the error to raise for a request without a response."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return WeightsError(
            f"{name}: its certificate is not trusted ({reason.verify_message}); {WAY_OUT}"
        )
    # urllib wraps errors from before the request was sent: no name, no route, refused.
    sent = not isinstance(reason, OSError) or isinstance(reason, TimeoutError | ssl.SSLError)
    return Again(in_words(reason), offline=reason is not error and not sent)


def _refusal(response: http.client.HTTPResponse, url: str, name: str) -> Exception:
    status = response.status
    answers = f"the server answers {status} {http.client.responses.get(status, '')}".rstrip()
    if status in LATER:
        wait = retry_after(response.headers.get("Retry-After", ""))
        if wait is None or wait <= LONGEST_WAIT:
            return Again(answers, wait)
        return WeightsError(
            f"{name}: the server asks to wait {wait:,.0f} seconds ({status}); try again then"
        )
    words = FINAL.get(status, answers).format(status=status, url=url)
    return WeightsError(f"{name}: {words}; {WAY_OUT}")


def _address(location: str, name: str, before: str = "") -> str:
    """Return the absolute URL of a redirect, or raise if it is not allowed."""
    try:
        url = urllib.parse.urljoin(before, location)
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port  # an invalid port raises here
    except ValueError:
        url, parts, host = location, urllib.parse.urlsplit(""), None
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise WeightsError(f"{name}: redirected to {url!r}, which is not a web address; {WAY_OUT}")
    if parts.scheme == "http" and before.startswith("https:") and not _is_loopback(host):
        raise WeightsError(
            f"{name}: redirected from https to {url!r}, where anybody could change the file"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
