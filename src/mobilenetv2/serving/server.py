"""Server that runs an application: a socket, signals, and the end."""

import asyncio
import contextlib
import errno
import math
import signal
import socket
import threading
import types

import uvicorn

from mobilenetv2.errors import MobileNetV2Error, argument, disk_sentence
from mobilenetv2.machine import workers
from mobilenetv2.progress import say
from mobilenetv2.serving import connections
from mobilenetv2.serving.app import Application
from mobilenetv2.serving.settings import Settings

BACKLOG = 2048
GRACE = 5.0
"""Seconds that connections have to end, beyond those for a body and its answer."""


def run(app: Application, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; what was accepted is answered.

    Raises:
        MobileNetV2Error: the address is in use or impossible, or a model cannot be loaded.
        KeyboardInterrupt: Ctrl-C.
    """
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    server = _Server(app, settings, f"http://{f'[{host}]' if ':' in host else host}:{port}")
    before = None
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal once more after its end, which is no failure.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server.run(sockets=[listener])
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
        listener.close()
    if server.broken is not None:
        raise server.broken


def _listen(settings: Settings) -> socket.socket:
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise MobileNetV2Error(
            f"{argument('host')} {settings.host!r}: {error.strerror}; give an address of this "
            "machine, such as 127.0.0.1 or 0.0.0.0"
        ) from None
    except OSError as error:
        where = f"{settings.host} port {settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise MobileNetV2Error(
                f"{where} is in use by another program; choose another {argument('port')}, or "
                f"{argument('port', 0)} for a free one"
            ) from None
        raise MobileNetV2Error(f"{where} cannot be used: {disk_sentence(error)}") from None


class _Server(uvicorn.Server):
    """Server that refuses new photos as soon as it is to end.

    Args:
        app: the application.
        settings: its settings.
        address: address for the message.
    """

    def __init__(self, app: Application, settings: Settings, address: str) -> None:
        super().__init__(
            uvicorn.Config(
                app, lifespan="on", log_config=None, access_log=False, server_header=False,
                backlog=BACKLOG, timeout_graceful_shutdown=math.ceil(
                    settings.body_seconds + settings.deadline + GRACE
                ),
                ws="none",
            )
        )  # fmt: skip
        self.config.load()
        most = connections.most_connections(settings.workers or workers())
        self.config.http_protocol_class = connections.limited(self.config.http_protocol_class, most)
        self.head_seconds = settings.body_seconds
        self.app, self.address = app, address
        self.broken: MobileNetV2Error | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and watch the models."""
        await super().startup(sockets)
        self._watcher = asyncio.create_task(self._watch())
        self._sweeper = asyncio.create_task(connections.sweep(self.server_state, self.head_seconds))

    async def _watch(self) -> None:
        """Say when the models are ready, or end if one cannot be loaded."""
        said = False
        while not self.should_exit:
            failed = self.app.pool.failed
            if failed is not None and failed.done():
                self.broken, self.should_exit = failed.result(), True
                return
            if not said and self.app.pool.ready:
                names = ", ".join(model.name for model in self.app.models)
                say(f"serving {names} at {self.address} (stop with Ctrl-C)")
                said = True
            await asyncio.sleep(0.02 if not said else 0.5)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new photos, answer what was accepted, and end."""
        self.app.drain()
        say("stopping: no new photos; what was accepted is answered")
        for task in (self._watcher, self._sweeper):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        """Refuse new photos from the signal on."""
        self.app.drain()
        super().handle_exit(sig, frame)
