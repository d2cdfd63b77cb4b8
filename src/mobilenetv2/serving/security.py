"""Checks before a request is served: its host, its token, its origin; and headers of answers."""

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders

from mobilenetv2.serving.problem import Problem
from mobilenetv2.serving.settings import Settings

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
    "worker-src 'self' blob:; img-src 'self' blob: data:; connect-src 'self' blob: data:; "
    "style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every answer. The page runs WebAssembly with threads, and asks no other host."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Names of a server that only this machine reaches; other loopback addresses count, too."""
OPEN = ("/health", "/v2/health/live", "/v2/health/ready")
"""Paths that need neither a token nor a certain host: whoever watches a server asks them."""
OPEN_FOLDERS = ("/page/", "/vendor/")
EXPOSED = "Retry-After, X-Class-Index, X-Probability, Inference-Header-Content-Length"
"""Headers of answers that scripts of allowed origins may read."""
METHODS, ALLOWED = "GET, POST", "Authorization, Content-Type, Inference-Header-Content-Length"


class Guard:
    """Checks of requests.

    Args:
        settings: the server's.
        tokens: bearer tokens; none for a server that is open to all who reach it.
    """

    def __init__(self, settings: Settings, tokens: Sequence[bytes]) -> None:
        self._tokens = [hashlib.sha256(token).digest() for token in tokens]
        self._origins = set(settings.origins)
        self._own = settings.is_loopback and not settings.hosts
        self._hosts = set(settings.hosts) or (set(LOOPBACK) if self._own else set())

    def check(self, path: str, headers: Headers) -> None:
        """Raise if a request may not be served.

        Args:
            path: path within the server.
            headers: the request's headers.

        Raises:
            Problem: it is addressed to another host (421), or lacks a token (401).
        """
        if path in OPEN:
            return
        host = _without_port(headers.get("host", ""))
        known = host in self._hosts or (self._own and _is_loopback(host))
        if self._hosts and not known:
            # Otherwise a page of another site could reach this server by a name of its own.
            raise Problem(
                421, f"this server is not called {host[:100]!r}; it answers to "
                f"{', '.join(sorted(self._hosts))} (start it with --host-name for others)"
            )  # fmt: skip
        if self._tokens and not (path == "/" or path.startswith(OPEN_FOLDERS)):
            kind, _, given = headers.get("authorization", "").partition(" ")
            digest = hashlib.sha256(given.strip().encode("latin-1", "replace")).digest()
            # All are compared, so that the time tells nothing.
            fits = [hmac.compare_digest(digest, token) for token in self._tokens]
            if kind.lower() != "bearer" or not any(fits):
                if kind.lower() == "bearer":
                    sentence = "this token is not one of the server's; ask whoever runs it for one"
                else:
                    sentence = "a token is needed: send the header 'Authorization: Bearer TOKEN'"
                raise Problem(401, sentence, {"WWW-Authenticate": "Bearer"})

    def allows(self, origin: str | None) -> bool:
        """Return True if pages of an origin may call this server."""
        return origin is not None and ("*" in self._origins or origin in self._origins)

    def add_headers(self, headers: MutableHeaders, origin: str | None) -> None:
        """Add the headers of every answer, and those for an allowed origin."""
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        if self._origins:
            headers.add_vary_header("Origin")
        if self.allows(origin):
            headers["Access-Control-Allow-Origin"] = str(origin)
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            headers["Access-Control-Expose-Headers"] = EXPOSED

    def preflight(self, origin: str | None) -> dict[str, str]:
        """Return the headers of the answer to a browser that asks before it calls."""
        if not self.allows(origin):
            return {}
        return {
            "Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": ALLOWED,
            "Access-Control-Max-Age": "600",
        }  # fmt: skip


def _without_port(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        address, bracket, _ = host.partition("]")
        return address + bracket
    return host.partition(":")[0].removesuffix(".")


def _is_loopback(host: str) -> bool:
    inside = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return ipaddress.ip_address(inside).is_loopback
    except ValueError:  # a name
        return False
