"""Reader of foreign weights files: recognises the container and runs its reader.

PyTorch, HDF5 and TensorFlow are large native libraries that were not written for hostile files. So
each runs in a process of its own, ``python -m mobilenetv2.checkpoints.containers.reader LIBRARY``.
Jobs arrive on its stdin as lines of JSON. For each job the process forks, and the child gets limits
of memory and time before it opens the file. The result is JSON and a safetensors file in the job's
folder, which are read with the same checks as foreign files. The parent, which reads no foreign
bytes, reports on stdout as a line of JSON how the child ended. This is no sandbox: a process that a
hostile file takes over could still read the user's files.
"""

import contextlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any, Literal

from mobilenetv2.checkpoints.containers import (
    Container,
    bounds,
    hdf5,
    pytorch,
    safetensors,
    savedmodel,
    tensorflow,
)  # fmt: skip
from mobilenetv2.errors import MissingExtra, WeightsError, require
from mobilenetv2.files import open_file, read_file
from mobilenetv2.formats import FORMATS, GRAPHS

Kind = Literal[
    "pytorch", "hdf5", "keras", "safetensors", "tensorflow", "litert", "onnx", "tfjs", "savedmodel"
]
Library = Literal["torch", "h5py", "tensorflow"]
LIBRARIES: dict[str, Library] = {
    "pytorch": "torch", "hdf5": "h5py", "keras": "h5py", "tensorflow": "tensorflow",
    "savedmodel": "tensorflow",
}  # fmt: skip
READERS: dict[str, Callable[[Path, Path], Container]] = {
    "pytorch": lambda path, _: pytorch.read_pytorch(path),
    "hdf5": lambda path, _: hdf5.read_hdf5(path),
    "keras": hdf5.read_keras_archive,
    "tensorflow": tensorflow.read_tensorflow,
    "savedmodel": savedmodel.read_savedmodel,
}
"""Function that the child process calls with the file and an empty folder, by container."""

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
PYTORCH_MEMBERS = ("/data.pkl", "/version", "/byteorder", "/.format_version")
PYTORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
SUFFIXES: dict[str, str] = {
    ".pth": "PyTorch", ".pt": "PyTorch", ".bin": "PyTorch", ".ckpt": "PyTorch or TensorFlow",
    ".h5": "HDF5", ".hdf5": "HDF5", ".keras": "Keras", ".safetensors": "safetensors",
    ".index": "TensorFlow checkpoint", ".tgz": "gzip", ".gz": "gzip",
    **{FORMATS[name].suffix: FORMATS[name].title for name in GRAPHS},
}  # fmt: skip

MEMORY = 384 * 1024**2
"""Bytes of memory allowed beside four times the file's size and the library's own memory."""
SECONDS, SECONDS_PER_BYTE = 1.0, 1 / (16 * 1024**2)
"""Processor time allowed, in seconds and in seconds per byte; 14 MB take about 0.1 s."""
WALL_SECONDS = 120
"""Timeout of a job in seconds of real time; importing the library counts as a job."""
KEPT = (
    "PATH", "HOME", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG",
    "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
    # Names of files are encoded there as here.
    "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONCOERCECLOCALE",
)  # fmt: skip
"""Environment variables that Python and its libraries need; others, such as tokens, are dropped."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3",
    # A file may ask for a filter; HDF5 would look for it on the disk and run it.
    "HDF5_PLUGIN_PRELOAD": "::",
    "HDF5_USE_FILE_LOCKING": "FALSE",
}  # fmt: skip
ANSWER, ARRAYS = "answer.json", "arrays.safetensors"
DONE, NO_MEMORY = 0, 3


def read_container(path: Path) -> Container:
    """Read a foreign weights file: PyTorch, HDF5, .keras, safetensors or TensorFlow checkpoint.

    Args:
        path: a file. For TensorFlow it may also be a checkpoint's prefix (``model.ckpt`` for
            ``model.ckpt.index``), a folder with a checkpoint, or a .tar.gz with one.

    Raises:
        WeightsError: not such a file, damaged, or of a type that no network has; or hostile: its
            library crashed, or took too much time or memory.
        MissingExtra: the library that reads it is not installed.
        OSError: it cannot be opened.
    """
    kind = recognise_kind(path)
    if kind == "safetensors":
        return safetensors.read_safetensors(path)
    if kind in GRAPHS or kind == "tfjs":
        raise WeightsError(f"{path}: a network's graph, not named weights; it has its own reader")
    with LibraryProcess(LIBRARIES[kind]) as process:
        return process.read_container(kind, path)


def recognise_kind(path: Path) -> Kind:
    """Return the container of a file, recognised by its first and last bytes.

    Raises:
        WeightsError: the file does not exist, or its container is unknown.
    """
    if path.is_dir() or tensorflow.index_of(tensorflow.prefix_of(path)).is_file():
        return "tensorflow"
    if not path.exists():
        raise WeightsError(f"{path}: no such file")
    with open_file(path) as file:
        start = file.read(512)
        size = file.seek(0, 2)
        file.seek(max(0, size - len(tensorflow.TABLE)))
        end = file.read()
    if start.startswith(ZIP):
        return _kind_of_zip(path, start)
    if start.startswith(HDF5):
        return "hdf5"
    if start[4:8] == b"TFL3":
        return "litert"
    if end == tensorflow.TABLE or start.startswith(GZIP) or start[257:262] == b"ustar":
        return "tensorflow"
    if start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "pytorch"  # a pickle, as PyTorch wrote until 1.6
    if start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= size - 8:
        return "safetensors"
    if path.name == savedmodel.PROGRAM:
        return "savedmodel"
    if path.suffix == ".json" and start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return "tfjs"
    if path.suffix == ".onnx":
        return "onnx"  # a protocol buffer has no magic bytes
    raise WeightsError(f"{path}: {_complaint(path, start)}")


def _kind_of_zip(path: Path, start: bytes) -> Kind:
    """Return the container of a zip by its first member; the reader checks the others."""
    length = struct.unpack("<H", start[26:28])[0] if len(start) >= 30 else 0
    name = start[30 : 30 + length].decode("utf-8", "replace")
    if name in hdf5.KERAS_MEMBERS or name.startswith("assets"):
        return "keras"
    if name.endswith(PYTORCH_MEMBERS) or path.suffix in PYTORCH_SUFFIXES:
        return "pytorch"
    if path.suffix == ".keras":
        return "keras"
    raise WeightsError(
        f"{path}: a zip that is neither a PyTorch nor a .keras file (it begins with {name[:80]!r})"
    )


def _complaint(path: Path, start: bytes) -> str:
    if not start:
        return "an empty file; download it again"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the weights themselves; fetch them with: git lfs pull"
    if start.lstrip()[:1] == b"<":
        return "a web page, not weights; download the file itself"
    if expected := SUFFIXES.get(path.suffix):
        return f"does not begin like a {expected} file; it is damaged or something else"
    return (
        "not a weights file that is known (PyTorch, HDF5, .keras, safetensors, TensorFlow "
        "checkpoint, LiteRT, ONNX)"
    )


# ---------------------------------------------------------------- this side of the pipe


class LibraryProcess(contextlib.AbstractContextManager["LibraryProcess"]):
    """A process with one library, which reads one file after another."""

    def __init__(self, library: Library) -> None:
        """Prepare the process, which starts with the first file."""
        self.library = library
        self.memory = 0
        """Bytes of memory that the last file needed beside the library, or 0 if unknown."""
        self._process: subprocess.Popen[bytes] | None = None

    def __exit__(self, *error: object) -> None:
        self.close()

    def read_container(self, kind: Kind, path: Path) -> Container:
        """Read a file for which this library is responsible.

        Raises:
            WeightsError, MissingExtra, OSError: the same as for the function
                :func:`read_container`.
        """
        size = _size(path)
        if size > bounds.LARGEST_FILE:
            raise WeightsError(f"{path}: {size:,} bytes are more than {bounds.LARGEST_FILE:,}")
        with tempfile.TemporaryDirectory(prefix="mobilenetv2-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            seconds = SECONDS + size * SECONDS_PER_BYTE
            job = {
                "kind": kind, "path": str(path.absolute()), "folder": str(folder), "size": size,
                "memory": bounds.EXPANSION * size + MEMORY, "seconds": seconds,
                "written": bounds.most_bytes(size) * bounds.EXPANSION,
            }  # fmt: skip
            reply = self._ask(path, json.dumps(job))
            self.memory = reply.get("memory", 0)
            if failure := _failure(reply, seconds):
                raise WeightsError(f"{path}: {failure}")
            return _accept(path, folder, bounds.most_bytes(size) + bounds.LARGEST_JSON)

    def _ask(self, path: Path, job: str) -> dict[str, Any]:
        """Return the process's reply to a job, or an empty dict if there is none."""
        if self._process is None:
            self._process = self._start()
            ready = _next_line(self._process)
            if "missing" in ready or not ready:
                self.close()
                why = ready.get("missing", f"{self.library} did not start")
                raise MissingExtra(f"{path}: {why}")
        process = self._process
        assert process.stdin is not None
        reply: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            process.stdin.write(job.encode() + b"\n")
            process.stdin.flush()
            reply = _next_line(process)
        if not reply:
            self.close()
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in KEPT if name in os.environ} | ENVIRONMENT
        if "PYTHONPATH" in environment:
            places = environment["PYTHONPATH"].split(os.pathsep)
            environment["PYTHONPATH"] = os.pathsep.join(str(Path(p).absolute()) for p in places)
        return subprocess.Popen(
            # -P: nothing is imported from the current folder.
            [sys.executable, "-P", "-W", "ignore", "-m",
             "mobilenetv2.checkpoints.containers.reader", self.library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, cwd=tempfile.gettempdir(), start_new_session=True,
        )  # fmt: skip

    def close(self) -> None:
        """End the process; the next file starts it again."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            process.communicate()


def _next_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return the process's next line, or an empty dict if the process ended or was killed."""
    assert process.stdout is not None
    timer = Timer(WALL_SECONDS, _kill, [process])
    timer.daemon = True
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    return json.loads(line) if line.endswith(b"\n") else {}


def _kill(process: subprocess.Popen[bytes]) -> None:
    if not hasattr(os, "killpg"):
        process.kill()
    elif process.returncode is None:  # it leads a session, so this kills its child, too
        os.killpg(process.pid, signal.SIGKILL)


def _size(path: Path) -> int:
    """Return the size in bytes of all files of a checkpoint."""
    prefix = tensorflow.prefix_of(path)
    files = [path]
    if path.name == savedmodel.PROGRAM:
        files += [
            path.with_name(savedmodel.METADATA),
            *path.parent.glob(f"{savedmodel.VARIABLES}*"),
        ]
    elif path.is_dir():
        files = list(path.iterdir())
    elif tensorflow.index_of(prefix).is_file():
        files = [f for f in prefix.parent.iterdir() if f.name.startswith(f"{prefix.name}.")]
    return sum(file.stat().st_size for file in files if file.is_file())


def _failure(reply: dict[str, Any], seconds: float) -> str:
    """Return the reason for a failed reply in words; '' if the process ended normally."""
    if not reply:
        return "reading it did not end; the file is damaged or hostile"
    if number := reply["signal"]:
        name = signal.Signals(number).name
        if name in ("SIGPROF", "SIGXCPU", "SIGKILL"):
            return (
                f"reading it took more than {seconds:.1f} s of processor time; the file is "
                "damaged or hostile"
            )
        return f"its library crashed on it ({name}); the file is damaged or hostile"
    if reply["status"] == NO_MEMORY:
        return "asks for far more memory than it holds; damaged or hostile"
    return "could not be read by its library; it is damaged or hostile" if reply["status"] else ""


def _accept(path: Path, folder: Path, largest: int) -> Container:
    """Read the process's result from the folder, with the same checks as a foreign file."""
    answer, arrays = folder / ANSWER, folder / ARRAYS
    try:
        if answer.is_symlink() or answer.stat().st_size > bounds.LARGEST_JSON:
            raise ValueError("too large")
        said = json.loads(read_file(answer, bounds.LARGEST_JSON).decode("utf-8"))
        if "error" in said:
            raise WeightsError(f"{path}: {said['error']}")
        if arrays.is_symlink() or not arrays.is_file():
            raise ValueError("no arrays")
        stored = safetensors.read_safetensors(arrays, largest).arrays
        return Container({name: stored[name] for name in said["order"]}, dict(said["metadata"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path}: its reader returned an invalid result ({error})") from None


# ---------------------------------------------------------------- in the process


def serve_jobs(library: str) -> None:
    """Import the library once, then do the jobs on stdin until it ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Output that a library prints must not be taken for a reply.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        require(library)
        ready = {"ready": library}
    except MissingExtra as error:
        ready = {"missing": str(error)}
    except Exception as error:
        ready = {"missing": f"{library} is installed but cannot be imported ({error})"}
    print(json.dumps(ready), file=replies, flush=True)
    idle = in_fork(lambda: DONE)["memory"]
    for line in sys.stdin:
        reply = in_fork(partial(do_job, json.loads(line)))
        reply["memory"] = max(0, reply["memory"] - idle)
        print(json.dumps(reply), file=replies, flush=True)


def in_fork(task: Callable[[], int]) -> dict[str, int]:
    """Run a task in a fork, or here if there is none; return its status and peak memory."""
    if not hasattr(os, "fork"):
        return {"status": task(), "signal": 0, "memory": 0}
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = task()
        finally:
            os._exit(status)  # no cleanup in a process whose memory may be damaged
    _, ended, usage = os.wait4(child, 0)
    return {
        "status": os.waitstatus_to_exitcode(ended) if os.WIFEXITED(ended) else 0,
        "signal": os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0,
        "memory": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def own_memory(field: str) -> int:
    """Return a figure of this process's memory in bytes on Linux, otherwise 0."""
    with contextlib.suppress(OSError), Path("/proc/self/status").open() as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def limit_process(job: dict[str, Any]) -> None:
    """Limit this process: memory, processor time, size of written files, no core dumps."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (job["written"], job["written"]))
    now = own_memory("VmData")
    if now:  # only Linux enforces this limit
        most = now + job["memory"]
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    whole = math.ceil(job["seconds"]) + 1  # RLIMIT_CPU counts in whole seconds
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole))
    for number in (signal.SIGPROF, signal.SIGXCPU, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, job["seconds"])


def do_job(job: dict[str, Any]) -> int:
    """Read the job's file, write the result to its folder, and return the exit status."""
    folder, path = Path(job["folder"]), Path(job["path"])
    os.chdir(folder)
    if hasattr(os, "fork"):
        limit_process(job)  # limits this child process only
    inner = folder / "unpacked"
    inner.mkdir()
    try:
        try:
            with bounds.damage("or hostile file"):  # also for errors that no reader expects
                found = READERS[job["kind"]](path, inner)
                total = sum(array.nbytes for array in found.arrays.values())
                if total > bounds.most_bytes(job["size"]):
                    raise WeightsError("damaged or hostile: its arrays are larger than it can hold")
                (folder / ARRAYS).write_bytes(safetensors.safetensors_bytes(found.arrays))
            answer: dict[str, Any] = {"metadata": found.metadata, "order": list(found.arrays)}
        except WeightsError as error:
            answer = {"error": str(error).replace(f"{inner}{os.sep}", "")}
        (folder / ANSWER).write_text(json.dumps(answer), "utf-8")
    except MemoryError:
        return NO_MEMORY
    return DONE


if __name__ == "__main__":
    serve_jobs(sys.argv[1])
