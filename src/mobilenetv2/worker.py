"""Process of its own for a native library that runs a file which cannot be trusted; both ends.

A native library may crash on a hostile file, or never end. Here it ends only the process that was
started for the file. ``python -m mobilenetv2.worker`` is that process: it calls one function with
the file's bytes, and answers requests by what the function returns. A message is two lengths, JSON
and raw bytes. The process ends with its pipe, so with its parent.
"""

import contextlib
import importlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mobilenetv2 import errors
from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.text import first_line

MODULE = "mobilenetv2.worker"
START_SECONDS, ANSWER_SECONDS = 180, 120
"""Longest time for the start, which imports a library and loads a file, and for one answer."""
MEMORY = 2 * 1024**3
"""Bytes of memory allowed beside the library's own and those that are asked for."""
HEAD = struct.Struct("<IQ")
"""Lengths of a message's JSON and of its bytes."""
INSTALLED = ("site-packages", "dist-packages")
"""Names of folders in which Python finds packages by itself."""
MOST_JSON, MOST_BYTES = 2**20, 2**30
"""Largest message that is taken from a process that may have been taken over."""
Answer = Callable[[bytes], bytes]
Function = Callable[..., tuple[dict[str, Any], Answer]]
"""Function of a file's bytes and settings: what is known of the file, and what answers requests."""


class Worker:
    """Parent's end. The process starts at once, and anew after a fork or a crash.

    Args:
        function: module and name of a :data:`Function`, as 'mobilenetv2.runtime.x:load'.
        data: bytes of the file.
        settings: further arguments of the function, as JSON has them.
        where: name of the file in error messages.
        title: name of the library in error messages.
        memory: bytes that loading and answering may need, beside :data:`MEMORY`.

    Raises:
        ArtifactError: the library cannot load the file, or crashed on it.
        MissingExtra: the library is not installed.
    """

    def __init__(
        self, function: str, data: bytes, settings: dict[str, Any], where: str, title: str,
        memory: int = 0,
    ) -> None:  # fmt: skip
        self.where, self.title = where, title
        self._data = data
        self._job = {"function": function, "settings": settings, "memory": MEMORY + memory}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._owner = threading.Lock(), os.getpid()
        self.about = self._start()
        _started.add(self)

    def ask(self, data: bytes) -> bytes:
        """Return the function's answer to a request.

        Raises:
            ArtifactError: the library failed, crashed, or took too long.
        """
        with self._lock:
            if self._process is None:
                self._start()
            return self._exchange({}, data, ANSWER_SECONDS)[1]

    def _start(self) -> dict[str, Any]:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", MODULE], env=child_environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self._finalizer = weakref.finalize(self, _end, self._process, os.getpid())
        try:
            return self._exchange(self._job, self._data, START_SECONDS)[0]
        except MobileNetV2Error:
            self.close()
            raise

    def _exchange(
        self, said: dict[str, Any], data: bytes, seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            # A process that is gone is found by its missing answer.
            with contextlib.suppress(BrokenPipeError):
                send(process.stdin, said, data)
            found = receive(process.stdout)
        except ValueError:
            found = None
        except BaseException:  # such as Ctrl-C: the answer to come would be taken for the next one
            self.close()
            raise
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if found is None:
            self.close()
            raise ArtifactError(f"{self.where}: {self.title} {_how(process.returncode, late)}")
        if "error" in found[0]:
            raise _error(found[0], self.where, self.title)
        return found

    def let_go(self) -> None:
        """Give up the parent's ends of the pipes, in a process that was forked from the parent."""
        process, owner = self._process, self._owner
        # Here, while the process has one thread only; who held the lock does not exist in it.
        self._lock, self._owner, self._process = threading.Lock(), os.getpid(), None
        if process is not None and owner != os.getpid():
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (process.stdin, process.stdout):
                if stream is not None:  # not closed, which would write what its buffer holds
                    os.dup2(nowhere, stream.fileno())
            os.close(nowhere)

    def close(self) -> None:
        """End the process; the next request starts it anew."""
        if self._process is not None:
            self._finalizer()
            self._process = None


_started: "weakref.WeakSet[Worker]" = weakref.WeakSet()


def _let_go() -> None:
    for worker in _started:
        worker.let_go()


if hasattr(os, "register_at_fork"):  # a process ends with its pipe, which a fork would keep open
    os.register_at_fork(after_in_child=_let_go)


def child_environment() -> dict[str, str]:
    """Return the environment of a Python process that imports this package.

    The package is found where this one is, also when it is not installed. Where it is, its folder
    must not come before the standard library.
    """
    place = Path(__file__).parents[1]
    places = [] if place.name in INSTALLED else [str(place)]
    places += os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill a process that this process started."""
    if owner == os.getpid():
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what was not written is not wanted
                if stream is not None:
                    stream.close()


def _how(status: int, late: bool) -> str:
    """Return what became of a process that did not answer."""
    if late:
        return "did not end on it; it is damaged or hostile: export it again"
    name = f"status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-status).name
    return f"crashed on it ({name}); it is damaged or hostile: export it again"


def _error(said: dict[str, Any], where: str, title: str) -> MobileNetV2Error:
    """Return the error of the other end."""
    kind = getattr(errors, str(said.get("kind")), None)
    if isinstance(kind, type) and issubclass(kind, MobileNetV2Error):
        return kind(str(said["error"]))
    return ArtifactError(f"{where}: {title} cannot run it ({said['error']})")


def send(stream: IO[bytes], said: dict[str, Any], data: bytes) -> None:
    """Write one message."""
    text = json.dumps(said).encode()
    stream.write(HEAD.pack(len(text), len(data)) + text)
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read one message; None at the end of the stream.

    Raises:
        ValueError: the message is larger than any, or no JSON object.
    """
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    length, size = HEAD.unpack(head)
    if length > MOST_JSON or size > MOST_BYTES:
        raise ValueError("too large")
    text, data = stream.read(length), stream.read(size)
    if len(text) < length or len(data) < size:
        return None
    try:
        said = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(said, dict):
        raise ValueError("not an object")
    return said, data


# ---------------------------------------------------------------- in the process


def main() -> None:
    """Load the file of the first message, then answer requests until stdin ends."""
    replies, requests = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # a library must neither read requests nor write answers
        os.dup2(nowhere, stream)
    answer: Answer | None = None
    while found := receive(requests):
        said, data = found
        _alarm(START_SECONDS if answer is None else ANSWER_SECONDS)
        about: dict[str, Any] = {}
        made = b""
        try:
            if answer is None:
                about, answer = _load(said, data)
            else:
                made = answer(data)
        except MobileNetV2Error as error:
            about = {"error": str(error), "kind": type(error).__name__}
        except Exception as error:  # a library's: the parent's user reads one sentence
            about = {"error": first_line(error)[:300]}
        _alarm(0)
        send(replies, about, made)


def _load(said: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Answer]:
    module, _, name = said["function"].partition(":")
    function: Function = getattr(importlib.import_module(module), name)
    return function(data, limit=lambda: limit_memory(said["memory"]), **said["settings"])


def _alarm(seconds: int) -> None:
    """End this process after a time, even while native code runs; 0 for never."""
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)


def limit_memory(more: int) -> None:
    """Limit this process's memory to what it has and ``more`` bytes, where the system can."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for line in Path("/proc/self/status").read_text("utf-8").splitlines():
            if line.startswith("VmData:"):
                most = int(line.split()[1]) * 1024 + more
                resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    main()
