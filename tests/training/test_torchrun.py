"""Real processes under ``torchrun``: they train as one process does, whatever ends one of them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from distributed import taken
from races import outcome

from mobilenetv2.model import store
from mobilenetv2.training.checkpoint import Checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="signals the POSIX way"),
]

EPOCHS = 25
"""Passes of a training that a machine joins and leaves."""
ENDS = 300
"""Seconds after which a test gives up."""
CHANGES = (
    "batch_size=8",
    "precision=float32",
    "dropout=0.3",
    "ema_decay=0.8",
    "learning_rate=0.002",
)
MIXED = ("mixing.mixup=0.4", "mixing.cutmix=1.0", "mixing.share=0.8", "reestimate=12")


def set_to(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def torchrun(processes: int, *words: str, restarts: int = 0) -> subprocess.Popen[str]:
    """Start processes of this machine, as a person would."""
    return launch("--standalone", "--nproc-per-node", str(processes), *words, restarts=restarts)


def launch(*words: str, restarts: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--monitor-interval", "0.1"]
    command += ["--max-restarts", str(restarts)]
    return subprocess.Popen(
        [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def train(processes: int, photos: Path, run: Path, *options: str, restarts: int = 0) -> str:
    """Train to the end, and return what was said."""
    process = begin(processes, photos, run, *options, restarts=restarts)
    out, errors = process.communicate(timeout=ENDS)
    assert process.returncode == 0, errors
    assert out.count("## What to do next") == 1  # one process tells
    return errors


def begin(
    processes: int, photos: Path, run: Path, *options: str, restarts: int = 0
) -> subprocess.Popen[str]:
    command = ["-m", "mobilenetv2", "train", str(photos), "--output", str(run), *options]
    return torchrun(processes, *command, restarts=restarts)


def workers_of(agent: int) -> list[int]:
    """Return the processes that an agent of torchrun has started, in their order."""
    children = Path(f"/proc/{agent}/task").glob("*/children")
    return sorted(int(number) for path in children for number in path.read_text().split())


def wait_for(path: Path, process: subprocess.Popen[str], after: int = 0) -> None:
    """Wait until a file is there that is newer than ``after`` (ns)."""
    end = time.monotonic() + ENDS
    while process.poll() is None and time.monotonic() < end:
        if path.is_file() and path.stat().st_mtime_ns > after:
            return
        time.sleep(0.005)
    raise AssertionError(f"{path} did not come: {process.communicate()[1]}")


@pytest.fixture(scope="module")
def options(quick: tuple[str, ...]) -> list[str]:
    return [*quick, "--epochs", "6", *set_to(*CHANGES)]


@pytest.fixture(scope="module")
def two(
    photos: Path, options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """The outcome of two processes that nobody disturbs."""
    run = tmp_path_factory.mktemp("two") / "run"
    train(2, photos, run, *options)
    return outcome(run)


def test_two_processes_end_as_one_with_two_replicas(
    photos: Path, quick: tuple[str, ...], tmp_path: Path
) -> None:
    options = [*quick, "--epochs", "2", *set_to(*CHANGES, *MIXED)]
    train(2, photos, tmp_path / "two", *options)
    command = [sys.executable, "-m", "mobilenetv2", "train", str(photos), *options]
    alone = [*command, "--output", str(tmp_path / "one"), "--set", "replicas=2"]
    assert subprocess.run(alone, capture_output=True, timeout=ENDS, check=False).returncode == 0
    found, expected = (outcome(tmp_path / name) for name in ("two", "one"))
    assert found["split"] == expected["split"]
    assert found["names"] == expected["names"]
    # Sums of two numbers have one order, so that the weights are the same to the bit; BatchNorm
    # statistics that were measured again are means of means.
    arrays = [store.load(tmp_path / name / "last")[1] for name in ("two", "one")]
    for name, array in arrays[0].items():
        exact = not name.endswith((".mean", ".variance"))
        np.testing.assert_allclose(array, arrays[1][name], rtol=0 if exact else 1e-5, atol=1e-6)
        assert not exact or np.array_equal(array, arrays[1][name]), name
    trained = [
        Checkpoint.load(tmp_path / n / "checkpoint.safetensors").trainer for n in ("two", "one")
    ]
    for name, array in trained[0].items():
        assert np.array_equal(array, trained[1][name]), name


def test_a_worker_that_is_killed_is_replaced_and_the_run_ends_as_if_it_had_not_been(
    photos: Path, options: list[str], two: dict[str, object], tmp_path: Path
) -> None:
    run, checkpoint = tmp_path / "run", tmp_path / "run" / "checkpoint.safetensors"
    process = begin(2, photos, run, *options, restarts=3)
    after, seen = 0, list[int]()
    for victim in (1, 0):  # the one that follows, then the one that writes
        wait_for(checkpoint, process, after)
        after = checkpoint.stat().st_mtime_ns
        assert not (run / "summary.md").exists()
        workers = workers_of(process.pid)
        seen += workers
        os.kill(workers[victim], signal.SIGKILL)
    _, errors = process.communicate(timeout=ENDS)
    assert process.returncode == 0, errors
    assert len({*seen}) == 4  # all are started anew
    assert outcome(run) == two


def test_a_machine_comes_and_goes(
    photos: Path, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two launchers stand for two machines, of which one joins later, and is lost."""
    # Without it, PyTorch 2.13 tells who joins later no address, and all wait for ever.
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    run, checkpoint = tmp_path / "run", tmp_path / "run" / "checkpoint.safetensors"
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    patience = "last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=3"
    words = ("-m", "mobilenetv2", "train", str(photos), "--output", str(run), *options)
    words += ("--epochs", str(EPOCHS))

    def machine(first: bool) -> subprocess.Popen[str]:
        return launch(
            "--nnodes", "1:2", "--nproc-per-node", "1", "--rdzv-backend", "c10d",
            "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "shapes",
            "--rdzv-conf", f"is_host={first:d},{patience}", *words, restarts=3,
        )  # fmt: skip

    first = machine(True)
    wait_for(run / "start.json", first)
    second = machine(False)
    try:  # as it joins, both start anew
        while not workers_of(second.pid):
            assert (first.poll(), second.poll()) == (None, None), (run / "log.jsonl").read_text()
            time.sleep(0.05)
        wait_for(checkpoint, first, after=time.time_ns())
        before = Checkpoint.load(checkpoint).epoch
        for pid in [*workers_of(second.pid), second.pid]:
            os.kill(pid, signal.SIGKILL)
        out, errors = first.communicate(timeout=ENDS)
    finally:
        for process in (first, second):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert first.returncode == 0, errors
    assert 1 <= before < EPOCHS
    assert out.count("## What to do next") == 1 and f"epoch {EPOCHS}/{EPOCHS}" in errors
    assert errors.count("epoch 1/") == 1  # it went on from the checkpoint


SCRIPT = """
import sys
import torch.distributed as dist
import mobilenetv2 as mn
photos, run, own, *changes = sys.argv[1:]
if own == "own":
    dist.init_process_group("gloo")
found = mn.train(photos, run, weights=None, epochs=6, changes=changes)
assert found.best.is_dir() and found.metrics["validation.images"] == 6
if own == "own":
    dist.barrier()  # the program's group is still there
    dist.destroy_process_group()
"""


@pytest.mark.parametrize("group", ["own", "none"])
def test_a_program_that_torchrun_starts_trains_as_the_command(
    group: str, photos: Path, options: list[str], two: dict[str, object], tmp_path: Path
) -> None:
    script, run = tmp_path / "program.py", tmp_path / "run"
    script.write_text(SCRIPT)
    changes = [word for word in options if "=" in word]
    process = torchrun(2, str(script), str(photos), str(run), group, *changes)
    _, errors = process.communicate(timeout=ENDS)
    assert process.returncode == 0, errors
    assert outcome(run) == two


def test_batch_norm_of_all_processes_is_measured_on_unequal_numbers_of_batches(
    photos: Path, quick: tuple[str, ...], tmp_path: Path
) -> None:
    changes = set_to("batch_size=8", "computation.sync_batch_norm=true", "reestimate=24")
    said = train(2, photos, tmp_path / "run", *quick, "--epochs", "1", *changes)
    assert "epoch 1/1" in said  # one process has two batches, the other has one


def test_ctrl_c_saves_at_one_step_and_another_number_of_processes_goes_on(
    photos: Path, options: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = begin(2, photos, run, *options)
    wait_for(run / "checkpoint.safetensors", process)
    process.send_signal(signal.SIGINT)  # torchrun passes it on to each process
    _, errors = process.communicate(timeout=ENDS)
    assert process.returncode != 0
    assert errors.count("stopped; continue with: mobilenetv2 train") == 1, errors
    saved = Checkpoint.load(run / "checkpoint.safetensors")
    assert saved.epoch >= 1 and not (run / "summary.md").exists()
    said = train(4, photos, run, "--resume")
    assert "epoch 6/6" in said and f"epoch {saved.epoch}/6" not in said


FAILING = """
import os, sys
from mobilenetv2.cli.main import main
from mobilenetv2.errors import ImageError
from mobilenetv2.training.inputs import PhotoViews
real, calls = PhotoViews.view, []

def view(self, index, epoch):
    calls.append(index)
    if os.environ["RANK"] == "1" and len(calls) > 30:
        raise ImageError("ball/00.png: it is not there any more")
    return real(self, index, epoch)

PhotoViews.view = view
sys.exit(main(sys.argv[1:]))
"""


def test_an_error_of_one_process_ends_all_with_one_sentence(
    photos: Path, options: list[str], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(FAILING)
    command = [str(script), "train", str(photos), "--output", str(tmp_path / "run"), *options]
    process = torchrun(3, *command, "--set", "augmentation.crop=resized")
    _, errors = process.communicate(timeout=ENDS)
    assert process.returncode != 0
    assert errors.count("mobilenetv2: error: ball/00.png: it is not there any more") == 1, errors
    assert errors.count("Traceback") == 1 and "ChildFailedError" in errors  # torchrun's own


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--recipe", "later-blocks"], "trained = 'later' trains on a file of cached feature maps"),
        (["--edition", "jax"], "--edition jax trains in one process"),
        (["--set", "batch_size=2"], "2 processes share each batch of 2 photos and need two each"),
        (["--epochs", "many"], "invalid int value: 'many'"),
    ],
)
def test_what_cannot_be_divided_is_refused_once(
    words: list[str], said: str, photos: Path, model: Path, tmp_path: Path
) -> None:
    weights = ("--weights", str(model) if "later-blocks" in words else "none")
    process = begin(2, photos, tmp_path / "run", *weights, *words)
    _, errors = process.communicate(timeout=ENDS)
    assert process.returncode != 0
    assert errors.count(said) == 1, errors
    assert not (tmp_path / "run").exists()


def test_a_classifier_that_is_fitted_alone_is_that_of_one_process(
    photos: Path, tmp_path: Path
) -> None:
    """Features of every photo come from one process or another, in the same batches."""
    options = ["--weights", "embedded", "--recipe", "head-only"]
    train(2, photos, tmp_path / "two", *options)
    command = [sys.executable, "-m", "mobilenetv2", "train", str(photos), *options]
    alone = [*command, "--output", str(tmp_path / "one")]
    assert subprocess.run(alone, capture_output=True, timeout=ENDS, check=False).returncode == 0
    for file in ("best/model.safetensors", "best/config.json"):
        assert (tmp_path / "two" / file).read_bytes() == (tmp_path / "one" / file).read_bytes()


def test_steps_of_2_and_4_processes_are_those_of_one_in_float64(tmp_path: Path) -> None:
    """Mixed and dropped as they are; benchmarks/distributed.md has more steps, and float32."""
    alone = taken(tmp_path, 1, "float64", 4)
    for processes in (2, 4):
        found = taken(tmp_path, processes, "float64", 4)
        assert found.keys() == alone.keys() and len(found["losses"]) == 4
        for name, array in alone.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-8, atol=1e-10, err_msg=name)
