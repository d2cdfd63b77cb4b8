"""Servers that are measured, and what the kernel tells of their processes."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mobilenetv2.machine import workers

HERE = Path(__file__).parent
START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Server:
    """Server to be started."""

    name: str
    words: Sequence[str]
    """Words of its command; the port is appended."""
    health: str
    """Path that answers 200 when it is ready."""
    path: str = "/predict"


@dataclass(slots=True)
class Running:
    """Server that runs."""

    server: Server
    port: int
    process: "subprocess.Popen[bytes]"
    log: IO[bytes]

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of an address; status 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def wait(self, pause: float = 0.02) -> None:
        """Wait until it is ready."""
        end = time.monotonic() + START_SECONDS
        while self.get(self.server.health)[0] != 200:
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"{self.server.name} does not start: {self.written()[-2000:]}")
            time.sleep(pause)

    def written(self) -> str:
        """Return what it has written."""
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")

    def pids(self) -> list[int]:
        """Return its process and all that descend from it."""
        found = [self.process.pid]
        for pid in found:
            found += children(pid)
        return found


def ours(model: Path, *options: str, log: bool = False, name: str = "mobilenetv2 serve") -> Server:
    """Return this project's server."""
    words = [sys.executable, "-m", "mobilenetv2", "serve", "--model", str(model), *options]
    if not log:
        words.append("--no-access-log")
    return Server(name, [*words, "--port"], "/v2/health/ready", "/predict?top=5")


def peers(python: Path, graph: Path, every: bool) -> list[Server]:
    """Return the servers of others, as people write them and with the best settings for the cores.

    Args:
        python: interpreter of their environment.
        graph: path of the exported network.
        every: True for slower variants, too, and one with PyTorch.
    """
    cores = str(workers())

    def made(name: str, script: str, *options: str) -> Server:
        words = [str(python), str(HERE / "peers" / script), str(graph), *options, "--port"]
        return Server(name, words, "/health")

    fastapi, litserve = "fastapi_server.py", "litserve_server.py"
    each = "--threads", "1"
    found = [
        made("FastAPI, plain handler", fastapi),
        made("FastAPI, a process a core, one thread each", fastapi, "--processes", cores, *each,
             "--pool", "1"),
        made("LitServe, a worker a core, one thread each", litserve, "--workers", cores, *each),
        made("LitServe, the same with batches of 4", litserve, "--workers", cores, *each,
             "--batch", "4"),
    ]  # fmt: skip
    if every:
        found += [
            made("FastAPI, async handler", fastapi, "--handler", "async"),
            made("LitServe, as it is", litserve),
            made("FastAPI, plain handler, PyTorch", fastapi, "--engine", "torch"),
        ]
    return found


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start(server: Server) -> Running:
    """Start a server in a process group of its own, without waiting until it is ready."""
    port = free_port()
    log = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the server)
    process = subprocess.Popen(
        [*server.words, str(port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True, cwd=HERE / "peers",
    )  # fmt: skip
    return Running(server, port, process, log)


def pause(running: Running, stopped: bool) -> None:
    """Stop all processes of a server, so that it takes nothing of the cores, or let them go on."""
    for pid in running.pids():
        os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)


def stop(running: Running) -> None:
    """End a server with all its processes."""
    pids = running.pids()
    running.process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):  # LitServe's workers may stay
        running.process.wait(3)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.kill(pid, signal.SIGKILL)
    running.process.wait()
    running.log.close()


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Running]:
    """Run a server for the length of a ``with`` block."""
    running = start(server)
    try:
        running.wait()
        yield running
    finally:
        stop(running)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            found += [int(word) for word in path.read_text().split()]
    return found


def _field(path: str, name: str) -> int:
    """Return a number of kilobytes in a file of /proc as bytes; 0 where the process has ended."""
    with contextlib.suppress(OSError), open(path) as file:  # it has ended
        for line in file:
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def proportional_memory(pids: Sequence[int]) -> int:
    """Return the bytes of processes together, those that they share counted once (PSS)."""
    return sum(_field(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids)


TICK = 1 / os.sysconf("SC_CLK_TCK")


def used(pids: Sequence[int]) -> float:
    """Return the seconds of a core that processes have used."""
    found = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found += TICK * (int(fields[11]) + int(fields[12]))
    return found


def used_by_all() -> float:
    """Return the seconds of a core that all programs have used, with what a host took away."""
    user, nice, system, _, _, *rest = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return TICK * sum(map(int, (user, nice, system, *rest)))


class Peak:
    """Peak memory of processes since the last call of :meth:`reset`, request by request."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.pids = list(pids)
        self._before: dict[int, int] = {}

    def reset(self) -> None:
        """Begin anew: the kernel sets the peak to what is used now."""
        for pid in self.pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w") as file:
                file.write("5")  # of a process that has ended, nothing is to be reset
            self._before[pid] = _field(f"/proc/{pid}/status", "VmRSS:")

    def extra(self) -> int:
        """Return the bytes by which all processes together exceeded what they used before."""
        return sum(
            max(0, _field(f"/proc/{pid}/status", "VmHWM:") - self._before.get(pid, 0))
            for pid in self.pids
        )


def versions(python: Path, packages: Sequence[str]) -> str:
    """Return the versions of packages in another environment: 'fastapi 0.1, litserve 0.2'."""
    code = (
        "import sys, importlib.metadata as m;"
        "print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    )
    done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{python}: {done.stderr}")
    return done.stdout.strip()


def state(running: Running) -> dict[str, Any]:
    """Return the state of this project's server; empty where it does not answer."""
    status, body = running.get("/health")
    return json.loads(body) if status else {}
