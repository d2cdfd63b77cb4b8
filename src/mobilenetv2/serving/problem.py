"""Answers to requests that are not served: a status, a sentence, headers."""

import asyncio
import contextlib
from collections.abc import Mapping

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

LINGER_SECONDS = 3.0
"""Longest time in which the rest of a refused request is read, before its connection is closed."""


class LastAnswer(JSONResponse):
    """Answer that is complete before its request is, and after which the connection is closed.

    The rest of the request is read for a while, and dropped: a connection that is closed with bytes
    unread is reset, and a caller that still sends, such as a proxy, may lose the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, and end when the caller has stopped to send."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):  # the caller goes on: its connection is cut
            async with asyncio.timeout(LINGER_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        break
        await send({"type": "http.response.body", "body": b""})


class Problem(Exception):
    """Error of a request, which becomes its answer.

    Args:
        status: HTTP status.
        sentence: what is wrong, where, and what to do.
        headers: further headers.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {"error": self.sentence, "status": self.status}

    def response(self) -> JSONResponse:
        """Return the answer."""
        kind = LastAnswer if self.headers.get("Connection") == "close" else JSONResponse
        return kind(self.to_dict(), self.status, self.headers)


def busy(seconds: float, sentence: str, status: int = 429) -> Problem:
    """Return the error for work that is to be asked for again after some seconds."""
    return Problem(status, sentence, {"Retry-After": str(max(1, round(seconds)))})
