"""The processes that train together: their parts, the environment, and what they tell each other.

Real processes are in ``test_torchrun.py``.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.errors import MobileNetV2Error, RunError
from mobilenetv2.training.distributed import Group, Launch, joined, launched
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.run import goes_on, launch_of


def member(rank: int, size: int) -> Group:
    group = Group()
    group.rank, group.size = rank, size
    return group


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 16))
def test_parts_are_the_whole_in_order_and_begin_at_whole_units(
    length: int, size: int, unit: int
) -> None:
    parts = [member(rank, size).part(length, unit) for rank in range(size)]
    assert [i for part in parts for i in range(length)[part]] == list(range(length))
    assert all(part.start % unit == 0 for part in parts if part.start < length)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 3), st.integers(0, 60))
def test_rows_of_all_processes_are_the_batch_and_all_have_as_many_parts(
    size: int, waves: int, each: int, more: int
) -> None:
    length = 2 * size + more
    rows = [member(rank, size).rows(length, waves, each) for rank in range(size)]
    assert sorted(i for own in rows for s in own for i in range(length)[s]) == list(range(length))
    assert len({len(own) for own in rows}) == 1
    assert len(rows[0]) <= waves * each
    assert min(s.stop - s.start for own in rows for s in own) >= 2


@given(st.sampled_from([1, 2, 4]), st.integers(1, 3))
def test_a_wave_is_the_same_photos_in_processes_as_in_replicas(size: int, waves: int) -> None:
    """One process with replicas computes the parts that as many processes do, in waves."""
    alone = Group().rows(48, waves, size)
    rows = [member(rank, size).rows(48, waves) for rank in range(size)]
    assert [rows[i % size][i // size] for i in range(size * waves)] == alone


ENVIRONMENT = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_MAX_RESTARTS": "3",
    "TORCHELASTIC_RUN_ID": "job 7",
}  # fmt: skip


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_environment_says_where_a_process_stands(environment: pytest.MonkeyPatch) -> None:
    assert launched() == Launch(3, 4, 1, 2, 1, True, "job 7")
    environment.setenv("TORCHELASTIC_RUN_ID", "none")
    found = launched()
    assert found and found.job == f"{socket.gethostname()}/{os.getppid()}"
    for name in ("TORCHELASTIC_RUN_ID", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        environment.delenv(name)
    environment.delenv("TORCHELASTIC_MAX_RESTARTS")
    found = launched()  # as other launchers than torchrun leave it
    assert found and found[:6] == (3, 4, 0, 1, 1, False)
    environment.delenv("RANK")
    assert launched() is None


@pytest.mark.parametrize(
    ("name", "value"), [("RANK", "4"), ("RANK", "-1"), ("WORLD_SIZE", "0"), ("LOCAL_RANK", "x")]
)
def test_an_impossible_environment_is_an_error(
    name: str, value: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv(name, value)
    with pytest.raises(RunError, match=f"{name}={value} in the environment must be"):
        launched()


def test_each_process_has_a_gpu_of_its_own_and_no_two_share_a_device() -> None:
    place = Launch(3, 4, 1, 2)
    assert place.device("cuda") == "cuda:1" and place.device("cpu") == "cpu"
    for device in ("cuda:0", "mps"):
        with pytest.raises(MobileNetV2Error, match=f"'{device}': 2 processes of this machine"):
            place.device(device)
        assert Launch(3, 4).device(device) == device


def test_a_process_without_others_is_alone(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RANK", "0")
    environment.setenv("WORLD_SIZE", "1")
    with joined("cuda") as group:
        assert group.size == 1 and group.writes and group.device == "cuda:1"
        assert group.place and group.place.restarts == 1
    environment.delenv("RANK")
    with joined("cuda") as group:
        assert group.device == "cuda" and group.place is None
    assert group.first(lambda: 5) == 5 and group.gather("x") == ["x"]
    assert group.total(1.5, 2) == [1.5, 2] and group.any(True, False) == [True, False]


def test_a_job_goes_on_only_in_its_own_folder(tmp_path: Path) -> None:
    first, again = Launch(0, 2, job="a", may_restart=True), Launch(0, 2, 0, 2, 1, True, "a")
    other = again._replace(job="b")
    plain = {"resume": False, "overwrite": False, "epochs": 2, "weights": None}
    over, resumed = {**plain, "overwrite": True}, {**plain, "resume": True}
    run = RunFolder(tmp_path / "run")
    assert not goes_on(run.path, again, plain)  # killed before it had begun
    run.begin(Recipe(), (), "photos", None, "torch", None, launch=launch_of(first, plain))
    assert not goes_on(run.path, None, plain)
    assert goes_on(run.path, again, plain) and goes_on(run.path, again, over)
    assert goes_on(run.path, first, plain)  # another number of machines is no restart to torchrun
    for options in (plain, over):  # a run of another job, or of one of that name
        assert not goes_on(run.path, other, options)
        assert not goes_on(run.path, first, {**options, "epochs": 3})
        assert not goes_on(run.path, again, {**options, "epochs": 3})
    assert goes_on(run.path, other, resumed) and not goes_on(
        run.path, first, {**resumed, "seed": 1}
    )
    run.summary.write_text("# finished")
    assert not goes_on(run.path, first, plain)  # a second job of that name is told so
    assert not goes_on(run.path, other, plain) and run.summary.exists()
    assert goes_on(run.path, again, plain) and not run.summary.exists()  # it is measured again
    with pytest.raises(RunError, match="may start this training again, which then needs the name"):
        goes_on(None, first, plain)
    assert not goes_on(None, Launch(0, 2), plain)


SCRIPT = """
import os, sys, time
import torch
from mobilenetv2.errors import RecipeError
from mobilenetv2.progress import say
from mobilenetv2.training.distributed import joined

rank = int(os.environ["RANK"])
with joined("cpu") as group:
    say(f"process {group.rank} tells")
    assert (group.rank, group.size) == (rank, 3)
    assert group.total(1.0, rank) == [3.0, 3.0]
    assert group.gather({"rank": rank}) == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
    assert group.first(lambda: f"of {rank}") == "of 0"
    assert group.any(rank == 2, False) == [True, False]
    pieces = [torch.full((2, 3), rank + 1.0).T, torch.tensor([10.0 * rank])]
    group.add(pieces)
    assert pieces[0].tolist() == [[6.0] * 2] * 3 and pieces[1].tolist() == [30.0]
with joined("cpu") as group:  # a second training of the same program
    assert group.total(1.0) == [3.0]
try:
    with joined("cpu") as group:
        if rank == 1:
            raise RecipeError("of one process")
        group.first(lambda: None)
        group.total(1.0)
except RecipeError as error:
    assert str(error) == "of one process"
    print(f"told {error.told}")
"""


def test_processes_sum_gather_and_fail_together() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    known = os.environ | {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT], env=known | {"RANK": str(rank)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(3)
    ]  # fmt: skip
    found = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], found
    assert sorted(out for out, _ in found) == ["told False\n", "told True\n", "told True\n"]
    assert [("process 0 tells" in errors) for _, errors in found] == [True, False, False]
    assert not any("process 1 tells" in e or "process 2 tells" in e for _, e in found)
