"""One thread: the same bits with any number of cores, and what cannot promise them is refused."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info

from mobilenetv2.errors import MobileNetV2Error, RunError
from mobilenetv2.training.choices import choose_job
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.run import check_job
from mobilenetv2.training.threads import check_deterministic, one_thread


def threads() -> list[int]:
    """Threads of PyTorch and of each BLAS that is loaded."""
    blas = [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]
    return [torch.get_num_threads(), *blas]


def test_torch_and_blas_have_one_thread_and_then_their_own_again() -> None:
    with one_thread():
        pass  # loads SciPy's BLAS
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        own = threads()
        with pytest.raises(ZeroDivisionError), one_thread():
            inside = threads()
            raise ZeroDivisionError
        assert len(inside) >= 2 and set(inside) == {1}
        assert threads() == own and own[0] == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("edition", "device", "minutes", "way_out"),
    [
        ("jax", "cpu", None, "edition='torch'"),
        ("keras", "cpu", None, "edition='torch'"),
        ("torch", "cuda", None, "device='cpu'"),
        ("torch", "cpu", 3.0, "epochs"),
    ],
)
def test_what_cannot_be_the_same_everywhere_is_refused(
    edition: str, device: str, minutes: float | None, way_out: str
) -> None:
    check_deterministic("torch", "cpu")
    with pytest.raises(MobileNetV2Error) as refused:
        check_deterministic(edition, device, minutes)
    assert "deterministic=True" in str(refused.value) and way_out in str(refused.value)


def test_a_job_is_refused_before_its_framework_is_imported() -> None:
    with pytest.raises(MobileNetV2Error, match="deterministic=True needs edition='torch'"):
        check_job(choose_job("digits", edition="jax", deterministic=True))
    assert not choose_job("digits").deterministic
    assert check_job(choose_job("digits", recipe=Recipe(), weights="x", deterministic=True))


def test_the_command_line_has_the_option(refused: Callable[..., str], photos: Path) -> None:
    message = refused("train", photos, "--weights", "none", "--edition", "jax", "--deterministic")
    assert "--deterministic" in message and "--edition torch" in message


def test_a_resumed_run_goes_on_as_it_began(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "summary.md").unlink()
    assert not choose_job("photos", run, resume=True).deterministic
    with pytest.raises(RunError, match="leave out deterministic"):
        choose_job("photos", run, resume=True, deterministic=True)
    started = json.loads((run / "start.json").read_text("utf-8"))
    (run / "start.json").write_text(json.dumps(started | {"deterministic": True}))
    assert choose_job("photos", run, resume=True).deterministic
    (run / "start.json").write_text(json.dumps(started | {"deterministic": 1}))
    with pytest.raises(RunError, match=r"start\.json: does not record"):
        choose_job("photos", run, resume=True)


def untimed(metrics: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv without the columns of time."""
    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in rows]


@pytest.mark.slow
def test_one_and_two_threads_give_the_same_bits(photos: Path, tmp_path: Path) -> None:
    """The classifier is fitted (BLAS), then everything is trained (PyTorch).

    Without the option, the two runs differ in both.
    """
    options = ("--weights", "embedded", "--recipe", "finetune", "--epochs", "1")
    changes = ("--set", "batch_size=12", "--set", "classifier.fit_first=true", "--deterministic")
    processes = []
    for count in ("1", "2"):
        cores = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
        command = [sys.executable, "-m", "mobilenetv2", "train", str(photos), *options, *changes]
        processes.append(
            subprocess.Popen(
                [*command, "--output", str(tmp_path / count)],
                env=os.environ | cores,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    names = [
        f"{model}/{file}"
        for model in ("best", "last")
        for file in ("model.safetensors", "config.json")
    ]
    for name in (*names, "split.csv", "recipe.toml"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name
    one, two = (untimed(tmp_path / count / "metrics.csv") for count in ("1", "2"))
    assert one == two and len(one) == 2
    started = json.loads((tmp_path / "1" / "start.json").read_text("utf-8"))
    assert started["deterministic"] is True
