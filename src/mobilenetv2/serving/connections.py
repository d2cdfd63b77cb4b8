"""Connections of the server: how many there may be, and how long one may send no request."""

import asyncio
import time
from typing import Any

import uvicorn

try:
    import resource
except ImportError:  # Windows has no limit of this kind
    resource = None  # type: ignore[assignment]

RESERVED_FILES = 64
"""Files that are left for the processes' pipes, the models and the listening socket."""
MOST_CONNECTIONS = 4096
"""Most connections where the system allows more files."""
SWEEP_SECONDS = 0.5
"""Seconds between two looks at the connections."""


def most_connections(processes: int) -> int:
    """Return the most connections, below the limit of open files.

    Args:
        processes: number of processes that compute; each has some pipes.
    """
    if resource is None:
        return MOST_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    free = files - RESERVED_FILES - 8 * processes
    return max(files // 4, min(MOST_CONNECTIONS, free), 1)


def now() -> float:
    """Return the time in seconds, finely enough that no two connections came at the same one.

    uvloop's own has milliseconds, and stands still while one round accepts many connections.
    """
    return time.perf_counter()


def limited(kind: type[Any], most: int) -> type[Any]:
    """Return a protocol of uvicorn that makes room for a new connection when there are too many.

    The connection that has been without a request for the longest time is closed; if all have one,
    the new one is.

    Args:
        kind: the protocol: of httptools, or of h11.
        most: most connections.
    """

    class Limited(kind):  # type: ignore[misc]
        """Protocol that knows since when it has had no request."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            """Count the connection, and close one if there are too many."""
            super().connection_made(transport)
            self.idle_since, self.last_cycle = now(), None
            open_ones = [one for one in self.connections if not one.transport.is_closing()]
            if len(open_ones) > most:
                idle = [one for one in open_ones if one is not self and is_idle(one)]
                oldest = min(idle, key=lambda one: one.idle_since, default=self)
                oldest.transport.abort()

    return Limited


def is_idle(connection: Any) -> bool:
    """Return True for a connection without a request whose head has arrived."""
    return connection.cycle is None or connection.cycle.response_complete


async def sweep(state: uvicorn.server.ServerState, seconds: float) -> None:
    """Close connections that have sent no complete head of a request for some seconds.

    uvicorn's own time for this starts after an answer, and ends with the first byte.

    Args:
        state: the server's state.
        seconds: longest time without a request.
    """
    while True:
        await asyncio.sleep(min(SWEEP_SECONDS, seconds))
        for connection in list(state.connections):
            one: Any = connection
            if not is_idle(one) or one.cycle is not one.last_cycle:
                one.idle_since, one.last_cycle = now(), one.cycle
            elif now() - one.idle_since > seconds:
                one.transport.abort()
