"""A native library in a process of its own: whatever it does, the caller reads one sentence."""

import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mobilenetv2 import worker
from mobilenetv2.errors import ArtifactError, MissingExtra
from mobilenetv2.worker import HEAD, MOST_JSON, Worker, receive, send

LIBRARY = """
import ctypes, os, time
from mobilenetv2.errors import ArtifactError, MissingExtra

def load(data, limit, what=""):
    print("a greeting on stdout")
    os.system("echo one of a native library")
    if what == "missing":
        raise MissingExtra("not here; install it")
    if what == "refuse":
        raise ArtifactError("m.x: no such program")
    if what == "fail":
        raise RuntimeError("no\\nsecond line")
    if what == "crash":
        ctypes.string_at(0)
    if what == "never":
        while True: pass
    if what == "memory":
        limit()
        bytearray(8 * 1024**3)
    def answer(request):
        if request == b"crash":
            ctypes.string_at(0)
        if request == b"fail":
            raise RuntimeError("bad request")
        if request == b"pid":
            return str(os.getpid()).encode()
        if request == b"stdin":
            return os.read(0, 10) + b"nothing"
        if request == b"never":
            while True: pass
        return data + request
    return {"size": len(data)}, answer
"""


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_library.py").write_text(LIBRARY, "utf-8")
    places = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))


def started(data: bytes = b"file ", **settings: str) -> Worker:
    return Worker("a_library:load", data, settings, "m.x", "Library")


def gone(pid: int) -> bool:
    for _ in range(300):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_it_answers_with_what_the_function_returns() -> None:
    one = started()
    assert one.about == {"size": 5}
    assert one.ask(b"and request") == b"file and request"
    assert one.ask(b"") == b"file "
    large = os.urandom(3_000_000)
    assert one.ask(large) == b"file " + large
    assert one.ask(b"stdin") == b"nothing"  # requests cannot be read by the library
    one.close()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("refuse", r"^m\.x: no such program$"),
        ("fail", r"^m\.x: Library cannot run it \(no\)$"),
        ("crash", r"^m\.x: Library crashed on it \(SIGSEGV\).*export it again"),
        ("memory", r"^m\.x: Library cannot run it"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_one_sentence(what: str, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason) as caught:
        started(what=what)
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_that() -> None:
    with pytest.raises(MissingExtra, match="not here; install it"):
        started(what="missing")


def test_after_a_crash_it_starts_anew() -> None:
    one = started()
    with pytest.raises(ArtifactError, match="crashed"):
        one.ask(b"crash")
    assert one.ask(b"again") == b"file again"
    with pytest.raises(ArtifactError, match="bad request"):
        one.ask(b"fail")
    assert one.ask(b"again") == b"file again"
    one.close()


def test_what_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    one = started()
    monkeypatch.setattr(worker, "ANSWER_SECONDS", 1)
    with pytest.raises(ArtifactError, match=r"m\.x: Library did not end on it"):
        one.ask(b"never")
    monkeypatch.setattr(worker, "START_SECONDS", 1)
    with pytest.raises(ArtifactError, match="did not end"):
        started(what="never")


def test_threads_may_share_it() -> None:
    one = started()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: one.ask(str(number).encode()), range(50)))
    assert found == [f"file {number}".encode() for number in range(50)]
    one.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_has_a_process_of_its_own() -> None:
    one = started()
    mine = int(one.ask(b"pid"))
    child = os.fork()
    if child == 0:
        os._exit(0 if int(one.ask(b"pid")) != mine and one.ask(b"x") == b"file x" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert int(one.ask(b"pid")) == mine
    one.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_of_a_fork_share_one_process_though_the_lock_was_held() -> None:
    one = started()
    with one._lock:  # as another thread may, while this one forks
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            with ThreadPoolExecutor(8) as pool:
                found = set(pool.map(one.ask, [b"pid"] * 8))
            os._exit(0 if len(found) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    one.close()


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    one = started()
    pid = int(one.ask(b"pid"))
    del one
    assert gone(pid)
    program = (
        "from mobilenetv2.worker import Worker\n"
        "one = Worker('a_library:load', b'', {}, 'm.x', 'Library')\n"
        "print(one.ask(b'pid').decode(), flush=True)\n"
        "input()\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    assert gone(pid)


def test_messages_are_bounded() -> None:
    stream = io.BytesIO()
    send(stream, {"a": "ü"}, b"bytes")
    whole = stream.getvalue()
    assert receive(io.BytesIO(whole)) == ({"a": "ü"}, b"bytes")
    for end in range(len(whole)):
        assert receive(io.BytesIO(whole[:end])) is None
    with pytest.raises(ValueError, match="too large"):
        receive(io.BytesIO(HEAD.pack(MOST_JSON + 1, 0)))
    with pytest.raises(ValueError, match="Expecting"):
        receive(io.BytesIO(HEAD.pack(2, 0) + b"no"))
