"""Ray's workers train as the processes of ``torchrun`` do, whatever ends one of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2.cli.main import main
from mobilenetv2.cli.parser import make_parser
from mobilenetv2.errors import MissingExtra, MobileNetV2Error, RecipeError, RunError
from mobilenetv2.training import ray
from mobilenetv2.training.checkpoint import Checkpoint
from mobilenetv2.training.ray import Lines, Messages, Plan, cpus_each
from mobilenetv2.training.run import train_here

ENDS = 240
"""Seconds after which a test gives up."""
EPOCHS = 8
CHANGES = ("batch_size=8", "precision=float32", "dropout=0.3", "learning_rate=0.002")


def test_the_command_has_an_address_and_a_number_of_workers() -> None:
    words = ["train", "photos", "--on", "ray://head:10001", "--workers", "3"]
    parsed = make_parser().parse_args(words)
    assert (parsed.on, parsed.workers) == ("ray://head:10001", 3)
    plain = make_parser().parse_args(["train", "photos"])
    assert (plain.on, plain.workers) == (None, None)


@pytest.mark.parametrize(
    ("cores", "workers", "each"),
    [
        ([2], 2, 1), ([2], 1, 2), ([2], 3, 0), ([8, 8], 2, 8), ([8, 8, 8], 2, 8), ([8, 4], 3, 4),
        ([7], 2, 3), ([], 1, 0), ([0, 1], 1, 1),
    ],
)  # fmt: skip
def test_workers_share_the_cpus_evenly_and_none_lies_on_two_machines(
    cores: list[int], workers: int, each: int
) -> None:
    assert cpus_each(cores, workers) == each


def test_a_cluster_that_is_too_small_is_told_instead_of_waited_for() -> None:
    with pytest.raises(MobileNetV2Error, match=r"workers=3: the cluster has 2 CPUs.*fewer workers"):
        ray._cpus([{"CPU": 1.0}, {"CPU": 1.0}], 3, "cpu")
    with pytest.raises(MobileNetV2Error, match=r"workers=2: the cluster has 1 GPU, and each"):
        ray._cpus([{"CPU": 8.0, "GPU": 1.0}], 2, "cuda")
    assert ray._cpus([{"CPU": 8.0, "GPU": 2.0}], 2, "cuda") == 4


def test_mistakes_are_told_before_ray_is_started(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(on: str) -> None:
        raise AssertionError(on)

    monkeypatch.setattr(ray, "connected", never)
    run = tmp_path / "runs" / "run"
    for error, said, options in (
        (MobileNetV2Error, "workers is the number of Ray's processes", {"workers": 2}),
        (MobileNetV2Error, "workers=0 must be a number of 1", {"workers": 0, "on": "ray"}),
        (MobileNetV2Error, "must be 'ray', for this machine", {"on": "dask"}),
        (RunError, "no run to resume", {"on": "ray", "resume": True}),
        (RecipeError, "edition='jax' trains in one process.*without Ray",
         {"on": "ray", "edition": "jax"}),
        (RecipeError, "trained = 'later' trains on a file.*without Ray \\(which",
         {"on": "ray", "workers": 2, "weights": "embedded", "recipe": "later-blocks"}),
    ):  # fmt: skip
        with pytest.raises(error, match=said):
            mn.train(photos, run, **options)
    with pytest.raises(RunError, match=r"need the name of the run folder.*give output"):
        mn.train(photos, on="ray")
    assert not run.parent.exists()


def test_without_ray_the_command_names_the_extra(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises((MissingExtra, ImportError)):
        mn.train(photos, tmp_path / "run", weights=None, on="ray")
    assert main(["train", str(photos), "--workers", "2"]) == 2
    assert "--workers is the number of Ray's processes; give --on ray" in capsys.readouterr().err


def test_messages_are_taken_once_and_the_first_outcome_counts() -> None:
    messages = Messages()
    assert (messages.begin(), messages.begin()) == (0, 1)
    stream = Lines(messages.say)
    assert stream.write("epoch 1") == 7 and messages.take(False) == []
    stream.write("/2\nepoch 2")
    assert messages.take(False) == ["epoch 1/2"] and not messages.asked()
    assert messages.take(True) == [] and messages.asked()
    messages.take(False)
    assert messages.asked() and messages.outcome() is None
    first = RunError("first")
    messages.end(first)
    messages.end(RunError("second"))
    assert messages.outcome() is first


def test_rays_own_records_lie_beside_the_run_folder() -> None:
    plan = Plan("photos", "/runs/shoes", {}, 2, 1, "ray-1", "/", train_here, False)
    assert plan.storage == Path("/runs/.shoes.ray-1")


def begin(photos: Path, run: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mobilenetv2", "train", str(photos), "--output", str(run)]
    return subprocess.Popen(
        [*command, *options, "--on", "ray", "--workers", "2"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + ENDS
    while process.poll() is None and time.monotonic() < end:
        if path.is_file():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not come: {process.communicate()[1]}")


def workers_of(process: int) -> list[int]:
    """Return Ray's workers below a process."""
    parents, workers = dict[int, int](), list[int]()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            name = (place / "cmdline").read_bytes()
            parents[int(place.name)] = int(
                (place / "stat").read_text().rpartition(")")[2].split()[1]
            )
        except OSError:  # it has ended
            continue
        if name.startswith(b"ray::RayTrainWorker"):
            workers.append(int(place.name))

    def above(number: int) -> bool:
        while number > 1 and number != process:
            number = parents.get(number, 0)
        return number == process

    return sorted(filter(above, workers))


@pytest.fixture(scope="module")
def options(quick: tuple[str, ...]) -> list[str]:
    pytest.importorskip("ray.train")
    changes = [word for change in CHANGES for word in ("--set", change)]
    return [*quick, "--epochs", str(EPOCHS), *changes]


@pytest.fixture(scope="module")
def alone(
    photos: Path, options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The models of one process with two replicas, whose batch is that of two workers."""
    run = tmp_path_factory.mktemp("alone") / "run"
    command = [sys.executable, "-m", "mobilenetv2", "train", str(photos), "--output", str(run)]
    subprocess.run(
        [*command, *options, "--set", "replicas=2"], check=True, capture_output=True, timeout=ENDS
    )
    return models(run)


def models(run: Path) -> dict[str, bytes]:
    return {name: (run / name / "model.safetensors").read_bytes() for name in ("best", "last")}


slow = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds workers by /proc"),
]


def slowly(test: Callable[..., None]) -> Callable[..., None]:
    for mark in slow:
        test = mark(test)
    return test


@slowly
def test_a_worker_that_is_killed_is_replaced_and_the_weights_are_those_of_one_process(
    photos: Path, options: list[str], alone: dict[str, bytes], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = begin(photos, run, *options)
    wait_for(run / "checkpoint.safetensors", process)
    assert not (run / "summary.md").exists()
    found = workers_of(process.pid)
    assert len(found) == 2
    os.kill(found[1], signal.SIGKILL)
    out, errors = process.communicate(timeout=ENDS)
    assert process.returncode == 0, errors
    assert out.count("## What to do next") == 1
    assert errors.count("a worker was lost") == 1 and f"epoch {EPOCHS}/{EPOCHS}" in errors
    assert "Traceback" not in errors and "TrainingReport" not in errors
    assert models(run) == alone
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # nothing of Ray's stays


@slowly
def test_ctrl_c_saves_and_stops_and_one_process_goes_on(
    photos: Path, options: list[str], alone: dict[str, bytes], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = begin(photos, run, *options, "--set", "replicas=1")
    wait_for(run / "checkpoint.safetensors", process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=ENDS)
    assert process.returncode == 130, errors
    assert errors.count("stopped; continue with: mobilenetv2 train") == 1, errors
    assert "--on ray --workers 2 --resume" in errors and "Traceback" not in errors
    saved = Checkpoint.load(run / "checkpoint.safetensors")
    assert saved.epoch >= 1 and not (run / "summary.md").exists()
    command = [*("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")]
    command += ["mobilenetv2", "train", str(photos), "--output", str(run), "--resume"]
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True, timeout=ENDS)
    assert models(run) == alone


@slowly
def test_an_error_of_a_worker_is_one_sentence(options: list[str], tmp_path: Path) -> None:
    process = begin(tmp_path / "photos", tmp_path / "runs" / "run", *options)
    _, errors = process.communicate(timeout=ENDS)
    assert process.returncode == 2, errors
    assert errors.count("mobilenetv2: error: ") == 1 and "photos" in errors
    assert len(errors.splitlines()) == 1, errors
    assert [*tmp_path.iterdir()] == []


@slowly
def test_too_many_workers_are_refused_at_once(
    photos: Path, options: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("ray.train")
    with pytest.raises(MobileNetV2Error, match=r"workers=999: the cluster has \d+ CPUs?, and each"):
        mn.train(photos, tmp_path / "run", weights=None, on="ray", workers=999)
    assert not (tmp_path / "run").exists()
