import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.serving.server import _listen
from mobilenetv2.serving.settings import Settings

Jpeg = Callable[..., bytes]


@contextmanager
def command(*words: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server of the command line, and its address once it is ready."""
    line = [sys.executable, "-m", "mobilenetv2", "serve", "--port", "0", "--workers", "1", *words]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        address = ""
        for said in process.stderr:
            if found := re.search(r"at (http://\S+)", said):
                address = found[1]
                break
        yield process, address
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_what_was_accepted_is_answered_at_sigterm(jpeg: Jpeg) -> None:
    with command("--model", "embedded", "--no-access-log") as (process, address):
        statuses: list[int] = []
        files = [("f", (f"{at}.png", jpeg(at, "PNG", 700))) for at in range(10)]

        def ask() -> None:
            try:
                response = httpx.post(f"{address}/predict", files=files, timeout=60)
                statuses.append(response.status_code)
            except httpx.TransportError:
                statuses.append(0)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        admitted = 0
        while admitted < 31 and all(thread.is_alive() for thread in threads):
            admitted = httpx.get(f"{address}/health").json()["admitted_photos"]
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.wait(60) == 0
        if admitted >= 31:  # all four were there; else the machine is too fast or too busy
            assert statuses == [200] * 4
        assert 200 in statuses


def test_ctrl_c_ends_it() -> None:
    if os.name == "nt":
        pytest.skip("Windows has no SIGINT for one process")
    with command("--model", "embedded") as (process, address):
        assert httpx.get(f"{address}/v2/health/live").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MobileNetV2Error, match=f"{port} is in use"):
            _listen(Settings(port=port))


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(MobileNetV2Error, match=r"192\.0\.2\.1"):
        _listen(Settings(host="192.0.2.1"))
    with pytest.raises(MobileNetV2Error, match="no-such-host"):
        _listen(Settings(host="no-such-host"))
