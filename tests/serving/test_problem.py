import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import JSONResponse

from mobilenetv2.serving import problem
from mobilenetv2.serving.problem import LastAnswer, Problem, busy


def test_a_problem_is_json_with_its_status() -> None:
    response = Problem(415, "no photo", {"X": "y"}).response()
    assert response.status_code == 415 and response.headers["x"] == "y"
    assert json.loads(bytes(response.body)) == {"error": "no photo", "status": 415}


def test_who_is_to_come_again_is_told_when() -> None:
    assert busy(0.2, "full").headers == {"Retry-After": "1"}
    assert busy(7.4, "full", 503).headers == {"Retry-After": "7"}
    assert busy(7.4, "full", 503).status == 503


def test_a_refused_request_can_be_sent_to_its_end(start: Callable[..., Any]) -> None:
    """A connection that is cut at once is reset, and who still sends loses the answer."""
    size = 3 * 2**20
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    with start(ready=False, max_mb=1) as client:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=60) as asked:
                asked.sendall(head.encode())
                first = asked.recv(2**16)  # the answer is complete before the body is sent
                assert first.startswith(b"HTTP/1.1 413") and b"connection: close" in first.lower()
                assert b"1,048,576 bytes" in first
                asked.sendall(bytes(size))
                assert asked.recv(2**16) == b""


def test_who_never_stops_to_send_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem, "LINGER_SECONDS", 0.1)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"more", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    response = Problem(413, "too large", {"Connection": "close"}).response()
    assert isinstance(response, LastAnswer)
    asyncio.run(response({"type": "http"}, receive, send))
    assert [message.get("more_body", False) for message in sent] == [False, True, False]
    usual = Problem(415, "no photo").response()
    assert type(usual) is JSONResponse
