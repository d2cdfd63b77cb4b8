"""Downloads that go well in the end: resumed, restarted, shared by processes, gone on after a kill.

What goes wrong for good is in test_download_faults.py.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mobilenetv2
from mobilenetv2 import progress
from mobilenetv2.errors import WeightsError
from mobilenetv2.hub.download import TRIES, Checksum, download


def left(folder: Path) -> set[str]:
    """What lies in a folder, but for the lock."""
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_a_file_comes_bit_for_bit_and_alone(site: Any, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "cache" / "published.bin"
    assert download(site.url, target, Checksum(site.sha256)) == site.sha256
    assert target.read_bytes() == site.body
    assert left(target.parent) == {"published.bin"}
    assert site.ranges == [None]
    assert site.asked[0]["user-agent"] == f"mobilenetv2/{mobilenetv2.__version__}"
    assert site.asked[0]["accept-encoding"] == "identity"


def test_a_file_that_is_there_is_checked_and_no_network_is_touched(
    site: Any, tmp_path: Path
) -> None:
    target = tmp_path / "published.bin"
    target.write_bytes(site.body)
    for checksum in (Checksum(site.sha256), Checksum(prefix=site.sha256[:8]), Checksum()):
        assert download(site.url, target, checksum) == site.sha256
    with pytest.raises(WeightsError, match=rf"published\.bin: .*{site.sha256}.*delete"):
        download(site.url, target, Checksum("0" * 64))
    assert target.read_bytes() == site.body and site.asked == []


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("validator", ['"one"', "Tue, 06 Oct 2020 10:00:00 GMT"])
def test_after_a_cut_it_goes_on_from_there(
    reset: bool, validator: str, site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    if not validator.startswith('"'):
        site.etag, site.modified = 'W/"weak"', validator
    site.answers = [answers.cut(120_000, reset), answers.cut(50_000)]
    target, slept = tmp_path / "published.bin", list[float]()
    download(site.url, target, sleep=slept.append)
    assert target.read_bytes() == site.body
    assert left(tmp_path) == {"published.bin"}
    first, second, third = site.ranges
    assert first is None and slept == [1.0, 2.0]
    assert [request.get("if-range") for request in site.asked] == [None, validator, validator]
    if reset:  # what the kernel had not handed over yet is lost
        offset = int(second.removeprefix("bytes=").removesuffix("-"))
        assert 0 < offset <= 120_000 and third == f"bytes={offset + 50_000}-"
    else:
        assert (second, third) == ("bytes=120000-", "bytes=170000-")


def test_a_later_call_goes_on_where_the_tries_of_the_first_ended(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    site.answers = [answers.cut(20_000) for _ in range(TRIES)]
    target = tmp_path / "published.bin"
    with pytest.raises(
        WeightsError, match=r"published\.bin from 127\.0\.0\.1:\d+: cut off after 1"
    ):
        download(site.url, target, sleep=lambda _: None)
    assert not target.exists()
    assert (tmp_path / "published.bin.partial").read_bytes() == site.body[: 20_000 * TRIES]
    download(site.url, target)
    assert site.ranges[-1] == f"bytes={20_000 * TRIES}-"
    assert target.read_bytes() == site.body and left(tmp_path) == {"published.bin"}


def test_a_stall_ends_the_try_and_the_next_goes_on(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    site.answers = [answers.stall(90_000)]
    target = tmp_path / "published.bin"
    download(site.url, target, timeout=0.3, sleep=lambda _: None)
    assert site.ranges == [None, "bytes=90000-"]
    assert target.read_bytes() == site.body


def test_a_server_without_ranges_is_begun_anew(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    site.answers = [answers.cut(120_000), answers.whole]
    target = tmp_path / "published.bin"
    download(site.url, target, sleep=lambda _: None)
    assert site.ranges == [None, "bytes=120000-"]
    assert target.read_bytes() == site.body


def test_a_server_that_names_no_version_is_begun_anew(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    site.etag = 'W/"weak"'  # good for a cache, not for putting two parts together
    site.answers = [answers.cut(120_000)]
    target = tmp_path / "published.bin"
    download(site.url, target, sleep=lambda _: None)
    assert site.ranges == [None, None]
    assert target.read_bytes() == site.body


def test_a_file_that_changed_between_two_tries_is_the_new_one(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    def change(_: float) -> None:
        site.body, site.etag = site.body[::-1] + b"longer", '"two"'

    site.answers = [answers.cut(120_000)]
    target = tmp_path / "published.bin"
    download(site.url, target, sleep=change)
    assert site.asked[1]["if-range"] == '"one"'
    assert target.read_bytes() == site.body


def test_parts_of_two_versions_are_seen_by_the_checksum(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    """A server that gives a new file's end to who has the old file's beginning."""

    new = site.body[::-1]

    def change(_: float) -> None:
        site.body = new  # and the ETag stays

    site.answers = [answers.cut(120_000)]
    target, checksum = tmp_path / "published.bin", Checksum(answers.Site(new).sha256)
    download(site.url, target, checksum, sleep=change)
    assert site.ranges == [None, "bytes=120000-", None]
    assert target.read_bytes() == site.body


@pytest.mark.parametrize(
    "found", ["bytes 119999-299999/300000", "bytes 120000-299999/*", "bytes 120000", "", "x"]
)
def test_another_part_than_was_asked_for_is_not_put_behind(
    found: str, site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    site.answers = [answers.cut(120_000), answers.altered(Content_Range=found)]
    target = tmp_path / "published.bin"
    download(site.url, target, sleep=lambda _: None)
    assert site.ranges == [None, "bytes=120000-", None]
    assert target.read_bytes() == site.body


def test_a_file_that_became_shorter_is_begun_anew(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    def shorten(_: float) -> None:
        site.body = site.body[:1000]

    site.answers = [answers.cut(120_000)]  # and 416 to what is asked next
    target = tmp_path / "published.bin"
    download(site.url, target, sleep=shorten)
    assert site.ranges == [None, "bytes=120000-", None]
    assert target.read_bytes() == site.body


def test_a_record_that_cannot_be_trusted_is_not(site: Any, tmp_path: Path) -> None:
    for number, record in enumerate(
        ["", "{", "[]", '{"url": 1}', json.dumps({"url": site.url, "version": 7}),
         json.dumps({"url": site.url + "x", "version": '"one"'})]
    ):  # fmt: skip
        target = tmp_path / str(number) / "published.bin"
        target.parent.mkdir()
        target.with_name("published.bin.partial").write_bytes(b"of something else")
        target.with_name("published.bin.partial.json").write_text(record)
        download(site.url, target)
        assert target.read_bytes() == site.body and left(target.parent) == {"published.bin"}
    assert set(site.ranges) == {None}


@pytest.mark.parametrize(
    ("answer", "headers", "seconds"),
    [
        (500, {}, 1.0),
        (503, {}, 1.0),
        (408, {}, 1.0),
        (429, {"Retry_After": "7"}, 7.0),
        (429, {"Retry_After": "0"}, 0.0),
        (503, {"Retry_After": "Tue, 06 Oct 2020 10:00:00 GMT"}, 0.0),  # that is past
        (429, {"Retry_After": "soon"}, 1.0),
    ],
)
def test_a_busy_server_is_asked_again_when_it_says(
    answer: int, headers: dict[str, str], seconds: float, site: Any, answers: SimpleNamespace,
    tmp_path: Path,
) -> None:  # fmt: skip
    site.answers = [answers.refuse(answer, **headers)]
    target, slept = tmp_path / "published.bin", list[float]()
    download(site.url, target, sleep=slept.append)
    assert slept == [seconds] and len(site.asked) == 2
    assert target.read_bytes() == site.body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_with_the_part_that_is_wanted(
    status: int, site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    site.answers = [
        answers.refuse(status, Location="/elsewhere?signed=1"), answers.cut(1000),
        answers.refuse(status, Location=f"{site.address}/elsewhere?signed=2"),
    ]  # fmt: skip
    target = tmp_path / "published.bin"
    download(site.url, target, sleep=lambda _: None)
    asked = [(request["path"], request.get("range")) for request in site.asked]
    assert asked == [
        ("/published.bin", None), ("/elsewhere?signed=1", None),
        ("/published.bin", "bytes=1000-"), ("/elsewhere?signed=2", "bytes=1000-"),
    ]  # fmt: skip
    assert target.read_bytes() == site.body


def test_a_body_in_chunks_needs_no_length(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    site.answers = [lambda handler: answers.chunked(handler, end=b""), answers.chunked]
    target, slept = tmp_path / "published.bin", list[float]()
    download(site.url, target, sleep=slept.append)
    assert slept == [1.0]  # without the last chunk it was a cut
    assert target.read_bytes() == site.body


def test_a_length_that_nobody_says_is_judged_by_the_checksum(
    site: Any, answers: SimpleNamespace, tmp_path: Path
) -> None:
    site.answers = [answers.altered(Content_Length=None)]
    target = tmp_path / "published.bin"
    download(site.url, target, Checksum(site.sha256))
    assert target.read_bytes() == site.body


def test_progress_off_a_terminal_is_a_line_now_and_then(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    download(site.url, tmp_path / "published.bin")
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("published.bin") and "2 of 3" in err and "10 s" in err


@settings(max_examples=25)
@given(size=st.integers(0, 30_000), cuts=st.lists(st.integers(0, 12_000), max_size=TRIES - 1))
def test_however_it_is_cut_the_file_is_whole(
    answers: SimpleNamespace, size: int, cuts: list[int]
) -> None:
    server = answers.running(answers.Site())
    site = next(server)
    site.body = site.body[:size]
    site.answers = [answers.cut(after) for after in cuts]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "published.bin"
        digest = download(site.url, target, sleep=lambda _: None)
        assert target.read_bytes() == site.body and digest == site.sha256
        assert left(Path(folder)) == {"published.bin"}
    next(server, None)


# ---------------------------------------------------------------- several processes

CHILD = """
import sys
from pathlib import Path
from mobilenetv2.hub.download import download
print(download(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.fixture
def child() -> Callable[[str, Path], subprocess.Popen[str]]:
    def start(url: str, target: Path) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str(Path(mobilenetv2.__file__).parents[1])}
        command = [sys.executable, "-c", CHILD, url, str(target)]
        return subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return start


def test_two_processes_at_once_download_once(
    child: Callable[[str, Path], subprocess.Popen[str]], site: Any, answers: SimpleNamespace,
    tmp_path: Path,
) -> None:  # fmt: skip
    asked, go_on = threading.Event(), threading.Event()

    def hold(handler: Any) -> None:
        asked.set()
        go_on.wait(60)
        answers.serve(handler)

    site.answers = [hold]
    target = tmp_path / "published.bin"
    with child(site.url, target) as first:
        assert asked.wait(60)
        with child(site.url, target) as second:
            assert second.stderr is not None
            line = second.stderr.readline()
            assert line.startswith(f"{target}: another process")
            go_on.set()
            assert second.communicate()[0].strip() == site.sha256
        assert first.communicate() == (site.sha256 + "\n", "")
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(site.asked) == 1
    assert target.read_bytes() == site.body


@pytest.mark.skipif(os.name == "nt", reason="kills processes the POSIX way")
def test_after_a_kill_another_process_goes_on(
    child: Callable[[str, Path], subprocess.Popen[str]], site: Any, answers: SimpleNamespace,
    tmp_path: Path,
) -> None:  # fmt: skip
    site.answers = [answers.stall(200_000)]
    target, partial = tmp_path / "published.bin", tmp_path / "published.bin.partial"
    with child(site.url, target) as killed:
        while not partial.exists() or partial.stat().st_size < 100_000:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL and not target.exists()
    size = partial.stat().st_size
    with child(site.url, target) as second:
        assert second.communicate() == (site.sha256 + "\n", "")
    assert site.ranges == [None, f"bytes={size}-"]
    assert target.read_bytes() == site.body and left(tmp_path) == {"published.bin"}
