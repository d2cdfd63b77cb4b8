"""Routes of a server: answers to photos, heat maps, health, metrics and the page."""

import asyncio
import re
from collections.abc import Awaitable, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar

from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.runtime.answers import Answer
from mobilenetv2.serving.computing.compute import (
    EXPLAIN,
    PHOTOS,
    ModelChangedError,
    digest_of,
)
from mobilenetv2.serving.computing.pool import Admission, Pool
from mobilenetv2.serving.computing.process import Result
from mobilenetv2.serving.device_files import NAMES, device_file
from mobilenetv2.serving.metrics import Metrics
from mobilenetv2.serving.models import Served, find, known_names
from mobilenetv2.serving.page_facts import Facts, page_facts
from mobilenetv2.serving.page_files import INDEX, page_file
from mobilenetv2.serving.problem import Problem
from mobilenetv2.serving.requests import (
    Upload,
    announced_size,
    read_body,
    require_photo,
    uploads,
)
from mobilenetv2.serving.settings import Settings
from mobilenetv2.spec.mapping import suggestion

Found = TypeVar("Found")
LARGE_BODY = 2**20
"""Bytes of a form from which on a thread takes it apart, while others are served."""


class Routes:
    """Functions that answer requests.

    Args:
        models: the models.
        settings: the server's settings.
        pool: what computes.
        metrics: counters.
    """

    def __init__(
        self, models: Sequence[Served], settings: Settings, pool: Pool, metrics: Metrics
    ) -> None:
        self.models, self.settings, self.pool, self.metrics = models, settings, pool, metrics
        self._device_files: dict[tuple[str, str], asyncio.Task[bytes]] = {}

    # ------------------------------------------------------------ photos

    async def predict(self, request: Request) -> Response:
        """Answer the photos of a request."""
        _require_known(request, ("model", "top"))
        model, top = self.model_of(request), self._top_of(request)
        with self.pool.admit(1, announced_size(request, self.settings)) as places:
            photos = await self._photos_of(request, places)
            answers = await self.awaited(
                request, model, self._answers(model, photos, top), len(photos)
            )
        if len(answers) == 1 and "status" in answers[0]:
            problem = answers[0]["problem"]
            raise problem
        for answer in answers:
            answer.pop("problem", None)
        return JSONResponse({"model": model.name, "answers": answers})

    async def explain(self, request: Request) -> Response:
        """Answer with the heat map of a class on one photo, as a PNG file."""
        _require_known(request, ("model", "class"))
        model = self.model_of(request)
        if not model.explains:
            raise Problem(
                400, f"the model {model.name} gives no feature map, so that there is no heat map; "
                "serve its model folder"
            )  # fmt: skip
        with self.pool.admit(1, announced_size(request, self.settings)) as places:
            photos = await self._photos_of(request, places)
            if len(photos) != 1:
                raise Problem(400, f"a heat map is of one photo, not of {len(photos)}")
            if problem := require_photo(photos[0]):
                self._count(model, "refused")
                raise problem
            wanted = {"class": request.query_params.get("class")}
            work = self.pool.compute(model.name, EXPLAIN, photos[0].data, options=wanted)
            (found,) = await self.awaited(request, model, work, 1)
        if isinstance(found, Problem):
            raise found
        assert isinstance(found, dict)
        headers = {
            "X-Class-Index": str(found["index"]), "X-Probability": repr(found["probability"]),
        }  # fmt: skip
        return Response(found["png"], media_type="image/png", headers=headers)

    async def _photos_of(self, request: Request, places: Admission) -> list[Upload]:
        """Return the photos of a request, and take places for all of them."""
        body = await read_body(request, self.settings, places)
        kind = request.headers.get("content-type", "")
        most = self.settings.photos
        if len(body) > LARGE_BODY and kind.startswith("multipart/"):
            photos = await run_in_threadpool(uploads, kind, body, most)
        else:
            photos = uploads(kind, body, most)
        places.more(len(photos) - 1, 0)
        return photos

    async def _answers(
        self, model: Served, photos: Sequence[Upload], top: int | None
    ) -> list[dict[str, Any]]:
        return await asyncio.gather(*(self._answer(model, photo, top) for photo in photos))

    async def _answer(self, model: Served, photo: Upload, top: int | None) -> dict[str, Any]:
        found: Result | None = require_photo(photo)
        if found is None:
            (found,) = await self.pool.compute(model.name, PHOTOS, photo.data)
        else:
            self._count(model, "refused")
        if isinstance(found, Problem):
            return {"image": photo.name, **found.to_dict(), "problem": found}
        assert not isinstance(found, dict)
        return answer_of(model, found).to_dict(top) | {"image": photo.name}

    async def computed(
        self, model: Served, kind: str, parts: Sequence[tuple[bytes, int]]
    ) -> list[Result]:
        """Return the outputs of admitted photos, each with its number of photos, in order."""
        work = (self.pool.compute(model.name, kind, data, count) for data, count in parts)
        return [one for found in await asyncio.gather(*work) for one in found]

    async def awaited(
        self, request: Request, model: Served, work: Awaitable[Found], photos: int
    ) -> Found:
        """Return the result of work, unless the caller leaves or the deadline passes.

        Raises:
            Problem: the deadline has passed (504), or the caller has left (499, which nobody sees).
        """
        task = asyncio.ensure_future(work)
        left = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait(
                (task, left), timeout=self.settings.deadline, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                return task.result()
            if left.done():
                raise Problem(499, "the caller left before its answer")
            self.metrics.photos.labels(model.name, "late").inc(photos)
            raise Problem(
                504, f"no answer within {self.settings.deadline:g} seconds; send it again later"
            )
        finally:
            task.cancel()
            left.cancel()

    def model_of(self, request: Request) -> Served:
        """Return the model that a request names by ``model``, or the first one.

        Raises:
            Problem: there is no such model (404).
        """
        name = request.query_params.get("model")
        found = find(self.models, name)
        if found is None:
            raise Problem(404, f"no model {name!r} here; there is {known_names(self.models)}")
        return found

    @staticmethod
    def _top_of(request: Request) -> int | None:
        given = request.query_params.get("top")
        if given is None:
            return None
        if not re.fullmatch("[0-9]{1,6}", given) or not 1 <= int(given) <= 100_000:
            raise Problem(400, f"top {given[:40]!r} is not a number of classes, such as top=5")
        return int(given)

    def _count(self, model: Served, outcome: str) -> None:
        self.metrics.photos.labels(model.name, outcome).inc()

    # ------------------------------------------------------------ the server

    async def health(self, request: Request) -> Response:
        """Answer with the state of the server."""
        return JSONResponse(self.pool.to_dict(), 200 if self.pool.ready else 503)

    async def figures(self, request: Request) -> Response:
        """Answer with the metrics."""
        return Response(self.metrics.text(), media_type=self.metrics.media_type)

    # ------------------------------------------------------------ the page

    async def page(self, request: Request) -> Response:
        """Answer with a file of the page."""
        path = request.scope["page_path"] or INDEX
        file = page_file(path)
        if file is None and path == INDEX:  # an installation without the page
            return RedirectResponse("docs")
        if file is None:
            raise Problem(404, f"there is no file {path[:100]!r}")
        headers = {"ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        data = file.data
        if file.gzipped:
            if "gzip" in request.headers.get("accept-encoding", ""):
                headers["Content-Encoding"] = "gzip"
            else:
                data = file.plain()
        return Response(data, media_type=file.media_type, headers=headers)

    async def facts(self, request: Request) -> Response:
        """Answer with the facts that the page needs."""
        limits = {"bytes": self.settings.max_bytes, "photos": self.settings.photos}
        sizes = {
            name: len(task.result())
            for (name, file), task in self._device_files.items()
            if file == NAMES[0] and task.done() and task.exception() is None
        }
        facts = [Facts(one.name, one.place, one.config, one.explains) for one in self.models]
        return JSONResponse(page_facts(facts, limits, sizes))

    async def device(self, request: Request) -> Response:
        """Answer with a file with which a browser computes a model."""
        name, file = request.path_params["name"], request.path_params["file"]
        model = next((one for one in self.models if one.name == name), None)
        if model is None or file not in NAMES or not model.place.is_dir():
            raise Problem(404, f"there is no file {file[:100]!r} of a model {name[:100]!r}")
        task = self._device_files.get((name, file))
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            making = run_in_threadpool(_unchanged, model, file)
            task = self._device_files[name, file] = asyncio.ensure_future(making)
        try:
            data = await asyncio.shield(task)
        except ModelChangedError as error:
            raise Problem(503, str(error)) from None
        except (MobileNetV2Error, OSError) as error:
            raise Problem(500, f"{name}/{file}: {error}") from None
        tag = f'"{hash(data) & (2**64 - 1):x}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        kind = "application/json" if PurePosixPath(file).suffix == ".json" else None
        return Response(data, media_type=kind or "application/octet-stream", headers=headers)


def _require_known(request: Request, names: Sequence[str]) -> None:
    """Refuse a request with a parameter that is none of ``names`` (400)."""
    for name in request.query_params:
        if name not in names:
            raise Problem(400, f"unknown parameter {name[:40]!r}; {suggestion(name[:40], names)}")


def _unchanged(model: Served, file: str) -> bytes:
    """Return a file for the browser, which is of the model that the server started with."""
    data = device_file(model.place, file)
    if digest_of(model.place) != model.digest:
        raise ModelChangedError(model.place)
    return data


def answer_of(model: Served, outputs: NDArray) -> Answer:
    """Return the answer of a model's float32 outputs (outputs,) for one photo."""
    config = model.config
    values = probabilities(outputs, config.outputs)
    return Answer(values, config.labels, config.outputs)


async def _left(request: Request) -> None:
    """Return when the caller has left."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
