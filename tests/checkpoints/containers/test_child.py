"""Work in a fork: how it ended and what it took, told by a process that is untouched."""

import json
import subprocess
import sys

import pytest

from mobilenetv2.checkpoints.containers.child import memory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no forks on Windows")


def forked(task: str) -> dict[str, int]:
    """In a process of its own: a fork of this one would have pytest's threads."""
    code = (
        "import json, os, signal\nfrom mobilenetv2.checkpoints.containers.child import fork\n"
        f"def task():\n    {task}\nprint(json.dumps([fork(task), fork(lambda: 5)]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, after = json.loads(run.stdout)
    assert (after["status"], after["signal"]) == (5, 0)
    return dict(found)


@pytest.mark.parametrize(
    ("task", "status", "number"),
    [
        ("return 0", 0, 0),
        ("return 3", 3, 0),
        ("raise SystemExit(0)", 1, 0),
        ("raise ValueError", 1, 0),
        ("os.kill(os.getpid(), signal.SIGKILL)", 0, 9),
        ("os.abort()", 0, 6),
    ],
)
def test_how_a_fork_ended(task: str, status: int, number: int) -> None:
    found = forked(task)
    assert (found["status"], found["signal"]) == (status, number)


def test_what_a_fork_took() -> None:
    little, much = (forked(f"a = b'x' * {size}; return 0")["memory"] for size in (1, 10**8))
    assert 0.99e8 < much - little < 1.3e8


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_memory_of_this_process() -> None:
    assert 10**7 < memory("VmRSS") < memory("VmSize") + 1
    assert memory("VmNothing") == 0
