"""Checksums, and one answer from the web; whole downloads are in the modules beside this one."""

import email.utils
import hashlib
import http.client
import ssl
import time
import urllib.error
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.errors import WeightsError
from mobilenetv2.files import sha256_of_file
from mobilenetv2.hub import download
from mobilenetv2.hub.download import UNKNOWN, Checksum


@pytest.mark.parametrize("place", ["localhost", "127.0.0.1", "127.8.9.10", "[::1]"])
def test_from_https_to_http_only_on_this_machine(place: str) -> None:
    before = "https://storage.googleapis.com/weights.h5"
    address = f"http://{place}/weights.h5"
    assert download._address(address, "weights.h5", before) == address
    for other in ("example.org", "10.0.0.1", "localhost.example.org", "[fe80::1]"):
        with pytest.raises(WeightsError, match=r"^weights\.h5: redirected from https to 'http://"):
            download._address(f"http://{other}/weights.h5", "weights.h5", before)
    assert download._address("//cdn.example.org/x", "x", before) == "https://cdn.example.org/x"
    assert download._address("../x?y=1", "x", "http://a.org/b/c") == "http://a.org/x?y=1"


@given(st.text())
def test_no_location_is_more_than_an_error(location: str) -> None:
    try:
        address = download._address(location, "x", "https://a.org/b")
    except WeightsError as error:
        assert str(error).startswith("x: redirected ")
    else:
        assert address.startswith(("https://", "http://")) and address.isascii()


@given(st.text())
def test_no_retry_after_is_more_than_none(text: str) -> None:
    seconds = download.retry_after(text)
    assert seconds is None or seconds >= 0


def test_retry_after_in_seconds_or_as_a_date() -> None:
    assert download.retry_after("120") == 120
    soon = download.retry_after(email.utils.formatdate(time.time() + 50, usegmt=True))
    assert soon is not None and 40 < soon <= 50
    assert download.retry_after("") is None and download.retry_after("-5") is None


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"ETag": '"x"', "Last-Modified": "y"}, '"x"'),
        ({"ETag": 'W/"x"', "Last-Modified": "y"}, "y"),
        ({"ETag": 'W/"x"'}, ""),
        ({}, ""),
    ],
)
def test_what_names_a_version(headers: dict[str, str], version: str) -> None:
    assert download.validator(SimpleNamespace(headers=headers)) == version  # type: ignore[arg-type]


def test_the_address_of_a_checkpoint_itself_is_checked() -> None:
    with pytest.raises(WeightsError, match="'file:///etc/passwd'"):
        download.open_url("file:///etc/passwd", "x", {}, 1.0)


def test_a_certificate_that_is_not_trusted_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ssl.SSLCertVerificationError("certificate verify failed")
    problem.verify_message = "certificate has expired"

    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError(problem)

    monkeypatch.setattr("urllib.request.OpenerDirector.open", refuse)
    with pytest.raises(WeightsError, match=r"not trusted .*certificate has expired"):
        download.open_url("https://a.org/x", "x", {}, 1.0)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (TimeoutError("timed out"), "stalled"),
        (http.client.RemoteDisconnected("x"), "without an answer"),
        (http.client.IncompleteRead(b""), "cut off"),
        (OSError(113, "No route to host"), "No route to host"),
        (http.client.BadStatusLine("\x1b[2J\n"), "BadStatusLine"),
        (OSError(), "OSError"),
    ],
)
def test_network_errors_in_words(reason: Exception, words: str) -> None:
    said = download.in_words(reason)
    assert words in said and said.isprintable()


CONTENT = b"weights" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("checksum", [UNKNOWN, Checksum(DIGEST), Checksum(prefix=DIGEST[:8])])
def test_what_fits_gives_its_sha256(checksum: Checksum, file: Path) -> None:
    assert checksum.require(file) == sha256_of_file(file) == DIGEST
    assert checksum.difference(DIGEST) == ""


@pytest.mark.parametrize(
    ("checksum", "words"),
    [
        (Checksum("0" * 64), "0" * 64),
        (Checksum("0" * 64, source="the hub's"), f"the hub's is {'0' * 64}"),
        (Checksum(prefix="01234567"), "begins 01234567"),
    ],
)
def test_what_differs_is_told_with_both_values(checksum: Checksum, words: str, file: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        checksum.require(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ") and DIGEST in message and words in message
    assert "delete it" in message
    assert file.read_bytes() == CONTENT


def test_a_checksum_that_says_nothing_is_false() -> None:
    assert not UNKNOWN and not Checksum(source="the hub's")
    assert Checksum(DIGEST) and Checksum(prefix=DIGEST[:8])
