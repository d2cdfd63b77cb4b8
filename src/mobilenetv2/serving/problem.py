"""Answers to requests that are not served: a status, a sentence, headers."""

from collections.abc import Mapping

from starlette.responses import JSONResponse


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
        return JSONResponse(self.to_dict(), self.status, self.headers)


def busy(seconds: float, sentence: str, status: int = 429) -> Problem:
    """Return the error for work that is to be asked for again after some seconds."""
    return Problem(status, sentence, {"Retry-After": str(max(1, round(seconds)))})
