"""The processes that train one network together: who does which part, sums over all, one writer.

``torchrun`` starts the same command several times, on one machine or on many, and tells each
process its number in the environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, ...); that turns
everything here on. Two kinds of messages go between the processes: sums of tensors, by NCCL between
GPUs and by gloo between CPUs, and records, always by gloo. All processes ask for the same sums and
records in the same order. A process that fails says why in the store that ``torchrun`` keeps, and
leaves; the others then find their connection closed, and raise its error instead of waiting.

Sums are taken by one ``all_reduce`` of our own gradients and not by ``DistributedDataParallel``
(docs/decisions/training.md).
"""

import base64
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mobilenetv2.errors import MobileNetV2Error, RunError, argument, require
from mobilenetv2.progress import muted

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")

ANSWER = timedelta(minutes=10)
"""Longest wait for another process in a step, or at the start; a slow disk takes seconds."""
WORK = timedelta(hours=24)
"""Longest wait for what the first process does alone, such as checking all photos."""
WHY = timedelta(seconds=10)
"""Longest wait for the reason of a process that has left."""
NO_JOB = ("", "none")
"""Values of TORCHELASTIC_RUN_ID that name no job."""


class Launch(NamedTuple):
    """The place of this process among those that ``torchrun`` started, from the environment."""

    rank: int
    size: int
    local_rank: int = 0
    """Number of the process on its machine, and of its GPU."""
    local_size: int = 1
    restarts: int = 0
    """Number of times that all processes were started again after one had failed."""
    may_restart: bool = False
    job: str = ""
    """Name of the job, which restarts keep: ``--rdzv-id``, else the ``torchrun`` process."""

    def device(self, name: str) -> str:
        """Return the device of this process: 'cuda' is the GPU of its number on its machine.

        Raises:
            MobileNetV2Error: the processes would share a device.
        """
        if name == "cuda":
            return f"cuda:{self.local_rank}"
        if name != "cpu" and self.local_size > 1:
            raise MobileNetV2Error(
                f"{argument('device', name)}: {self.local_size} processes of this machine would "
                f"share it; give {argument('device', 'cuda')}, which is a GPU for each, or "
                "torchrun --nproc-per-node 1"
            )
        return name


def launched() -> Launch | None:
    """Return the place of this process among those of ``torchrun``; None if it started none.

    Raises:
        RunError: the environment has impossible numbers.
    """
    known = os.environ
    if "RANK" not in known or "WORLD_SIZE" not in known:
        return None
    names = (
        "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT",
        "TORCHELASTIC_MAX_RESTARTS",
    )  # fmt: skip
    least = (0, 1, 0, 1, 0, 0)
    found: list[int] = []
    for name, lowest in zip(names, least, strict=True):
        text = known.get(name, str(lowest))
        if not text.isdecimal() or int(text) < lowest:
            raise RunError(f"{name}={text} in the environment must be a whole number; unset it")
        found.append(int(text))
    rank, size, local_rank, local_size, restarts, most = found
    if rank >= size:
        raise RunError(f"RANK={rank} in the environment must be below WORLD_SIZE={size}")
    job = known.get("TORCHELASTIC_RUN_ID", "")
    if job in NO_JOB:
        job = f"{socket.gethostname()}/{os.getppid()}"
    return Launch(rank, size, local_rank, local_size, restarts, most > 0, job)


class Launcher:
    """The program that started the processes of a training: this class is ``torchrun``."""

    name = "torchrun"
    """Name, for messages."""
    asked: Callable[[], bool] | None = None
    """A function that returns True after the user wants the training to stop; None if Ctrl-C and
    SIGTERM reach this process."""

    def place(self) -> "Launch | None":
        """Return the place of this process among those that were started; None if it is alone.

        Raises:
            RunError: the environment has impossible numbers.
        """
        return launched()

    def saved(self, group: "Group", folder: Path, figures: Mapping[str, float]) -> None:
        """Take note of a checkpoint that was written; all processes call this.

        Args:
            group: the processes.
            folder: the run folder.
            figures: figures of the last finished epoch; empty before.
        """


TORCHRUN = Launcher()
"""The launcher where no other one is given."""


class Group:
    """The processes that train one network; this class is one process alone."""

    rank, size = 0, 1
    """Number of this process, from 0; number of all processes."""
    device = "cpu"
    """Device of this process."""
    place: Launch | None = None
    """Place of this process among those of ``torchrun``; None if it was started otherwise."""
    launcher = TORCHRUN
    """The program that started the processes."""

    @property
    def writes(self) -> bool:
        """True for the process that writes files and tells people: the first one."""
        return self.rank == 0

    def first(self, function: Callable[[], Result]) -> Result:
        """Call a function in the first process only, and return its result in all of them.

        An error that it raises is raised in all. Everything that writes is called by it.
        """
        return function()

    def gather(self, value: Result) -> list[Result]:
        """Return the values of all processes, in their order."""
        return [value]

    def total(self, *values: float) -> list[float]:
        """Return each number, summed over all processes in float64."""
        return list(values)

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Replace tensors of one data type by their sums over all processes, the same in all."""

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether a process has it True."""
        return [bool(found) for found in self.total(*map(float, flags))]

    def part(self, length: int, unit: int = 1) -> slice:
        """Return this process's part of a sequence, in whole units but for the last one.

        The parts of all processes are the sequence, each item once, in order.
        """
        units = -(-length // unit)
        edges = (units * rank // self.size for rank in (self.rank, self.rank + 1))
        first, last = (min(length, unit * edge) for edge in edges)
        return slice(first, last)

    def rows(self, length: int, waves: int = 1, each: int = 1) -> list[slice]:
        """Return the parts of a batch that this process computes, in order.

        A wave is what all processes compute at the same time, ``each`` parts in every process. A
        part has two photos or more, for BatchNorm.

        Args:
            length: number of photos in the batch, at least two for each process.
            waves: number of waves.
            each: number of parts that a process computes at the same time.
        """
        width = self.size * each
        parts = max(self.size, min(waves * width, length // 2) // self.size * self.size)
        edges = [length * part // parts for part in range(parts + 1)]
        mine: list[slice] = []
        for start in range(0, parts, width):
            here = min(width, parts - start) // self.size
            own = range(start + self.rank * here, start + (self.rank + 1) * here)
            mine += [slice(edges[part], edges[part + 1]) for part in own]
        return mine

    def ended_by(self, error: BaseException) -> BaseException:
        """Return the error to raise in this process, after one had an error."""
        return error


ALONE = Group()
"""The group of a process that trains alone."""


class Lost(RunError):
    """Another process has left, for a reason that is not known yet."""


class Processes(Group):
    """Several processes, by ``torch.distributed``.

    Args:
        rank: number of this process.
        size: number of processes.
        store: store of the group, of which every process has the same keys.
        records: process group of gloo, for records.
        sums: process group for sums of tensors; None for the default one.
    """

    def __init__(self, rank: int, size: int, store: Any, records: Any, sums: Any = None) -> None:
        self.rank, self.size = rank, size
        self._store, self._records, self._sums = store, records, sums

    def first(self, function: Callable[[], Result]) -> Result:
        """Call a function in the first process only, and return its result in all of them."""
        import torch.distributed as dist

        # Its error ends the group, and reaches the others by :meth:`ended_by`.
        found: list[Any] = [function() if self.writes else None]
        with _together():
            dist.broadcast_object_list(found, src=0, group=self._records)
        result: Result = found[0]
        return result

    def gather(self, value: Result) -> list[Result]:
        """Return the values of all processes, in their order."""
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        with _together():
            dist.all_gather_object(found, value, group=self._records)
        return found

    def total(self, *values: float) -> list[float]:
        """Return each number, summed over all processes in float64."""
        import torch
        import torch.distributed as dist

        sums = torch.tensor(values, dtype=torch.float64)
        with _together():
            dist.all_reduce(sums, group=self._records)
        found: list[float] = sums.tolist()
        return found

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Replace tensors of one data type by their sums over all processes, the same in all."""
        import torch
        import torch.distributed as dist

        if not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        with _together():
            dist.all_reduce(flat, group=self._sums)
        pieces = flat.split([tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, piece in zip(tensors, pieces, strict=True):
                tensor.copy_(piece.view(tensor.shape))  # it keeps its order in memory

    def ended_by(self, error: BaseException) -> BaseException:
        """Return the error to raise in this process: the first one that any process had.

        It is marked as told in all processes but one, so that a command prints it once.
        """
        told = not self.writes
        try:
            mine = b""
            if isinstance(error, Lost):
                self._store.wait(["error"], WHY)
            elif isinstance(error, Exception):
                mine = _packed(error)
                self._store.compare_set("error", "", mine.decode())
            if isinstance(error, Exception) and (first := self._store.get("error")) != mine:
                error = pickle.loads(base64.b64decode(first))
            told = self._store.add("told", 1) > 1
        except (RuntimeError, ValueError, OSError):  # the store is gone, or there is no reason
            if isinstance(error, Lost):
                error = RunError(str(error))
                error.lost = True  # type: ignore[attr-defined]
        error.told = told  # type: ignore[attr-defined]
        return error


def _packed(error: Exception) -> bytes:
    """Return an error as ASCII, which a store takes."""
    try:
        packed = pickle.dumps(error)
        pickle.loads(packed)
    except Exception:  # of any class, of another package
        packed = pickle.dumps(RunError(f"{type(error).__name__}: {error}"))
    return base64.b64encode(packed)


@contextmanager
def _together() -> Iterator[None]:
    """Turn an error of a message between processes into :class:`Lost`."""
    try:
        yield
    except RuntimeError:  # torch.distributed has no narrower class for gloo
        raise Lost(
            "another process of this training has ended or does not answer; the last checkpoint "
            f"is kept: start all processes again, with {argument('resume', True)}"
        ) from None


_GROUPS = count()
"""Numbers of this process's groups: each has keys of its own in the store."""


@cache
def _rendezvous() -> Any:
    """Return the store that all processes share; it stays open, since the first may host it."""
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(iter(rendezvous("env://", timeout=ANSWER)))
    return store


@contextmanager
def joined(device: str, launcher: Launcher = TORCHRUN) -> Iterator[Group]:
    """Yield the group of this process's training, and leave the group at the end.

    Where ``torchrun`` started no other process, it is this process alone. A group that a script has
    made with ``torch.distributed.init_process_group`` is used. In all processes but the first
    nothing is printed.

    Args:
        device: device of this process.
        launcher: what started the processes. Default: ``torchrun``, if it did.

    Raises:
        MissingExtra: PyTorch is not installed.
        RunError: the other processes do not come, or one of them failed.
    """
    place = launcher.place()
    if place is None or place.size == 1:
        group = Group()
        group.launcher = launcher
        group.place, group.device = place, device if place is None else place.device(device)
        yield group
        return
    with muted(place.rank > 0):
        group, leave = _join(place, device)
        group.launcher = launcher
        group.place, group.device = place, place.device(device)
        try:
            yield group
        except BaseException as error:
            ending = group.ended_by(error)
            if ending is error:
                raise
            raise ending from None
        finally:
            leave()


def _join(place: Launch, device: str) -> tuple[Group, Callable[[], None]]:
    """Return the group of all processes, and a function that leaves it."""
    mine = False
    try:
        require("torch")
        import torch
        import torch.distributed as dist
        from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

        mine, own = not dist.is_initialized(), place.device(device)
        on_gpu = own.startswith("cuda")
        if on_gpu:
            torch.cuda.set_device(own)
        if mine:
            prefix = f"mobilenetv2/{place.restarts}/{next(_GROUPS)}"
            store = PrefixStore(prefix, _rendezvous())
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=ANSWER, store=store,
                rank=place.rank, world_size=place.size,
            )  # fmt: skip
        else:
            others = _get_default_store()
            store = PrefixStore(f"mobilenetv2/{next(_GROUPS)}", others)
        records = dist.new_group(backend="gloo", timeout=WORK)
    except MobileNetV2Error as error:
        error.told = place.rank > 0
        raise
    except (RuntimeError, ValueError) as error:
        failed = RunError(
            f"process {place.rank} of {place.size} did not reach the others ({error}); every "
            "process that torchrun starts has to call train, and MASTER_ADDR and MASTER_PORT have "
            "to be reachable"
        )
        failed.told = place.rank > 0
        raise failed from None

    sums = None if mine or on_gpu else records  # a script's own group may be of NCCL only
    group = Processes(dist.get_rank(), dist.get_world_size(), store, records, sums)

    def leave() -> None:
        # Closed, the connections wake the processes that wait for this one; they close when
        # nothing refers to them any more.
        dist.destroy_process_group(None if mine else group._records)
        group._records = group._sums = None

    del records, sums
    return group, leave
