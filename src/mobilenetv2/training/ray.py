"""Training by the workers of Ray Train: their places, their messages, a new start after a loss.

Ray starts the workers, each of which calls the training as a process of ``torchrun`` does. The run
folder is the only truth: Ray is given pointers to its checkpoint, and workers that Ray has started
again go on from it. A small actor carries lines, the wish to stop and the outcome between the first
worker and the user's terminal.
"""

import io
import json
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stderr, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, cast

from mobilenetv2.cluster.connection import connected, parse
from mobilenetv2.errors import (
    InUse,
    MobileNetV2Error,
    OptionsInMessages,
    RunError,
    Stopped,
    argument,
    require,
)
from mobilenetv2.files import write_atomically
from mobilenetv2.process import keep_memory
from mobilenetv2.progress import say
from mobilenetv2.text import counted
from mobilenetv2.training.choices import check_group, choose_job
from mobilenetv2.training.distributed import ALONE, Group, Launch, Launcher
from mobilenetv2.training.folder import RunFolder, open_run
from mobilenetv2.training.job import Run
from mobilenetv2.training.loop import stop_on_interrupt

FAILURES = 3
"""Number of times that the workers are started again after one was lost."""
POLL = 0.3
"""Seconds between two looks at the workers' messages."""
REACHED = 60.0
"""Seconds until a file that the first worker has written must be seen by the others."""
FREED = 30.0
"""Seconds until the lock of a worker that was lost must be free."""
SETTINGS = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
}
"""Environment of Ray Train: its current version, and lines that are not printed twice."""


Training = Callable[[str, str, Mapping[str, Any], Launcher], Run]
"""A function that trains in this process, such as :func:`training.run.train_here`."""


class Plan(NamedTuple):
    """A training for Ray's workers."""

    data: str
    output: str
    """Run folder, an absolute path."""
    options: dict[str, Any]
    """The other arguments of :func:`training.choices.choose_job`."""
    workers: int
    cpus: int
    """CPUs of each worker, which computes in as many threads."""
    job: str
    """Name of this start of the training, which new starts of the workers keep."""
    folder: str
    """Current folder of the user, where paths begin."""
    train: Training
    """Function that trains in each worker."""
    typed: bool
    """True to write arguments as the command line's options."""

    @property
    def storage(self) -> Path:
        """Folder of Ray's own records of the training, which is removed at the end."""
        output = Path(self.output)
        return output.with_name(f".{output.name}.{self.job}")


class Messages:
    """Messages between the first worker and the user's process, held by an actor of Ray."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._stop, self._starts = False, 0
        self._outcome: object = None

    def begin(self) -> int:
        """Return the number of earlier starts."""
        self._starts += 1
        return self._starts - 1

    def say(self, line: str) -> None:
        """Keep a line for the user."""
        self._lines.append(line)

    def take(self, stop: bool) -> list[str]:
        """Return the new lines, and take note of the user's wish to stop."""
        self._stop |= stop
        lines, self._lines = self._lines, []
        return lines

    def asked(self) -> bool:
        """Return True if the user wants the training to stop."""
        return self._stop

    def end(self, outcome: object) -> None:
        """Keep the finished run, or the first error."""
        self._outcome = self._outcome or outcome

    def outcome(self) -> object:
        """Return the finished run, or the error; None if the workers were lost before."""
        return self._outcome


def train_on(
    on: str, workers: int, data: str | PathLike[str], output: str | PathLike[str] | None,
    options: Mapping[str, Any], train: Training,
) -> Run:  # fmt: skip
    """Train by Ray's workers, and return the finished run.

    Args:
        on: 'ray' or 'ray://HOST:PORT'.
        workers: number of processes that train the network together.
        data: as in :func:`training.run.train`.
        output: the run folder, on a disk that all workers and this process reach.
        options: the other arguments of :func:`training.choices.choose_job`, by name.
        train: the function that trains in each worker.

    Raises:
        MobileNetV2Error: an argument or the data is invalid, the cluster is too small, or too many
            workers were lost.
        Stopped: Ctrl-C. Everything is saved; ``resume`` continues.
    """
    parse(on)
    if workers < 1:
        raise MobileNetV2Error(f"{argument('workers', workers)} must be a number of 1 or more")
    if output is None:
        raise RunError(
            "Ray's workers need the name of the run folder, on a disk that all machines share; "
            f"give {argument('output')}"
        )
    data, options = os.fspath(data), dict(options)
    job = choose_job(data, output, **options)  # a mistake is told before anything is started
    group = Group()
    group.size, group.launcher = workers, Launcher()
    group.launcher.name = "Ray"
    if job.edition != "torch" or workers > 1:
        group.size = max(2, workers)
        check_group(job, group)
    with connected(on) as ray:
        machines = [one.get("Resources", {}) for one in ray.nodes() if one.get("Alive")]
        cpus = _cpus(machines, workers, job.device)
        plan = Plan(
            data, os.path.abspath(output), options, workers, cpus,  # noqa: PTH100 - links stay
            f"ray-{secrets.token_hex(4)}", os.getcwd(), train,  # noqa: PTH109
            argument("on").startswith("-"),
        )  # fmt: skip
        outcome = _followed(ray, plan)
    if isinstance(outcome, Stopped):
        raise Stopped(output)
    if isinstance(outcome, BaseException):
        outcome.told = False  # type: ignore[attr-defined]
        raise outcome
    files = RunFolder(Path(output))
    return replace(outcome, files=files, job=replace(outcome.job, output=files.path))


def _cpus(machines: Sequence[Mapping[str, float]], workers: int, device: str) -> int:
    """Return the number of CPUs for each worker.

    Raises:
        MobileNetV2Error: the cluster has too few.
    """
    if device == "cuda":
        have = sum(int(one.get("GPU", 0)) for one in machines)
        if have < workers:
            raise MobileNetV2Error(
                f"{argument('workers', workers)}: the cluster has {counted(have, 'GPU')}, and each "
                "worker needs one; give fewer workers, or add machines"
            )
    cores = [int(one.get("CPU", 0)) for one in machines]
    if found := cpus_each(cores, workers):
        return found
    raise MobileNetV2Error(
        f"{argument('workers', workers)}: the cluster has {counted(sum(cores), 'CPU')}, and each "
        "worker needs one; give fewer workers, or add machines"
    )


def cpus_each(cores: Sequence[int], workers: int) -> int:
    """Return the largest number of CPUs that each of some workers can have; 0 for too few.

    Args:
        cores: number of CPUs of each machine.
        workers: number of workers, none of which lies on two machines.
    """
    fits = (n for n in range(max(cores, default=0), 0, -1) if sum(c // n for c in cores) >= workers)
    return next(fits, 0)


def _followed(ray: Any, plan: Plan) -> Any:
    """Start the workers, print their lines until they end, and return the outcome."""
    messages = ray.remote(num_cpus=0)(Messages).remote()
    # Ray Train runs on the cluster: a program that is connected by Ray Client cannot call it.
    fitted = ray.remote(num_cpus=0, max_retries=0)(fit_workers).remote(plan, messages)

    def tell(stop: bool) -> None:
        for line in ray.get(messages.take.remote(stop)):
            say(line)

    try:
        with stop_on_interrupt() as stop:
            done: list[Any] = []
            while not done:
                done, _ = ray.wait([fitted], timeout=POLL)
                tell(stop())
        failed = ray.get(fitted)
        tell(False)
        return ray.get(messages.outcome.remote()) or RunError(failed)
    except ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()
        return RunError(_lost(said[-1] if said else type(error).__name__))
    except KeyboardInterrupt:
        with suppress(Exception):
            ray.cancel(fitted, force=True)
        raise
    finally:
        shutil.rmtree(plan.storage, ignore_errors=True)


def _lost(reason: str) -> str:
    return (
        f"Ray's workers were lost ({reason}); the last checkpoint is kept: continue with "
        f"{argument('resume', True)}"
    )


def fit_workers(plan: Plan, messages: Any) -> str:
    """Run Ray Train to its end, in a task of the cluster.

    Args:
        plan: the training.
        messages: actor of :class:`Messages`.

    Returns:
        Why the workers ended without an outcome.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
    train, by_torch = require("ray.train"), require("ray.train.torch")
    parent, gpu = plan.storage.parent, plan.options["device"] == "cuda"
    made = not parent.exists()
    trainer = by_torch.TorchTrainer(
        work,
        train_loop_config={"plan": plan, "messages": messages},
        torch_config=by_torch.TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
        scaling_config=train.ScalingConfig(
            num_workers=plan.workers, use_gpu=gpu, resources_per_worker={"CPU": plan.cpus}
        ),
        run_config=train.RunConfig(
            name=plan.storage.name, storage_path=str(parent),
            failure_config=train.FailureConfig(max_failures=FAILURES),
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
        ),
    )  # fmt: skip
    reason = ""
    try:
        trainer.fit()
    except Exception as error:  # Ray's have several roots
        reason = " ".join(str(error).split())[:300]
    finally:
        shutil.rmtree(plan.storage, ignore_errors=True)
        if made:
            with suppress(OSError):
                parent.rmdir()
    with OptionsInMessages() if plan.typed else ExitStack():
        return _lost(reason or "without a reason")


class RayLauncher(Launcher):
    """Ray Train, as the program that started the processes of a training.

    Args:
        plan: the training.
        messages: actor of :class:`Messages`.
    """

    name = "Ray"

    def __init__(self, plan: Plan, messages: Any) -> None:
        self._ray, self._train = require("ray"), require("ray.train")
        self._plan, self._messages = plan, messages
        self._context = self._train.get_context()
        self._wanted = threading.Event()
        self.first = self._context.get_world_rank() == 0
        self.asked = self._wanted.is_set

    def place(self) -> Launch:
        """Return the place of this worker among all."""
        restarts = self._ray.get(self._messages.begin.remote()) if self.first else 0
        if restarts:
            say("a worker was lost: all are started again, and go on from the last checkpoint")
            self._wait_for_lock()
        if self.first:
            threading.Thread(target=self._listen, daemon=True).start()
        known = self._context
        return Launch(
            known.get_world_rank(), known.get_world_size(), known.get_local_rank(),
            known.get_local_world_size(), restarts, True, self._plan.job,
        )  # fmt: skip

    def saved(self, group: Group, folder: Path, figures: Mapping[str, float]) -> None:
        """Report a checkpoint to Ray, as a pointer to the run folder.

        Raises:
            RunError: another machine does not see the run folder.
        """
        checkpoint = RunFolder(folder).checkpoint
        end = time.monotonic() + REACHED
        while not checkpoint.is_file() and time.monotonic() < end:
            time.sleep(POLL)
        if any(group.any(not checkpoint.is_file())):
            raise RunError(
                f"{folder}: not all machines of the cluster see the run folder that the first "
                f"worker has written; give an {argument('output')} on a disk that all share"
            )
        if not group.writes:
            self._train.report({})
            return
        with tempfile.TemporaryDirectory() as place:
            pointer = Path(place) / "pointer.json"
            write_atomically(pointer, json.dumps({"checkpoint": str(checkpoint)}))
            kept = self._train.Checkpoint.from_directory(place)
            self._train.report({**figures}, checkpoint=kept)

    def _listen(self) -> None:
        """Look for the user's wish to stop until it comes."""
        with suppress(Exception):  # the user's process is gone, and Ray ends this one
            while not self._ray.get(self._messages.asked.remote()):
                time.sleep(POLL)
            self._wanted.set()

    def _wait_for_lock(self) -> None:
        """Wait until the worker that was lost no longer holds the run folder."""
        output, end = Path(self._plan.output), time.monotonic() + FREED
        while RunFolder(output).recipe.is_file() and time.monotonic() < end:
            try:
                with open_run(output, overwrite=True):
                    return
            except InUse:
                time.sleep(POLL)


class Lines(io.TextIOBase):
    """A stream whose lines go to the user's terminal.

    Args:
        tell: function that takes a line.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell, self._rest = tell, ""

    def write(self, text: str) -> int:
        """Pass on the lines that are complete."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._tell(line)
        return len(text)


def work(config: dict[str, Any]) -> None:
    """Train in a worker of Ray, as one of several processes.

    Args:
        config: 'plan' and 'messages'.

    Raises:
        RunError: another worker was lost; Ray starts all again.
    """
    plan, messages = cast(Plan, config["plan"]), config["messages"]
    keep_memory()
    with suppress(OSError):  # on another machine, where only absolute paths have a meaning
        os.chdir(plan.folder)
    launcher = RayLauncher(plan, messages)
    outcome: Run | BaseException | None
    with ExitStack() as stack:
        if launcher.first:
            for logger in (logging.getLogger(), logging.getLogger("ray.train")):
                for handler in logger.handlers:
                    if type(handler).__name__ == "PlainRayHandler":  # on whatever stderr is
                        handler.setLevel(logging.CRITICAL)
            stack.enter_context(redirect_stderr(Lines(messages.say.remote)))
        if plan.typed:
            stack.enter_context(OptionsInMessages())
        try:
            run = plan.train(plan.data, plan.output, plan.options, launcher)
        except (MobileNetV2Error, OSError, Stopped) as error:
            if getattr(error, "lost", False):
                raise
            outcome = error
        else:
            outcome = None
            if run.group.writes:
                none = cast(Any, None)
                outcome = replace(run, trainer=none, teacher=None, saved=None, group=ALONE)
    if outcome is not None:
        require("ray").get(messages.end.remote(outcome))
