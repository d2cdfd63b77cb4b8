"""ASGI application of a server, to be run by :mod:`mobilenetv2.serving.server` or mounted."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilenetv2.progress import say
from mobilenetv2.serving import openapi
from mobilenetv2.serving.computing.compute import job_of
from mobilenetv2.serving.computing.pool import Pool
from mobilenetv2.serving.inference_protocol import InferenceRoutes
from mobilenetv2.serving.log import AccessLog
from mobilenetv2.serving.metrics import Metrics
from mobilenetv2.serving.models import Served
from mobilenetv2.serving.problem import Problem
from mobilenetv2.serving.routes import Routes
from mobilenetv2.serving.security import Guard
from mobilenetv2.serving.settings import Settings

OTHER = "other"
"""Name of all unknown routes in metrics."""
UNEXPECTED = "the server failed at this request; its log on stderr says why"


class Application:
    """ASGI application with its models.

    The processes start with the application's lifespan, or at the first request where the lifespan
    is not run, as in an application that is mounted in another one. They end with the lifespan, or
    with this process.

    Args:
        models: the models.
        settings: the settings.
        tokens: bearer tokens.
        stack: context that keeps what the models need, which ends with the lifespan.
        fast_decode: True to decode JPEG files no larger than needed.
    """

    def __init__(
        self, models: Sequence[Served], settings: Settings, tokens: Sequence[bytes],
        stack: ExitStack, fast_decode: bool = False,
    ) -> None:  # fmt: skip
        self.models, self.settings = tuple(models), settings
        self.metrics = Metrics()
        job = job_of([model.job() for model in models], fast_decode)
        self.pool = Pool(job, settings, self.metrics, say)
        self._stack, self._tokens = stack, bool(tokens)
        self._guard = Guard(settings, tokens)
        self._log = AccessLog() if settings.access_log else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inner: ASGIApp = Starlette(
            routes=self._routes(), lifespan=self._lifespan,
            exception_handlers={
                Problem: _problem, HTTPException: _unknown, Exception: _unexpected
            },
        )  # fmt: skip

    def _routes(self) -> list[Route]:
        routes = Routes(self.models, self.settings, self.pool, self.metrics)
        protocol = InferenceRoutes(routes)
        found = [
            Route("/predict", routes.predict, methods=["POST"]),
            Route("/explain", routes.explain, methods=["POST"]),
            Route("/health", routes.health),
            Route("/metrics", routes.figures),
            Route("/openapi.json", self._openapi),
            Route("/docs", self._docs),
            Route("/v2", protocol.server),
            Route("/v2/health/live", protocol.live),
            Route("/v2/health/ready", protocol.ready),
        ]
        for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            found += [
                Route(model, protocol.model),
                Route(f"{model}/ready", protocol.model_ready),
                Route(f"{model}/infer", protocol.infer, methods=["POST"]),
            ]
        if self.settings.page:
            found += [
                Route("/page.json", routes.facts),
                Route("/device/{name}/{file}", routes.device),
                Route("/", routes.page),
                Route("/page/{path:path}", routes.page),
                Route("/vendor/{path:path}", routes.page),
            ]
        return found

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(openapi.description(self._tokens))

    async def _docs(self, request: Request) -> Response:
        return HTMLResponse(openapi.page(self._tokens))

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.start()
        try:
            yield
        finally:
            await self.close()

    def start(self) -> None:
        """Start the processes, once, in the event loop that runs.

        Raises:
            RuntimeError: they run in another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self.pool.start()
        elif self._loop is not loop:
            raise RuntimeError(
                "this application has run in another event loop; make a new one with mn.app"
            )

    def drain(self) -> None:
        """Refuse new photos from now on; those that were admitted are answered."""
        self.pool.draining = True

    async def close(self) -> None:
        """Answer what was admitted, and end the processes."""
        await self.pool.close(self.settings.deadline)
        if self._log is not None:
            self._log.close()
        self._stack.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or run the lifespan."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        self.start()
        begin, headers = time.perf_counter(), Headers(scope=scope)
        origin, status = headers.get("origin"), 0
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        scope.pop("route", None)  # that of an application around this one

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                made = MutableHeaders(raw=message.setdefault("headers", []))
                self._guard.add_headers(made, origin)
                if self.pool.draining:
                    made["Connection"] = "close"
            await send(message)

        response: Response | None = None
        try:
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                response = Response(status_code=204, headers=self._guard.preflight(origin))
            else:
                self._guard.check(path, headers)
                scope["page_path"] = path.lstrip("/")
                await self._inner(scope, receive, answer)
        except Problem as problem:
            response = problem.response()
        except Exception:
            traceback.print_exc()
            if not status:
                response = Problem(500, UNEXPECTED).response()
            elif status != 500:
                raise  # another answer has begun: its connection is cut
        if response is not None:
            await response(scope, receive, answer)
        self._noted(scope, path, status, time.perf_counter() - begin, headers)

    def _noted(
        self, scope: Scope, path: str, status: int, seconds: float, headers: Headers
    ) -> None:
        route = getattr(scope.get("route"), "path", None) or OTHER
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if self._log is not None:
            size = headers.get("content-length", "")[:15]
            self._log.add(
                method=scope["method"], path=path[:200], status=status, seconds=round(seconds, 4),
                bytes=int(size) if size.isdecimal() else None,
            )  # fmt: skip


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _unexpected(request: Request, error: Exception) -> Response:
    return Problem(500, UNEXPECTED).response()


async def _unknown(request: Request, error: Exception) -> Response:
    """Return the answer for a route or a method that is not there."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:100]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        sentence = f"{path} does not take {request.method}; it takes {allowed}"
        return Problem(405, sentence, error.headers).response()
    return Problem(error.status_code, f"there is no {path!r}; /docs lists all routes").response()
