import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

import mobilenetv2 as mn
from mobilenetv2.serving import connections
from mobilenetv2.serving.server import _Server
from mobilenetv2.serving.settings import Settings


@contextlib.contextmanager
def served(**settings: float) -> Iterator[tuple[str, int]]:
    """The address of a server as `run` makes it, in a thread."""
    given = Settings(port=0, workers=1, **settings)  # type: ignore[arg-type]
    server = _Server(mn.app("embedded", workers=1, access_log=False), given, "here")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            end = time.monotonic() + 60
            while not server.started:
                assert time.monotonic() < end
                time.sleep(0.01)
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


def live(address: tuple[str, int]) -> int:
    return httpx.get(f"http://127.0.0.1:{address[1]}/v2/health/live", timeout=60).status_code


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_connection_without_a_complete_head_is_closed(sent: bytes) -> None:
    with served(body_seconds=0.3) as address:
        with socket.create_connection(address, timeout=60) as idle:
            idle.sendall(sent)
            with contextlib.suppress(ConnectionResetError):  # closed either way
                assert idle.recv(1) == b""
        whole = b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.create_connection(address, timeout=60) as second:
            second.sendall(whole)
            assert second.recv(4096).startswith(b"HTTP/1.1 200")
            second.sendall(whole[:9])  # the next head never ends
            with contextlib.suppress(ConnectionResetError):
                while second.recv(4096):
                    continue


def test_idle_connections_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda _: 10)
    with served() as address, contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(address)) for _ in range(30)]
        assert [live(address) for _ in range(5)] == [200] * 5
        for one in idle[-5:]:  # the oldest were closed, though all came within a millisecond
            one.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("files", "least"), [(200, 50), (1024, 500), (10**6, 4096)])
def test_the_limit_is_below_that_of_files(
    monkeypatch: pytest.MonkeyPatch, files: int, least: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert least <= connections.most_connections(2) < files
