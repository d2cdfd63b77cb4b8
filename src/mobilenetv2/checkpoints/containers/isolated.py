"""Libraries that read foreign files, each in a process of its own that may fail without harm.

PyTorch, HDF5 and TensorFlow are large native libraries that were not written for hostile files.
So their process is bounded in memory and time, and all that comes back are JSON and a safetensors
file, which are read as strictly as if they were foreign too. What this does not do is to keep a
process that has been taken over from the person's files: that is a sandbox's work.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Timer
from typing import Any, Literal

from mobilenetv2.checkpoints.containers import safetensors
from mobilenetv2.checkpoints.containers.child import ANSWER, ARRAYS, NO_MEMORY
from mobilenetv2.checkpoints.containers.container import (
    EXPANSION,
    LARGEST_FILE,
    LARGEST_JSON,
    Container,
    most_bytes,
)  # fmt: skip
from mobilenetv2.checkpoints.containers.kind import Kind, index_of, prefix_of
from mobilenetv2.errors import MissingExtra, WeightsError

Library = Literal["torch", "h5py", "tensorflow"]
LIBRARIES: dict[str, Library] = {
    "pytorch": "torch", "hdf5": "h5py", "keras": "h5py", "tensorflow": "tensorflow",
}  # fmt: skip

MEMORY = 384 * 1024**2
"""Beside four times the file's size, and beside what the library itself takes."""
SECONDS, SECONDS_PER_BYTE = 1.0, 1 / (16 * 1024**2)
"""Of processor time: a checkpoint of 14 MB takes a tenth of a second."""
WALL_SECONDS = 120
"""Of a job; importing a library on a busy machine counts as one."""
KEPT = (
    "PATH", "HOME", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG",
    "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
)  # fmt: skip
"""What Python and its libraries are found by, and nothing more: no tokens."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3",
    # A file may ask for a filter; HDF5 would look for it on the disk and run it.
    "HDF5_PLUGIN_PRELOAD": "::",
    "HDF5_USE_FILE_LOCKING": "FALSE",
}  # fmt: skip


class Reader:
    """A process with one library in it, which reads one file after another."""

    def __init__(self, library: Library) -> None:
        """Nothing is started before the first file."""
        self.library = library
        self.memory = 0
        """Bytes that the last file took beside the library, where the system tells."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, kind: Kind, path: Path) -> Container:
        """Read a file of a kind that this library is for.

        Raises:
            WeightsError: what the reader found wrong, or that it crashed, took too long or too
                much memory.
            MissingExtra: the library is not installed.
        """
        size = _size(path)
        if size > LARGEST_FILE:
            raise WeightsError(f"{path}: {size:,} bytes are more than {LARGEST_FILE:,}")
        with tempfile.TemporaryDirectory(prefix="mobilenetv2-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            seconds = SECONDS + size * SECONDS_PER_BYTE
            job = {
                "kind": kind, "path": str(path.absolute()), "folder": str(folder), "size": size,
                "memory": EXPANSION * size + MEMORY, "seconds": seconds,
                "written": most_bytes(size) * EXPANSION,
            }  # fmt: skip
            reply = self._ask(path, json.dumps(job))
            self.memory = reply.get("memory", 0)
            _explain(path, reply, seconds)
            return _accept(path, folder, most_bytes(size) + LARGEST_JSON)

    def _ask(self, path: Path, job: str) -> dict[str, Any]:
        if self._process is None:
            self._process = self._start()
            ready = self._line()
            if ready is None or "missing" in ready:
                self.close()
                why = f"{self.library} did not start" if ready is None else ready["missing"]
                raise MissingExtra(f"{path}: {why}")
        process = self._process
        assert process.stdin is not None
        try:
            process.stdin.write(job.encode() + b"\n")
            process.stdin.flush()
            reply = self._line()
        except OSError:
            reply = None
        if reply is None:
            self.close()
            return {"late": True}
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in KEPT if name in os.environ} | ENVIRONMENT
        if "PYTHONPATH" in environment:
            places = environment["PYTHONPATH"].split(os.pathsep)
            environment["PYTHONPATH"] = os.pathsep.join(str(Path(p).absolute()) for p in places)
        return subprocess.Popen(
            # -P: nothing is imported from the folder it runs in.
            [sys.executable, "-P", "-W", "ignore", "-m", "mobilenetv2.checkpoints.containers.child",
             self.library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, cwd=tempfile.gettempdir(), start_new_session=True,
        )  # fmt: skip

    def _line(self) -> dict[str, Any] | None:
        """The process's next reply; None when it ended, or had to be ended."""
        process = self._process
        assert process is not None and process.stdout is not None
        timer = Timer(WALL_SECONDS, _kill, [process])
        timer.daemon = True
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        return json.loads(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """End the process; another file starts it again."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            process.communicate()


def read(kind: Kind, path: Path) -> Container:
    """Read one file in a process that ends with it; the errors are those of :class:`Reader`."""
    with Reader(LIBRARIES[kind]) as reader:
        return reader.read(kind, path)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        # Its fork too. It leads a session of its own, and is not waited for before this.
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _size(path: Path) -> int:
    """Bytes of all that a path stands for."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    prefix = prefix_of(path)
    if not index_of(prefix).is_file():
        return path.stat().st_size
    return sum(
        file.stat().st_size
        for file in prefix.parent.iterdir()
        if file.name.startswith(f"{prefix.name}.") and file.is_file()
    )


def _explain(path: Path, reply: dict[str, Any], seconds: float) -> None:
    """Raise for a process that did not end as it should."""
    if reply.get("late"):
        raise WeightsError(f"{path}: reading it did not end; the file is damaged or hostile")
    ended = reply["signal"]
    if ended and signal.Signals(ended).name in ("SIGPROF", "SIGXCPU", "SIGKILL"):
        raise WeightsError(
            f"{path}: reading it took more than {seconds:.1f} s of processor time; the file is "
            "damaged or hostile"
        )
    if ended:
        raise WeightsError(
            f"{path}: its library crashed on it ({signal.Signals(ended).name}); the file is "
            "damaged or hostile"
        )
    if reply["status"] == NO_MEMORY:
        raise WeightsError(f"{path}: asks for far more memory than it holds; damaged or hostile")
    if reply["status"]:
        raise WeightsError(f"{path}: could not be read by its library; it is damaged or hostile")


def _accept(path: Path, folder: Path, largest: int) -> Container:
    """What the process left in the folder, read as strictly as a foreign file."""
    answer, arrays = folder / ANSWER, folder / ARRAYS
    try:
        if answer.is_symlink() or answer.stat().st_size > LARGEST_JSON:
            raise ValueError("too large")
        said = json.loads(answer.read_text("utf-8"))
        if "error" in said:
            raise WeightsError(f"{path}: {said['error']}")
        if arrays.is_symlink() or not arrays.is_file():
            raise ValueError("no arrays")
        stored = safetensors.read(arrays, largest).arrays
        return Container({name: stored[name] for name in said["order"]}, dict(said["metadata"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path}: its reader gave no proper answer ({error})") from None
