"""A server of the embedded model on loopback, and photos for it."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import mobilenetv2 as mn

SECONDS = 60
"""Longest wait for a server."""
Start = Callable[..., Any]


def photo(seed: int = 0, kind: str = "JPEG", side: int = 64) -> bytes:
    """The file of a noisy picture."""
    values = np.random.default_rng(seed).integers(0, 256, (side, side + 8, 3), np.uint8)
    memory = io.BytesIO()
    Image.fromarray(values).save(memory, kind)
    return memory.getvalue()


@contextmanager
def running(
    models: Any = "embedded", ready: bool = True, **settings: Any
) -> Iterator[httpx.Client]:
    """A client of a server that runs in a thread, on a port of its own."""
    import uvicorn

    settings = {"workers": 1, "access_log": False, **settings}
    app = mn.app(models, **settings)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=0,
            lifespan="on",
            log_config=None,
            access_log=False,
            ws="none",
            server_header=False,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait(lambda: server.started and bool(server.servers))
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client:
            client.app = app  # type: ignore[attr-defined]
            if ready:
                wait(lambda: client.get("/v2/health/ready").status_code == 200)
            yield client
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        assert not thread.is_alive()


def wait(true: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def start() -> Start:
    """Context of a server with other settings."""
    return running


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client of a server of the embedded model, called 'small'."""
    with running({"small": "embedded"}) as client:
        yield client


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """Makes the file of a noisy picture by its number."""
    return photo
