"""Reads foreign files in a process of its own: ``python -m ... containers.child LIBRARY``.

Jobs come as lines of JSON on stdin, and each is done in a fork that is limited before it opens
the file. What was read lies in the job's folder as ``answer.json`` and ``arrays.safetensors``; how
the fork ended is a line of JSON on stdout, from this process, which has touched nothing foreign.
"""

import contextlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mobilenetv2.checkpoints.containers import hdf5, keras_archive, pytorch, safetensors, tensorflow
from mobilenetv2.checkpoints.containers.container import Container, clean, most_bytes
from mobilenetv2.errors import MissingExtra, WeightsError, require

ANSWER, ARRAYS = "answer.json", "arrays.safetensors"
DONE, NO_MEMORY = 0, 3


def main(library: str) -> None:
    """Import the library once, then serve until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints is nobody's reply.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        require(library)
        ready: dict[str, str] = {}
    except MissingExtra as error:
        ready = {"missing": str(error)}
    except Exception as error:
        ready = {"missing": f"{library} is installed but cannot be imported ({error})"}
    print(json.dumps(ready), file=replies, flush=True)
    idle = fork(lambda: DONE)["memory"]
    for line in sys.stdin:
        job = json.loads(line)
        reply = fork(partial(work, job))
        reply["memory"] = max(0, reply["memory"] - idle)
        print(json.dumps(reply), file=replies, flush=True)


def fork(task: Callable[[], int]) -> dict[str, int]:
    """Do something in a fork, or here where there are none; its status and its most memory."""
    if not hasattr(os, "fork"):
        return {"status": task(), "signal": 0, "memory": 0}
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = task()
        finally:
            os._exit(status)  # no cleaning up in what may be damaged
    _, ended, usage = os.wait4(child, 0)
    return {
        "status": os.waitstatus_to_exitcode(ended) if os.WIFEXITED(ended) else 0,
        "signal": os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0,
        "memory": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def memory(field: str) -> int:
    """Bytes of this process, as Linux counts them; 0 elsewhere."""
    with contextlib.suppress(OSError), Path("/proc/self/status").open() as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0


def limit(job: dict[str, Any]) -> None:
    """Bound this process: memory, processor time, size of written files, no core dumps."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (job["written"], job["written"]))
    now = memory("VmData")
    if now:  # elsewhere than on Linux the system does not hold anyone to it
        most = now + job["memory"]
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    whole = math.ceil(job["seconds"]) + 1  # which is all that the second one can count in
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole))
    for number in (signal.SIGPROF, signal.SIGXCPU, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, job["seconds"])


def work(job: dict[str, Any]) -> int:
    """Read the job's file and leave the answer in its folder; the exit status."""
    folder, path = Path(job["folder"]), Path(job["path"])
    os.chdir(folder)
    if hasattr(os, "fork"):
        limit(job)  # this process serves no other file
    try:
        try:
            found = read(job["kind"], path, folder)
            answer: dict[str, Any] = {"metadata": found.metadata, "order": list(found.arrays)}
            total = sum(array.nbytes for array in found.arrays.values())
            if total > most_bytes(job["size"]):
                raise WeightsError("damaged or hostile: its arrays are larger than it can hold")
            (folder / ARRAYS).write_bytes(safetensors.write(found.arrays))
        except WeightsError as error:
            answer = {"error": str(error)}
        except MemoryError:
            raise
        except Exception as error:  # what no reader thought of is still one file's fault
            reason = clean(f"{type(error).__name__}: {error}").partition("\n")[0][:200]
            answer = {"error": f"could not be read ({reason}); it is damaged or hostile"}
        (folder / ANSWER).write_text(json.dumps(answer), "utf-8")
    except MemoryError:
        return NO_MEMORY
    return DONE


def read(kind: str, path: Path, folder: Path) -> Container:
    """Choose the reader."""
    inner = folder / "unpacked"
    inner.mkdir()
    if kind == "pytorch":
        return pytorch.read(path)
    if kind == "hdf5":
        return hdf5.read(path)
    if kind == "keras":
        return keras_archive.read(path, inner)
    return tensorflow.read(path, inner)


if __name__ == "__main__":
    main(sys.argv[1])
