"""One HTTP answer: behind bounded redirects, with its failures sorted into final and passing.

A passing failure is :class:`Again`; a final one is a :class:`WeightsError` that says what to do.
"""

# The standard library's urllib: it knows proxies and certificates, and the core install then
# needs no other client for the few requests that are made here.
import contextlib
import email.utils
import http.client
import ipaddress
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

from mobilenetv2.errors import WeightsError
from mobilenetv2.version import __version__

LONGEST_WAIT = 120.0
"""Seconds that a server may ask to be left alone; beyond, the person is told."""
MOST_REDIRECTS = 8
REDIRECTS = (301, 302, 303, 307, 308)
LATER = (408, 429, 500, 502, 503, 504)
WEB_PAGES = ("text/html", "application/xhtml+xml")
WAY_OUT = "give the file itself with: weights import FILE"


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
    """The answer to a GET behind all redirects: status 200, 206 or 416. The caller closes it.

    Args:
        name: what is being fetched, for the messages.
        timeout: seconds without a byte after which the server counts as stalled.

    Raises:
        Again: stalled, cut, or a status that passes.
        WeightsError: any other status, a redirect that is not followed, an untrusted certificate.
    """
    opener = urllib.request.OpenerDirector()  # no file:, no ftp:, no redirects by itself
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
    ):
        opener.add_handler(handler)
    agent = f"mobilenetv2/{__version__}"
    headers = {**headers, "User-Agent": agent, "Accept-Encoding": "identity"}
    url = _address(url, name)
    for _ in range(MOST_REDIRECTS + 1):
        response = _request(opener, urllib.request.Request(url, headers=headers), name, timeout)
        if response.status in (200, 206, 416):
            return response
        with contextlib.closing(response):
            if response.status not in REDIRECTS:
                raise _refusal(response, url, name)
            url = _address(response.headers.get("Location", ""), name, url)
    raise WeightsError(f"{name}: more than {MOST_REDIRECTS} redirects; {WAY_OUT}")


def check_content(response: http.client.HTTPResponse, name: str) -> None:
    """Raise where what comes cannot be the file.

    Raises:
        WeightsError: a web page, or something compressed.
    """
    if response.headers.get_content_type() in WEB_PAGES:
        raise WeightsError(
            f"{name}: a web page came instead of the file (the network's sign-in page, perhaps); "
            f"{WAY_OUT}"
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise WeightsError(f"{name}: the server compressed it, which was not asked for; {WAY_OUT}")


def validator(response: http.client.HTTPResponse) -> str:
    """What If-Range takes: a strong ETag, else the date of the last change, else ''."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def has_surplus(response: http.client.HTTPResponse) -> bool:
    """After the announced bytes: do more come? The server was asked to close there."""
    if response.chunked:
        return False
    response.length = None  # http.client would not read beyond it
    try:
        return bool(response.read1(1))
    except (OSError, http.client.HTTPException):
        return False


def retry_after(text: str) -> float | None:
    """Seconds from now, of a Retry-After with a number or a date; None without either."""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def in_words(reason: object) -> str:
    """A network error as a few words."""
    if isinstance(reason, TimeoutError):
        return "stalled"
    if isinstance(reason, http.client.RemoteDisconnected):
        return "the server closed without an answer"
    if isinstance(reason, http.client.IncompleteRead):
        return "cut off"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    if isinstance(reason, http.client.HTTPException):  # its text is what the server sent
        return f"not an answer in HTTP ({type(reason).__name__})"
    return type(reason).__name__


def _request(
    opener: urllib.request.OpenerDirector,
    request: urllib.request.Request,
    name: str,
    timeout: float,
) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=timeout)
        return response
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise WeightsError(
                f"{name}: its certificate is not trusted ({reason.verify_message}); {WAY_OUT}"
            ) from None
        # urllib wraps what went wrong before the request was sent: no name, no route, refused.
        offline = isinstance(reason, OSError) and not isinstance(
            reason, TimeoutError | ssl.SSLError
        )
        raise Again(in_words(reason), offline=offline) from None
    except (OSError, http.client.HTTPException) as error:
        raise Again(in_words(error)) from None


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
    if status in (404, 410):
        return WeightsError(f"{name}: not there any more ({status}, {url}); {WAY_OUT}")
    if status in (401, 403):
        return WeightsError(f"{name}: the server refuses to give it ({status}); {WAY_OUT}")
    return WeightsError(f"{name}: {answers}; {WAY_OUT}")


def _address(location: str, name: str, before: str = "") -> str:
    """The absolute address that ``location`` means, where it may be asked."""
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
