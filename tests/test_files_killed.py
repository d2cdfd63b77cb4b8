"""What a kill leaves behind, with real processes: the old or the new, never half."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mobilenetv2
from mobilenetv2.files import recover, sweep

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills processes the POSIX way")

WRITER = """
import os, signal, sys
from pathlib import Path
from mobilenetv2.files import *
import filelock  # its modules are opened before steps are counted

kind, target, fatal_step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
number = int(sys.argv[4])

def write():
    if kind == "file":
        write_atomically(target, f"{number}\\n" * 5000)
        return
    with atomic_folder(target) as folder:
        for name in ("a", "b", "c"):
            (folder / name).write_text(f"{number}\\n" * 100)

if fatal_step:
    # Python reports every step on the file system to its audit hooks: die just before one.
    steps = 0
    def count(event, arguments):
        global steps
        if event == "open" or event.startswith(("os.", "shutil.")):
            steps += 1
            if steps == fatal_step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    write()
else:
    while True:
        write()
        print(number, flush=True)
        number += 1
"""


def start(kind: str, target: Path, step: int, number: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(mobilenetv2.__file__).parents[1])}
    command = [sys.executable, "-c", WRITER, kind, str(target), str(step), str(number)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def whole(kind: str, target: Path) -> int:
    """The number that every line of the target holds; fails where it is not whole."""
    if kind == "file":
        lines = target.read_text().splitlines()
        assert len(lines) == 5000
    else:
        recover(target)
        assert sorted(path.name for path in target.iterdir()) == ["a", "b", "c"]
        lines = [line for path in target.iterdir() for line in path.read_text().splitlines()]
        assert len(lines) == 300
    assert len(set(lines)) == 1
    return int(lines[0])


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_at_a_random_moment_leaves_the_old_or_the_new(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    number, interrupted = 0, 0
    for _ in range(40):
        with start(kind, target, 0, number) as process:
            assert process.stdout is not None
            said = process.stdout.readline()  # the first one is done
            time.sleep(random.uniform(0, 0.015))
            process.kill()
            finished = int((said + process.stdout.read()).split()[-1])
        assert process.returncode == -signal.SIGKILL
        found = whole(kind, target)
        assert found in (finished, finished + 1)
        interrupted += len(list(tmp_path.iterdir())) > 1
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [target]
        number = found + 1
    assert interrupted > 0  # else no kill came in the middle, and this showed nothing


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_before_each_step_leaves_the_old_or_the_new(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with start(kind, target, step=10_000, number=0) as process:
        assert process.wait() == 0  # the old
    outcomes = []
    for step in range(1, 100):
        with start(kind, target, step, number=step) as process:
            code = process.wait()
        outcomes.append(whole(kind, target))
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [target]
        if code == 0:
            break
        assert code == -signal.SIGKILL
    # The old up to some step, the new from there on to the one that nothing killed.
    news = [step for step in range(1, len(outcomes) + 1) if outcomes[step - 1] == step]
    assert code == 0
    assert outcomes[: news[0] - 1] == [0] * (news[0] - 1) != []
    assert news == list(range(news[0], len(outcomes) + 1))
    assert len(news) > 1  # a kill after the rename, too


def test_a_reader_that_recovers_beside_a_writer_disturbs_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with start("folder", target, 0, 0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        end = time.monotonic() + 2
        while time.monotonic() < end:
            recover(target)
        assert process.poll() is None  # the writer is still at it
        process.kill()
    recover(target)
    assert whole("folder", target) > 0
