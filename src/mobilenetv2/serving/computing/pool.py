"""Processes that compute, the queue before them, and the admission of photos to it.

A photo is admitted before its bytes are read. It waits until a process takes it, together with
others for the same model. A process holds two groups at most: one that it computes, and one that it
finds when it is done. A process that dies is replaced; what it held fails, and nothing else.
"""

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.machine import workers
from mobilenetv2.serving.computing.compute import EXPLAIN
from mobilenetv2.serving.computing.process import Group, Item, Lost, Process, Result
from mobilenetv2.serving.metrics import Metrics
from mobilenetv2.serving.problem import Problem, busy
from mobilenetv2.serving.settings import Settings

DEPTH = 2
"""Most groups that a process holds."""
MOST_GROUP_BYTES = 64 * 2**20
"""Most bytes of a group of more than one photo."""
STUCK_SECONDS = 120
"""Seconds without an answer after which a process is taken for stuck, and killed."""
FAILURES = 3
"""Number of failed starts in a row after which a process counts as failed."""
MOST_PAUSE = 10.0
"""Longest pause between two starts of a process that fails, in seconds."""
END_SECONDS = 5.0
GONE = "the process that computed it died; send it again"


class Admission:
    """Places of one request in the queue, which are given back at the end of a ``with`` block."""

    def __init__(self, pool: "Pool", photos: int, size: int) -> None:
        self._pool, self.photos, self.size = pool, 0, 0
        self.more(photos, size)

    def more(self, photos: int, size: int) -> None:
        """Take further places, or give some back if a number is negative.

        Raises:
            Problem: there are no more.
        """
        self._pool._take_places(photos, size)
        self.photos += photos
        self.size += size

    def __enter__(self) -> "Admission":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool._take_places(-self.photos, -self.size)


@dataclass(slots=True)
class _Slot:
    """Place of a process, and of those that replace it."""

    process: Process | None = None
    state: str = "starting"
    restarts: int = 0
    reason: str = ""


@dataclass(slots=True)
class _Queue:
    """Items that wait, in the order in which they came."""

    items: deque[Item] = field(default_factory=deque)


class Pool:
    """Processes with the queue before them. All methods are called in one event loop.

    Args:
        job: first message of each process.
        settings: settings of the server.
        metrics: counters.
        note: function that is called with a sentence about a process that failed.
    """

    def __init__(
        self, job: Mapping[str, Any], settings: Settings, metrics: Metrics,
        note: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._job, self._settings, self._metrics, self._note = job, settings, metrics, note
        self._slots = [_Slot() for _ in range(settings.workers or workers())]
        self._queues: dict[tuple[str, str], _Queue] = {}
        self._numbers = itertools.count()
        self._keepers: list[asyncio.Task[None]] = []
        self._later: asyncio.TimerHandle | None = None
        self._photos = self._bytes = 0
        self._pace = 0.05
        """Seconds that a process takes for a photo, a moving mean."""
        self._closing = False
        self.draining = False
        """True if no further photo is admitted."""
        self.failed: asyncio.Future[MobileNetV2Error] | None = None
        """Set if a model cannot be loaded at all."""

    def start(self) -> None:
        """Start the processes, in the event loop that runs."""
        self.failed = asyncio.get_running_loop().create_future()
        self._keepers = [
            asyncio.create_task(self._keep(slot, number == 0))
            for number, slot in enumerate(self._slots)
        ]

    # ------------------------------------------------------------ state

    @property
    def live(self) -> int:
        """Number of processes that can compute."""
        return sum(slot.state == "ready" for slot in self._slots)

    @property
    def ready(self) -> bool:
        """True if photos are admitted: a process can compute, and the server does not end."""
        return self.live > 0 and not self.draining

    @property
    def admitted(self) -> int:
        """Number of photos that were admitted and have no answer yet."""
        return self._photos

    @property
    def waiting(self) -> int:
        """Number of photos that wait for a process."""
        return sum(item.count for queue in self._queues.values() for item in queue.items)

    def pids(self) -> list[int]:
        """Return the numbers of the processes that can compute."""
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain values for JSON."""
        return {
            "ready": self.ready, "draining": self.draining, "admitted_photos": self._photos,
            "waiting_photos": self.waiting,
            "processes": [{"state": slot.state, "restarts": slot.restarts} for slot in self._slots],
        }  # fmt: skip

    # ------------------------------------------------------------ admission

    def admit(self, photos: int, size: int) -> Admission:
        """Take places for a request, before its bytes are read.

        Args:
            photos: number of photos.
            size: their bytes.

        Raises:
            Problem: the server ends or is not ready (503), or the queue is full (429).
        """
        if self.draining:
            raise busy(5, "the server is shutting down; send it again", 503)
        if not self.live:
            reason = next((slot.reason for slot in self._slots if slot.state == "failed"), "")
            raise busy(
                2, f"the models are not ready{f': {reason}' if reason else ''}; send it again", 503
            )
        return Admission(self, photos, size)

    def _take_places(self, photos: int, size: int) -> None:
        more_photos, more_bytes = self._photos + photos, self._bytes + size
        if photos > 0 and more_photos > self._settings.queue:
            raise busy(self._wait(), "the queue of photos is full; send it again later")
        if size > 0 and more_bytes > self._settings.queue_bytes:
            raise busy(self._wait(), "the memory for photos is full; send it again later")
        self._photos, self._bytes = more_photos, more_bytes
        self._metrics.places.set(more_photos)

    def _wait(self) -> float:
        """Return the seconds until the photos of the queue will have been computed."""
        return math.ceil(self._photos * self._pace / max(1, self.live))

    # ------------------------------------------------------------ work

    async def compute(
        self, model: str, kind: str, data: bytes, count: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> list[Result]:  # fmt: skip
        """Return the outputs of admitted photos, once a process has computed them.

        Args:
            model: name of the model.
            kind: kind of the group, one of :mod:`mobilenetv2.serving.computing.compute`.
            data: a photo's file, or ``count`` pictures.
            count: number of photos.
            options: options of the kind.
        """
        loop = asyncio.get_running_loop()
        item = Item(model, kind, data, count, options or {}, loop.time(), loop.create_future())
        self._queues.setdefault((model, kind), _Queue()).items.append(item)
        self._dispatch()
        try:
            return await item.future
        except asyncio.CancelledError:
            self._metrics.photos.labels(model, "dropped").inc(count)
            raise

    def _dispatch(self) -> None:
        """Give groups to processes, as long as one has room."""
        loop = asyncio.get_running_loop()
        while queue := self._oldest():
            rooms = [
                slot.process for slot in self._slots
                if slot.state == "ready" and slot.process and len(slot.process.held) < DEPTH
            ]  # fmt: skip
            if not rooms:
                break
            room = min(rooms, key=lambda one: len(one.held))
            first = queue.items[0]
            share = math.ceil(len(queue.items) / len(rooms))
            most = 1 if first.kind == EXPLAIN else min(self._settings.batch, share)
            due = first.since + self._settings.delay_ms / 1000
            if room.held and len(queue.items) < self._settings.batch and due > loop.time():
                if self._later is None:
                    self._later = loop.call_at(due, self._dispatch_later)
                break
            group = self._group(queue, most)
            number = next(self._numbers)
            self._metrics.groups.labels(first.model).observe(sum(one.count for one in group.items))
            room.send(number, group)
            self._watch(room)
        self._metrics.waiting.set(self.waiting)

    @staticmethod
    def _watch(process: Process) -> None:
        """Kill a process that does not answer the group that it computes."""
        first = next(iter(process.held.values()), None)
        if first is not None and first.timer is None:
            loop = asyncio.get_running_loop()
            first.timer = loop.call_later(STUCK_SECONDS, process.kill)

    def _dispatch_later(self) -> None:
        self._later = None
        self._dispatch()

    def _oldest(self) -> _Queue | None:
        """Return the queue whose first item has waited longest; items nobody awaits are dropped."""
        for queue in self._queues.values():
            while queue.items and queue.items[0].future.done():
                queue.items.popleft()
        filled = [queue for queue in self._queues.values() if queue.items]
        return min(filled, key=lambda queue: queue.items[0].since, default=None)

    @staticmethod
    def _group(queue: _Queue, most: int) -> Group:
        items: list[Item] = []
        size = 0
        while queue.items and len(items) < most:
            item = queue.items[0]
            if items and size + len(item.data) > MOST_GROUP_BYTES:
                break
            queue.items.popleft()
            if not item.future.done():
                items.append(item)
                size += len(item.data)
        return Group(items)

    async def _keep(self, slot: _Slot, loud: bool) -> None:
        """Keep a process running in a slot, until the pool closes."""
        failures = 0
        while not self._closing:
            try:
                process = await Process.start(self._job, loud)
            except (MobileNetV2Error, Lost, OSError) as error:
                failures += 1
                slot.reason = str(error)
                slot.state = "failed" if failures >= FAILURES else "starting"
                final = isinstance(error, MobileNetV2Error) and not slot.restarts
                if final or (failures >= FAILURES and not self.live):
                    self._fail(error)
                self._note(f"a process that computes cannot start: {error}")
                await asyncio.sleep(min(MOST_PAUSE, 0.25 * 2**failures))
                continue
            failures, loud = 0, False
            slot.process, slot.state, slot.reason = process, "ready", ""
            self._metrics.ready.set(self.live)
            self._dispatch()
            await self._read(process)
            slot.process, slot.state = None, "starting"
            self._metrics.ready.set(self.live)
            self._lose(process)
            await process.end(0)
            if not self._closing:
                slot.restarts += 1
                self._metrics.restarts.inc()
                self._note("a process that computes died, and is replaced")

    def _fail(self, error: Exception) -> None:
        """Tell whoever runs the server that no process can start."""
        if self.failed is not None and not self.failed.done():
            known = error if isinstance(error, MobileNetV2Error) else ArtifactError(str(error))
            self.failed.set_result(known)

    async def _read(self, process: Process) -> None:
        """Take the answers of a process until it ends."""
        while True:
            try:
                said, data = await process.receive()
                group = process.held.pop(int(said["id"]))
                self._watch(process)
                self._finish(group, said, data)
            except (Lost, KeyError, ValueError, TypeError):  # nothing that it says counts any more
                return
            self._dispatch()

    def _finish(self, group: Group, said: Mapping[str, Any], data: bytes) -> None:
        """Give each item its results."""
        if group.timer is not None:
            group.timer.cancel()
        photos = sum(item.count for item in group.items)
        seconds, model = float(said["seconds"]), group.items[0].model
        self._metrics.computing.labels(model).observe(seconds)
        self._pace += 0.1 * (seconds / photos - self._pace)
        entries = said["entries"]
        if group.items[0].kind == EXPLAIN:
            results: list[Result] = [
                Problem(int(one["status"]), str(one["error"])) if "error" in one
                else {**one, "png": data}
                for one in entries
            ]  # fmt: skip
        else:
            given = sum(entry is None for entry in entries)
            rows = iter(np.frombuffer(data, np.float32).reshape(given, -1) if given else ())
            results = [
                next(rows) if one is None else Problem(int(one["status"]), str(one["error"]))
                for one in entries
            ]
        if len(results) != photos:
            results = [Problem(500, "the process gave another number of answers")] * photos
        remaining = iter(results)
        for item in group.items:
            own = list(itertools.islice(remaining, item.count))
            if not item.future.done():
                item.future.set_result(own)
                for one in own:
                    outcome = "refused" if isinstance(one, Problem) else "answered"
                    self._metrics.photos.labels(model, outcome).inc()

    def _lose(self, process: Process) -> None:
        """Fail what a process held when it died."""
        for group in process.held.values():
            if group.timer is not None:
                group.timer.cancel()
            for item in group.items:
                if not item.future.done():
                    self._metrics.photos.labels(item.model, "lost").inc(item.count)
                    item.future.set_result([busy(1, GONE, 503)] * item.count)
        process.held.clear()

    async def close(self, seconds: float) -> None:
        """Admit nothing more, answer what was admitted, and end the processes.

        Args:
            seconds: longest time for the answers.
        """
        self.draining = True
        end = asyncio.get_running_loop().time() + seconds
        while self._photos and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
        self._closing = True
        processes = [slot.process for slot in self._slots if slot.process is not None]
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for process in processes:
            self._lose(process)
        await asyncio.gather(*(process.end(END_SECONDS) for process in processes))
        if self._later is not None:
            self._later.cancel()
