"""One process that computes: its start, the groups that it holds, and its answers."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mobilenetv2 import errors
from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.serving.computing.compute import MODULE
from mobilenetv2.serving.problem import Problem
from mobilenetv2.worker import HEAD, START_SECONDS, child_environment

MOST_REPLY = 2**28
"""Largest part of an answer, in bytes."""
Result = NDArray | dict[str, Any] | Problem
"""Outputs of a photo; of an explanation, its class and its PNG file; or an error."""


class Lost(Exception):
    """End of a process's answers."""


@dataclass(slots=True, eq=False)
class Item:
    """A photo that waits, or several pictures in one array."""

    model: str
    kind: str
    data: bytes
    count: int
    """Number of photos: 1, or more for pictures in one array."""
    options: Mapping[str, Any]
    since: float
    future: "asyncio.Future[list[Result]]"


@dataclass(slots=True, eq=False)
class Group:
    """Items that are computed together."""

    items: list[Item]
    timer: asyncio.TimerHandle | None = None


class Process:
    """One process, with its groups.

    Args:
        process: the process, which has said that it is ready.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.held: dict[int, Group] = {}
        self.ended = False

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @classmethod
    async def start(cls, job: Mapping[str, Any], loud: bool) -> "Process":
        """Start a process, and wait until its models have answered.

        Args:
            job: the first message.
            loud: True if it may write notes on stderr.

        Raises:
            MobileNetV2Error: a model cannot be loaded.
            Lost: it died.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-W", "ignore", "-m", MODULE, env=child_environment(),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=None if loud else asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        made = cls(process)
        try:
            async with asyncio.timeout(START_SECONDS):
                made._write(job, [])
                said, _ = await made.receive()
        except (TimeoutError, Lost) as error:
            await made.end(0)
            raise Lost(f"a process that computes did not start ({error or 'too late'})") from None
        except BaseException:
            await made.end(0)
            raise
        if "error" in said:
            await made.end(0)
            kind = getattr(errors, str(said.get("kind")), ArtifactError)
            own = isinstance(kind, type) and issubclass(kind, MobileNetV2Error)
            raise (kind if own else ArtifactError)(str(said["error"]))
        return made

    def send(self, number: int, group: Group) -> None:
        """Send a group; a process that is gone is found by its missing answer."""
        self.held[number] = group
        first = group.items[0]
        said = {
            "id": number, "model": first.model, "kind": first.kind, "options": dict(first.options),
            "sizes": [len(item.data) for item in group.items],
        }  # fmt: skip
        self._write(said, [item.data for item in group.items])

    def _write(self, said: Mapping[str, Any], parts: Sequence[bytes]) -> None:
        assert self._process.stdin is not None
        text = json.dumps(said).encode()
        head = HEAD.pack(len(text), sum(map(len, parts)))
        try:
            self._process.stdin.writelines([head + text, *parts])
        except (RuntimeError, OSError):  # it died: its reader finds that out
            self.kill()

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        """Return the next answer.

        Raises:
            Lost: there is none.
        """
        assert self._process.stdout is not None
        try:
            length, size = HEAD.unpack(await self._process.stdout.readexactly(HEAD.size))
            if length > MOST_REPLY or size > MOST_REPLY:
                raise Lost("its answer is too large")
            text = await self._process.stdout.readexactly(length)
            return json.loads(text), await self._process.stdout.readexactly(size)
        except (asyncio.IncompleteReadError, OSError, ValueError) as error:
            raise Lost(str(error)) from None

    def kill(self) -> None:
        """End the process at once."""
        if self._process.returncode is None and not self.ended:
            try:
                self._process.kill()
            except ProcessLookupError:
                self.ended = True

    async def end(self, seconds: float) -> None:
        """Let the process end by closing its stdin; kill it after some seconds."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        self.ended = True
