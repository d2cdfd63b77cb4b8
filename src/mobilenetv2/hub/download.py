"""One file from the web: resumed after a cut, checked, and under its name only when it is whole.

What has arrived lies in ``NAME.partial``, and ``NAME.partial.json`` says of which version on the
server it is a part; a later call, or another process after a kill, goes on from there. Only a
whole and checked file is renamed to ``NAME``. Redirects are bounded, and failures are either
passing (:class:`Again`) or final, a :class:`WeightsError` that says what to do.
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
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import sha256_of_file, write_atomically
from mobilenetv2.progress import say, track

LARGEST = 256 * 1024**2
"""Bytes: no published MobileNetV2 comes near, and an endless answer ends here."""
TRIES = 5
BLOCK = 1 << 16
STEP = 100_000
"""Bytes between two updates of the progress bar."""
LONGEST_WAIT = 120.0
"""Seconds that a server may ask to be left alone; beyond, the person is told."""
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
    """What the bytes of a file must be; any bytes fit where nothing is published."""

    sha256: str | None = None
    """64 hexadecimal digits."""
    prefix: str | None = None
    """The first digits, where only they are published."""
    source: str = "the published one"
    """Where ``sha256`` stands, for the message."""

    def __bool__(self) -> bool:
        return bool(self.sha256 or self.prefix)

    def difference(self, digest: str) -> str:
        """Return what is wrong with a file of that SHA-256, in words; '' where it fits."""
        if self.sha256 and digest != self.sha256:
            return f"wrong bytes: its SHA-256 is {digest}, {self.source} is {self.sha256}"
        if self.prefix and not digest.startswith(self.prefix):
            return f"wrong bytes: its SHA-256 is {digest}, the published one begins {self.prefix}"
        return ""

    def require(self, path: Path) -> str:
        """Return the SHA-256 of a file on the disk.

        Raises:
            WeightsError: it differs.
        """
        digest = sha256_of_file(path)
        if difference := self.difference(digest):
            raise WeightsError(f"{path}: {difference}; delete it to fetch it again")
        return digest


UNKNOWN = Checksum()
"""Nothing is published."""


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
        return checksum.require(target)
    from filelock import FileLock, Timeout

    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f"{target.name}.lock"))
    try:
        acquired = lock.acquire(timeout=0)
    except Timeout:
        say(f"{target.name}: another process is fetching it, waiting")
        acquired = lock.acquire()
    with acquired:
        if target.is_file():
            return checksum.require(target)
        return _Transfer(url, target, checksum, size_limit, timeout).finish(sleep)


@dataclass
class _Transfer:
    """The tries at one file."""

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
        """Try until the file is there; its SHA-256."""
        reached = False
        for attempt in range(TRIES):
            try:
                return self.fetch()
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

    def fetch(self) -> str:
        """Try once, from where the last try ended; the SHA-256 of the published file."""
        offset, version = self.resumable()
        headers = {"Range": f"bytes={offset}-", "If-Range": version} if offset else {}
        with contextlib.closing(open_url(self.url, self.name, headers, self.timeout)) as response:
            resumed = offset > 0 and response.status == 206
            whole = self.expected(response, offset)
            if not resumed:
                offset = 0
                self.forget()  # the old bytes go first, then comes the record of the new
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
                raise Again(f"more bytes came than the {whole:,} that the server announced")
        digest = sha256_of_file(self.partial)
        if difference := self.checksum.difference(digest):
            self.forget()
            if resumed:  # the part that was here may have been what is wrong
                raise Again(difference)
            raise WeightsError(f"{self.name}: {difference}; nothing of it was kept")
        # The folder is not flushed: a rename lost with the power only means another download.
        os.replace(self.partial, self.target)
        self.forget()
        return digest

    def resumable(self) -> tuple[int, str]:
        """Return the bytes that are there already, and what names their version on the server."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(self.record.read_text("utf-8"))
            if record["url"] == self.url and isinstance(record["version"], str):
                return self.partial.stat().st_size, record["version"]
        return 0, ""  # nothing, or nothing to be trusted: from the beginning

    def expected(self, response: http.client.HTTPResponse, offset: int) -> int | None:
        """Return the bytes of the whole file, or None where only the checksum will tell."""
        check_content(response, self.name)
        if response.status == 200:  # all of it, whether or not a part was asked for
            whole = response.length
            if whole is None and not response.chunked and not self.checksum:
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

    def receive(self, response: http.client.HTTPResponse, offset: int) -> Iterator[None]:
        """Write what arrives; yields after every ``STEP`` bytes, for the progress bar."""
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
            "be what was published"
        )

    def forget(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)


class Again(Exception):
    """What failed may succeed the next time."""

    def __init__(self, message: str, wait: float | None = None, offline: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        """Seconds, where the server said how long."""
        self.offline = offline
        """No server was reached at all."""


def open_url(
    url: str, name: str, headers: dict[str, str], timeout: float
) -> http.client.HTTPResponse:
    """Return the answer to a GET behind all redirects (200, 206 or 416); the caller closes it.

    Args:
        name: what is being fetched, for the messages.
        timeout: seconds without a byte after which the server counts as stalled.
    """
    # urllib knows proxies and certificates: the core install needs no other client.
    opener = urllib.request.OpenerDirector()  # no file:, no ftp:, no redirects by itself
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
    """Raise where what comes cannot be the file."""
    if response.headers.get_content_type() in WEB_PAGES:
        raise WeightsError(
            f"{name}: a web page came instead of the file (the network's sign-in page, perhaps); "
            f"{WAY_OUT}"
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise WeightsError(f"{name}: the server compressed it, which was not asked for; {WAY_OUT}")


def validator(response: http.client.HTTPResponse) -> str:
    """Return what If-Range takes: a strong ETag, else the date of the last change, else ''."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def has_surplus(response: http.client.HTTPResponse) -> bool:
    """Return whether more comes after the announced bytes, where the server should close."""
    if response.chunked:
        return False
    response.length = None  # http.client would not read beyond it
    try:
        return bool(response.read1(1))
    except (OSError, http.client.HTTPException):
        return False


def retry_after(text: str) -> float | None:
    """Return seconds from now, of a Retry-After with a number or a date; None without either."""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def in_words(reason: object) -> str:
    """Return a network error as a few words."""
    for kind, words in IN_WORDS:
        if isinstance(reason, kind):
            return words
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    if isinstance(reason, http.client.HTTPException):  # its text is what the server sent
        return f"not an answer in HTTP ({type(reason).__name__})"
    return type(reason).__name__


def _failure(error: Exception, name: str) -> Exception:
    """Return what a request that got no answer ends in."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return WeightsError(
            f"{name}: its certificate is not trusted ({reason.verify_message}); {WAY_OUT}"
        )
    # urllib wraps what went wrong before the request was sent: no name, no route, refused.
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
            f"{name}: the server asks to come back in {wait:,.0f} seconds ({status}); "
            "try again then"
        )
    words = FINAL.get(status, answers).format(status=status, url=url)
    return WeightsError(f"{name}: {words}; {WAY_OUT}")


def _address(location: str, name: str, before: str = "") -> str:
    """Return the absolute address that ``location`` means, where it may be asked."""
    try:
        url = urllib.parse.urljoin(before, location)
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is none shows here
    except ValueError:
        url, parts, host = location, urllib.parse.urlsplit(""), None
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise WeightsError(f"{name}: sent to {url!r}, which is not a web address; {WAY_OUT}")
    if parts.scheme == "http" and before.startswith("https:") and not _is_loopback(host):
        raise WeightsError(f"{name}: sent from https to {url!r}, where anybody could change it")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
