"""Downloads that fail: one sentence that says what to do, and nothing under the target's name."""

import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mobilenetv2.errors import WeightsError
from mobilenetv2.hub.download import TRIES, Checksum, download

WAY_OUT = "give the file itself with: weights import FILE"


@pytest.fixture
def fails(site: Any, tmp_path: Path) -> Callable[..., str]:
    """Downloads, which must fail and leave no file but what is named; the message."""

    def run(*arguments: Any, left: tuple[str, ...] = (), url: str = "", **options: Any) -> str:
        target = tmp_path / "published.bin"
        options.setdefault("sleep", lambda _: None)
        with pytest.raises(WeightsError) as caught:
            download(url or site.url, target, *arguments, **options)
        assert {p.name for p in tmp_path.iterdir() if p.suffix != ".lock"} == set(left)
        message = str(caught.value)
        assert "\n" not in message and "published.bin" in message
        return message

    return run


KEPT = ("published.bin.partial", "published.bin.partial.json")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "not there any more (404, "),
        (410, "not there any more (410, "),
        (401, "the server refuses to give it (401)"),
        (403, "the server refuses to give it (403)"),
        (400, "the server answers 400 Bad Request"),
        (304, "the server answers 304 Not Modified"),
        (206, "the server sent another part than the requested one ('')"),
        (416, "the server sent another part than the requested one ('')"),
    ],
)
def test_a_refusal_is_final(
    status: int, words: str, site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.refuse(status, b"" if status == 304 else b"no")] * TRIES
    message = fails()
    assert words in message and message.endswith(WAY_OUT)
    assert len(site.asked) == (TRIES if status in (206, 416) else 1)


def test_a_server_that_stays_busy(
    site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.refuse(500)] * TRIES
    slept: list[float] = []
    message = fails(sleep=slept.append)
    assert f"the server answers 500 Internal Server Error, the last of {TRIES} tries; " in message
    assert slept == [1.0, 2.0, 4.0, 8.0] and message.endswith(WAY_OUT)


def test_a_server_that_asks_for_an_hour(
    site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.refuse(429, Retry_After="3600")]
    message = fails(sleep=lambda _: pytest.fail("an hour is not waited for"))
    assert message.endswith("asks to wait 3,600 seconds (429); try again then")


def test_no_name_no_network(fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    message = fails(url="https://weights.invalid/published.bin")
    assert message == (
        f"no internet connection: published.bin from weights.invalid: "
        f"Name or service not known; {WAY_OUT}"
    )


def test_nobody_listens(fails: Callable[..., str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        message = fails(url=f"http://{address}/published.bin")
    assert message == (
        f"no internet connection: published.bin from {address}: Connection refused; {WAY_OUT}"
    )


def test_a_network_that_goes_away_is_waited_for(
    site: Any, answers: SimpleNamespace, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answers = [answers.cut(1000)]
    slept: list[float] = []

    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        monkeypatch.setattr(socket, "getaddrinfo", unknown)

    message = fails(sleep=sleep, left=KEPT)
    assert "Temporary failure in name resolution, the last of 5 tries" in message
    assert len(slept) == TRIES - 1


def test_a_server_that_never_answers(
    site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [lambda handler: handler.site.closing.wait(60)] * TRIES
    assert f": stalled, the last of {TRIES} tries" in fails(timeout=0.1)
    site.answers = [lambda handler: None] * TRIES
    assert ": the server closed without an answer, the last" in fails()
    site.answers = [lambda handler: handler.wfile.write(b"SSH-2.0-server\r\n")] * TRIES
    assert ": not an answer in HTTP (BadStatusLine), the last of" in fails()


def test_a_server_that_stalls_every_time_keeps_what_came(
    site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.stall(1000)] * TRIES
    assert "stalled after 5,000 bytes, the last of 5 tries" in fails(timeout=0.1, left=KEPT)
    assert site.ranges == [None, *(f"bytes={n}000-" for n in range(1, TRIES))]


@pytest.mark.parametrize("location", [
    "file:///etc/passwd", "ftp://127.0.0.1/x", "http://:80/x", "http://[", "http://host:port/",
    "http://127.0.0.1/a b", "data:,x", "http://127.0.0.1/\xe4", "javascript:alert(1)",
])  # fmt: skip
def test_a_redirect_to_anything_but_the_web(
    location: str, site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.refuse(302, Location=location)]
    message = fails()
    assert "which is not a web address; give the file itself" in message
    assert len(site.asked) == 1


def test_redirects_in_a_circle(
    site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.refuse(302, Location="/published.bin")] * 100
    assert f"more than 8 redirects; {WAY_OUT}" in fails()
    assert len(site.asked) == 9
    site.answers = [answers.refuse(302)] * 100  # without a place: to itself
    assert "more than 8 redirects" in fails()


@pytest.mark.parametrize("prefix", [None, "0123abcd"])
def test_wrong_bytes(prefix: str | None, site: Any, fails: Callable[..., str]) -> None:
    checksum = Checksum(prefix=prefix) if prefix else Checksum("0" * 64, source="the record's")
    message = fails(checksum)
    published = f"the published one begins {prefix}" if prefix else f"the record's is {'0' * 64}"
    assert message.endswith(
        f"wrong bytes: its SHA-256 is {site.sha256}, {published}; the download was deleted"
    )
    assert len(site.asked) == 1


def test_a_length_that_is_too_long(
    site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.altered(Content_Length="300100", ETag=None)] * TRIES
    assert "cut off after 300,000 of 300,100 bytes" in fails(left=KEPT[:1])


@pytest.mark.parametrize("checked", [False, True])
def test_a_length_that_is_too_short(
    checked: bool, site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.altered(Content_Length="299900")] * TRIES
    message = fails(Checksum(site.sha256 if checked else None))
    assert "the server sent more bytes than the announced 299,900" in message


def test_no_length_and_no_checksum(
    site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.altered(Content_Length=None)]
    assert "does not report its size and no checksum is published" in fails()


def test_too_large(site: Any, answers: SimpleNamespace, fails: Callable[..., str]) -> None:
    limit = "the limit is 200,000; this cannot be the published file"
    assert f"300,000 bytes or more, {limit}" in fails(size_limit=200_000)  # as announced
    site.answers = [answers.chunked]
    assert limit in fails(size_limit=200_000)
    site.answers = [answers.endless]
    assert limit in fails(Checksum(site.sha256), size_limit=200_000)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/xhtml+xml"])
def test_a_web_page_is_not_weights(
    kind: str, site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.altered(Content_Type=kind)]
    assert "the server sent a web page instead of the file" in fails()


def test_what_was_compressed_on_the_way(
    site: Any, answers: SimpleNamespace, fails: Callable[..., str]
) -> None:
    site.answers = [answers.altered(Content_Encoding="gzip")]
    assert "the server compressed it without being asked" in fails()


def test_after_every_fault_a_good_server_gives_the_file(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    faults = [
        answers.cut(30_000), answers.altered(Content_Length="299900"), answers.refuse(404),
        answers.altered(Content_Type="text/html"), answers.refuse(206, Content_Range="bytes 1-2/3"),
        answers.cut(10, reset=True), answers.refuse(302, Location="file:///"),
    ]  # fmt: skip
    target = tmp_path / "published.bin"
    for fault in faults:
        target.unlink(missing_ok=True)
        site.answers = [fault] * TRIES
        with pytest.raises(WeightsError):
            download(site.url, target, sleep=lambda _: None)
        assert not target.exists()
        site.answers = []
        download(site.url, target)
        assert target.read_bytes() == site.body
        assert {p.name for p in tmp_path.iterdir() if p.suffix != ".lock"} == {"published.bin"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 200 kB: 300 kB do not fit."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small disk: {getattr(error, 'stderr', None) or error}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_gets_its_space_back(site: Any, small_disk: Path) -> None:
    target = small_disk / "published.bin"
    with pytest.raises(OSError) as caught:
        download(site.url, target)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    assert {path.name for path in small_disk.iterdir()} <= {"published.bin.lock"}
    assert len(site.asked) == 1


def test_a_disk_that_fails_at_the_end(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError) as caught:
        download(site.url, tmp_path / "published.bin")
    assert caught.value.errno == errno.EIO
    assert {p.suffix for p in tmp_path.iterdir()} <= {".lock"}
