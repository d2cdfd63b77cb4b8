"""Load generator for servers: HTTP/1.1 over asyncio's sockets, cheap beside what it measures.

A closed loop has N clients, each of which sends its next request when it has its answer. An open
loop sends requests at a rate, whatever has been answered. Every request is recorded.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

BROKEN, REFUSED, LATE = -1, -2, -3
"""Statuses of a request whose connection ended without an answer, that found nobody listening, or
that was not answered in time."""
WORDS = {BROKEN: "connection ended", REFUSED: "nobody listens", LATE: "no answer"}
NEVER = float("inf")


@dataclass(slots=True)
class Sample:
    """A request; times are those of time.perf_counter."""

    number: int
    """Number of its body."""
    due: float
    """Time at which it was to be sent."""
    sent: float
    done: float = 0.0
    status: int = 0
    body: bytes = b""
    """Body of the answer."""
    closes: bool = False
    """True if the connection ends with the answer."""
    reused: bool = False
    """True if its connection had carried another request."""

    @property
    def seconds(self) -> float:
        """Seconds from when it was due until its answer was there."""
        return self.done - self.due


@dataclass(slots=True)
class Load:
    """Outcomes of the requests of a load."""

    samples: list[Sample] = field(default_factory=list)
    begin: float = 0.0
    end: float = 0.0

    def statuses(self) -> Counter[int]:
        """Return the number of requests by status."""
        return Counter(sample.status for sample in self.samples)

    def of(self, status: int) -> list[Sample]:
        """Return the requests that have a status."""
        return [sample for sample in self.samples if sample.status == status]

    def rate(self) -> float:
        """Return the answers with 200 a second, of those that came before the end."""
        good = sum(one.status == 200 and one.done <= self.end for one in self.samples)
        return good / (self.end - self.begin)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that ``share`` of all values do not exceed; NaN without values."""
    found = sorted(values)
    if not found:
        return float("nan")
    return found[min(len(found) - 1, int(share * len(found)))]


def named(statuses: Mapping[int, int]) -> str:
    """Return '1,200 with 200, 3 with 429', 'none' without any."""
    words = (f"{count:,} with {WORDS.get(status, status)}" for status, count in statuses.items())
    return ", ".join(words) or "none"


def form(file: bytes, name: str = "photo.jpg", field_name: str = "file") -> tuple[str, bytes]:
    """Return the media type and the body of a form with one file."""
    boundary = "7d9f2c41b6a84e05"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field_name}"; filename="{name}"'
        "\r\nContent-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + file + f"\r\n--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", body


def post(path: str, kind: str, body: bytes) -> bytes:
    """Return the bytes of a request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """Connection that carries one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.sample: Sample | None = None
        self.answered: asyncio.Future[None] | None = None
        self.is_open = self.used = False
        self._bytes = bytearray()
        self._length = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note that the connection is there."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.is_open = transport, True

    async def ask(self, request: bytes, sample: Sample, seconds: float, ends: bool) -> None:
        """Send a request, and return when its sample has what became of it."""
        assert self.transport is not None
        self.sample, self._length = sample, -1
        self._bytes.clear()
        sample.reused, self.used = self.used, True
        self.answered = asyncio.get_running_loop().create_future()
        sample.sent = time.perf_counter()
        self.transport.write(request)
        if ends:
            self.transport.write_eof()
        timer = asyncio.get_running_loop().call_later(seconds, self._end, LATE)
        await self.answered
        timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        if self.sample is None:
            return
        self._bytes += data
        if self._length < 0:
            head_end = self._bytes.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = bytes(self._bytes[:head_end]).lower()
            self.sample.status = -int(head[9:12])  # positive when the body is there
            self.sample.closes = b"\r\nconnection: close" in head
            length = head.find(b"\r\ncontent-length:")
            if length < 0:
                self._length = 2**62  # until the connection ends
            else:
                self._length = int(head[length + 17 :].split(b"\r\n", 1)[0])
            del self._bytes[: head_end + 4]
        if len(self._bytes) >= self._length:
            self._end(-self.sample.status)

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end of the connection, which can be that of an answer."""
        self.is_open = False
        if self.sample is not None:
            self._end(-self.sample.status if self._length == 2**62 else BROKEN)

    def _end(self, status: int) -> None:
        sample, answered = self.sample, self.answered
        if sample is None or answered is None:
            return
        sample.done, sample.status, sample.body = time.perf_counter(), status, bytes(self._bytes)
        self.sample = None
        if sample.closes or status < 0:
            self.close()
        answered.set_result(None)

    def close(self) -> None:
        """End the connection."""
        self.is_open = False
        if self.transport is not None:
            self.transport.close()


class Client:
    """Client of a server with idle connections to be used again.

    Args:
        port: port of the server, on loopback.
        requests: bytes of the requests, which are sent in turns.
        seconds: longest wait for an answer.
        keep: True to keep the bodies of answers.
        ends: True to close the sending side behind each request.
    """

    def __init__(
        self, port: int, requests: Sequence[bytes], seconds: float = 60.0, keep: bool = False,
        ends: bool = False,
    ) -> None:  # fmt: skip
        self.port, self.requests, self.seconds, self.keep = port, requests, seconds, keep
        self.ends = ends
        self.load = Load()
        self._idle: list[Connection] = []
        self._numbers = count()

    async def send(self, due: float) -> Sample:
        """Send the next request, and return what became of it."""
        number = next(self._numbers) % len(self.requests)
        sample = Sample(number, due, due)
        self.load.samples.append(sample)
        connection = await self._connection()
        if connection is None:
            sample.sent = sample.done = time.perf_counter()
            sample.status = REFUSED
            return sample
        await connection.ask(self.requests[number], sample, self.seconds, self.ends)
        if connection.is_open:
            self._idle.append(connection)
        if not self.keep:
            sample.body = b""
        return sample

    async def _connection(self) -> Connection | None:
        """Return an idle connection, or a new one; None where nobody listens."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        try:
            return (await loop.create_connection(Connection, "127.0.0.1", self.port))[1]
        except OSError:
            return None

    def close(self) -> None:
        """End all idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()


async def closed_loop(
    client: Client, clients: int, seconds: float = NEVER, times: float = NEVER,
    stopped: Callable[[], bool] = lambda: False,
) -> Load:  # fmt: skip
    """Send requests by N clients until the time or the number of requests is reached.

    The clients pause for 10 ms where nobody listens.

    Args:
        client: where to, and what.
        clients: number of clients.
        seconds: duration.
        times: number of requests.
        stopped: function that is True when the load is to end.
    """
    load = client.load
    load.begin = time.perf_counter()
    left = count()

    async def one() -> None:
        while (now := time.perf_counter()) < load.begin + seconds and not stopped():
            if next(left) >= times:
                return
            if (await client.send(now)).status == REFUSED:
                await asyncio.sleep(0.01)

    await asyncio.gather(*(one() for _ in range(clients)))
    load.end = min(load.begin + seconds, time.perf_counter())
    client.close()
    return load


async def open_loop(client: Client, rate: float, seconds: float) -> Load:
    """Send requests at a rate, evenly spaced, for some time, and wait for all answers."""
    load = client.load
    load.begin = time.perf_counter()
    load.end = load.begin + seconds
    tasks: set[asyncio.Task[Sample]] = set()
    for number in count():
        due = load.begin + number / rate
        if due >= load.end:
            break
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(client.send(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    client.close()
    return load
