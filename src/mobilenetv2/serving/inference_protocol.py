"""The Open Inference Protocol, version 2: metadata, health and inference with tensors.

A model takes ``image``, BYTES [n], files of photos, or ``pictures``, UINT8 [n, height, width,
channels], pictures of the network's size; and gives ``probabilities`` FP32 [n, classes] and
``logits`` FP32 [n, outputs]. Tensors are JSON, or binary behind the JSON (the binary extension).
"""

import asyncio
import base64
import binascii
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mobilenetv2 import __version__
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.serving.computing.compute import PHOTOS, PICTURES
from mobilenetv2.serving.computing.pool import Admission
from mobilenetv2.serving.models import Served, find, known_names
from mobilenetv2.serving.problem import Problem
from mobilenetv2.serving.requests import Upload, announced_size, read_body, require_photo
from mobilenetv2.serving.routes import Routes
from mobilenetv2.spec.foreign import ForeignConfig

IMAGE, PIXELS = "image", "pictures"
PROBABILITIES, LOGITS = "probabilities", "logits"
VERSION = "1"
EXTENSIONS = ("binary_tensor_data", "classification")
LENGTH = "inference-header-content-length"
"""Header with the length of the JSON before binary tensors."""
MOST_JSON = 8 * 2**20
"""Most bytes of JSON: photos as text are a few long strings, which are read fast."""
MOST_COST = 2**20
"""Most cost of the values of JSON, see :func:`cost_of`: six pictures of 224 x 224 as numbers."""
MEMORY = 4
"""Bytes of memory that a byte of JSON takes while it is read, at most, about."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    binary: bool
    classification: int


@dataclass(frozen=True, slots=True)
class _Inference:
    """Request for inference."""

    name: str
    """Name of the input tensor."""
    data: bytes
    files: list[bytes]
    count: int
    wanted: list[_Wanted]
    identifier: str | None


class InferenceRoutes:
    """Functions that answer requests of the protocol.

    Args:
        routes: the server's routes, with its models and what computes.
    """

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        # Reading JSON stops all threads: one at a time leaves others their turn.
        self._reading = asyncio.Semaphore(1)

    async def server(self, request: Request) -> Response:
        """Answer with the server's metadata."""
        return JSONResponse(
            {"name": "mobilenetv2", "version": __version__, "extensions": list(EXTENSIONS)}
        )

    async def live(self, request: Request) -> Response:
        """Answer that the server runs."""
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """Answer whether all models can be asked."""
        ready = self.routes.pool.ready
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def model_ready(self, request: Request) -> Response:
        """Answer whether a model can be asked."""
        model, ready = self._model(request), self.routes.pool.ready
        return JSONResponse({"name": model.name, "ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """Answer with a model's metadata."""
        return JSONResponse(metadata(self._model(request)))

    async def infer(self, request: Request) -> Response:
        """Answer with the output tensors for input tensors."""
        model, routes = self._model(request), self.routes
        with routes.pool.admit(1, announced_size(request, routes.settings)) as places:
            body = await read_body(request, routes.settings, places)
            length = request.headers.get(LENGTH)
            asked = await self._parsed(model, body, length, places)
            places.more(asked.count - 1, 0)
            if asked.name == IMAGE:
                for number, file in enumerate(asked.files):
                    if problem := require_photo(Upload(f"{IMAGE}[{number}]", file)):
                        raise problem
                work = routes.computed(model, PHOTOS, [(file, 1) for file in asked.files])
            else:
                work = routes.computed(model, PICTURES, [(asked.data, asked.count)])
            found = await routes.awaited(request, model, work, asked.count)
        rows = []
        for number, one in enumerate(found):
            if isinstance(one, Problem):
                where = f"{asked.name}[{number}]: "
                raise Problem(one.status, where + one.sentence, one.headers)
            assert not isinstance(one, dict)
            rows.append(one)
        return response(model, asked, np.stack(rows))

    async def _parsed(
        self, model: Served, body: bytes, length: str | None, places: Admission
    ) -> _Inference:
        size = min(json_size(body, length), MOST_JSON) * (MEMORY - 1)
        places.more(0, size)
        async with self._reading:
            asked = await run_in_threadpool(
                parsed, model, body, length, self.routes.settings.photos
            )
        places.more(0, -size)
        return asked

    def _model(self, request: Request) -> Served:
        name, version = request.path_params["name"], request.path_params.get("version", VERSION)
        found = find(self.routes.models, name)
        if found is None or version != VERSION:
            raise Problem(
                404, f"no model {name[:100]!r} of version {version[:20]!r} here; there is "
                f"{known_names(self.routes.models)}, version {VERSION}"
            )  # fmt: skip
        return found


def metadata(model: Served) -> dict[str, Any]:
    """Return what the protocol says of a model."""
    config = model.config
    logits = config.logits if isinstance(config, ForeignConfig) else config.spec.logits
    sides = [-1, *config.preprocessing.size, config.preprocessing.channels]
    return {
        "name": model.name, "versions": [VERSION], "platform": "mobilenetv2",
        "inputs": [
            {"name": IMAGE, "datatype": "BYTES", "shape": [-1]},
            {"name": PIXELS, "datatype": "UINT8", "shape": sides},
        ],
        "outputs": [
            {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, len(config.labels)]},
            {"name": LOGITS, "datatype": "FP32", "shape": [-1, logits]},
        ],
    }  # fmt: skip


def json_size(body: bytes, length: str | None) -> int:
    """Return the bytes of the JSON at the start of a body.

    Raises:
        Problem: the header with its length is wrong (400).
    """
    if length is None:
        return len(body)
    size = int(length) if re.fullmatch("[0-9]{1,15}", length) else -1
    if not 0 <= size <= len(body):
        raise Problem(400, f"Inference-Header-Content-Length {length[:40]!r} is no length of "
                      "the JSON at the body's start")  # fmt: skip
    return size


def cost_of(body: bytes, size: int) -> int:
    """Return the cost of reading JSON: 1 for a value, 4 more for a list or an object.

    Their commas and brackets are counted, which takes a thousandth of the time of reading them.
    """
    lists = body.count(b"[", 0, size) + body.count(b"{", 0, size)
    return body.count(b",", 0, size) + 4 * lists


def parsed(model: Served, body: bytes, length: str | None, most: int) -> _Inference:
    """Return the request in a body.

    Args:
        model: the model that is asked.
        body: JSON, perhaps with binary tensors behind it.
        length: value of the header with the JSON's length.
        most: most photos.

    Raises:
        Problem: the body is no such request (400), or too large (413).
    """
    size = json_size(body, length)
    if size > MOST_JSON:
        raise Problem(413, f"{size:,} bytes of JSON are more than the limit of {MOST_JSON:,}; send "
                      "tensors in binary form, or the files of photos")  # fmt: skip
    if cost_of(body, size) > MOST_COST:
        raise Problem(413, "the JSON has too many values; send tensors in binary form, or the "
                      "files of photos")  # fmt: skip
    try:
        said = json.loads(body[:size])
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON, or its length is not in the header "
                      "Inference-Header-Content-Length") from None  # fmt: skip
    given = said.get("inputs") if isinstance(said, dict) else None
    if not isinstance(given, list) or len(given) != 1 or not isinstance(given[0], dict):
        raise Problem(400, f"inputs: a list with one tensor, {IMAGE} or {PIXELS}, is needed")
    tensor = given[0]
    shape: Any = tensor.get("shape")
    numbers: list[int] = shape if isinstance(shape, list) else []
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in numbers)
    if not numbers or not whole:
        raise Problem(400, f"inputs[0].shape: {str(shape)[:100]} is no list of whole numbers")
    identifier = said.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise Problem(400, "id: a text is needed")
    count = numbers[0]
    if not 1 <= count <= most:
        raise Problem(413 if count > most else 400,
                      f"inputs[0].shape: {count} photos; from 1 to {most} are allowed")  # fmt: skip
    wanted = _wanted(said)
    rest = body[size:]
    name, kind = tensor.get("name"), tensor.get("datatype")
    if name == IMAGE and kind == "BYTES" and len(numbers) in (1, 2):
        if len(numbers) == 2 and numbers[1] != 1:
            raise Problem(400, f"inputs[0].shape: {IMAGE} has shape [n]")
        files = _files(tensor, rest, count)
        return _Inference(IMAGE, b"", files, count, wanted, identifier)
    config = model.config
    sides = [*config.preprocessing.size, config.preprocessing.channels]
    if name == PIXELS and kind == "UINT8" and numbers[1:] == sides:
        data = _pixels(tensor, rest, count * int(np.prod(sides)))
        return _Inference(PIXELS, data, [], count, wanted, identifier)
    raise Problem(400, f"inputs[0]: {IMAGE} BYTES [n] or {PIXELS} UINT8 [n, "
                  f"{', '.join(map(str, sides))}] is needed, not {str(name)[:40]} "
                  f"{str(kind)[:20]} {str(shape)[:60]}")  # fmt: skip


def _wanted(said: Mapping[str, Any]) -> list[_Wanted]:
    given = said.get("outputs")
    parameters = said.get("parameters")
    every = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    if given is None:
        given = [{"name": PROBABILITIES}, {"name": LOGITS}]
    if not isinstance(given, list) or not given or len(given) > 2:
        raise Problem(400, f"outputs: a list with {PROBABILITIES}, {LOGITS} or both is needed")
    found: list[_Wanted] = []
    for one in given:
        name = one.get("name") if isinstance(one, dict) else None
        if name not in (PROBABILITIES, LOGITS) or name in [other.name for other in found]:
            raise Problem(400, f"outputs: {str(name)[:40]!r} is none of {PROBABILITIES}, {LOGITS}")
        options = one.get("parameters") or {}
        if not isinstance(options, dict):
            raise Problem(400, "outputs: parameters must be an object")
        best = options.get("classification", 0)
        if not isinstance(best, int) or isinstance(best, bool) or best < 0:
            raise Problem(400, "outputs: classification must be a number of classes")
        found.append(_Wanted(name, options.get("binary_data", every) is True, best))
    return found


def _binary(tensor: Mapping[str, Any], rest: bytes) -> bytes | None:
    """Return the bytes of a binary tensor; None for one in JSON."""
    options = tensor.get("parameters")
    size = options.get("binary_data_size") if isinstance(options, dict) else None
    if size is None:
        return None
    if not isinstance(size, int) or size != len(rest):
        raise Problem(
            400, f"inputs[0]: binary_data_size {str(size)[:20]} where {len(rest):,} bytes follow "
            "the JSON"
        )  # fmt: skip
    return rest


def _files(tensor: Mapping[str, Any], rest: bytes, count: int) -> list[bytes]:
    data = _binary(tensor, rest)
    if data is None:
        values = tensor.get("data")
        flat = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in values] if (
            isinstance(values, list)
        ) else []  # fmt: skip
        if len(flat) != count or not all(isinstance(one, str) for one in flat):
            raise Problem(400, f"inputs[0].data: {count} texts in base64 are needed")
        try:
            return [base64.b64decode(one, validate=True) for one in flat]
        except (binascii.Error, ValueError):
            raise Problem(400, "inputs[0].data: a text is not base64; photos are sent so in JSON, "
                          "or as they are in binary form") from None  # fmt: skip
    files: list[bytes] = []
    at = 0
    while at + 4 <= len(data) and len(files) < count:
        (size,) = struct.unpack_from("<I", data, at)
        files.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(data) or len(files) != count:
        raise Problem(400, f"inputs[0]: its bytes are not {count} elements, each behind its length")
    return files


def _pixels(tensor: Mapping[str, Any], rest: bytes, size: int) -> bytes:
    data = _binary(tensor, rest)
    if data is None:
        try:
            values = np.asarray(tensor.get("data"))
            whole = values.dtype.kind in "iu" and values.size == size
            if not whole or values.min() < 0 or values.max() > 255:
                raise ValueError
        except (ValueError, TypeError, OverflowError):
            raise Problem(400, f"inputs[0].data: {size:,} numbers from 0 to 255 are needed"
                          ) from None  # fmt: skip
        return values.astype(np.uint8).tobytes()
    if len(data) != size:
        raise Problem(400, f"inputs[0]: {len(data):,} bytes, where its shape has {size:,}")
    return data


def response(model: Served, asked: _Inference, logits: NDArray) -> Response:
    """Return the answer with the wanted outputs of logits, float32 (n, outputs)."""
    config = model.config
    shares = probabilities(logits, config.outputs)
    outputs: list[dict[str, Any]] = []
    behind: list[bytes] = []
    for one in asked.wanted:
        values = shares.astype(np.float32) if one.name == PROBABILITIES else logits
        if one.classification:
            outputs.append(_classes(one, values, config.labels.names, behind))
            continue
        entry: dict[str, Any] = {"name": one.name, "datatype": "FP32", "shape": list(values.shape)}
        if one.binary:
            behind.append(np.ascontiguousarray(values, "<f4").tobytes())
            entry["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            entry["data"] = values.ravel().tolist()
        outputs.append(entry)
    said: dict[str, Any] = {"model_name": model.name, "model_version": VERSION, "outputs": outputs}
    if asked.identifier is not None:
        said["id"] = asked.identifier
    if not behind:
        return JSONResponse(said)
    text = json.dumps(said).encode()
    return Response(
        b"".join([text, *behind]), media_type="application/octet-stream",
        headers={"Inference-Header-Content-Length": str(len(text))},
    )  # fmt: skip


def _classes(
    one: _Wanted, values: NDArray, names: Sequence[str], behind: list[bytes]
) -> dict[str, Any]:
    """Return the best classes of each photo as texts 'VALUE:INDEX:LABEL' (the extension)."""
    best = np.argsort(-values, axis=1, kind="stable")[:, : one.classification]
    texts = [
        f"{float(row[at]):.6f}:{at}" + (f":{names[at]}" if len(names) == len(row) else "")
        for row, order in zip(values, best.tolist(), strict=True)
        for at in order
    ]
    entry: dict[str, Any] = {"name": one.name, "datatype": "BYTES", "shape": list(best.shape)}
    if one.binary:
        encoded = [text.encode() for text in texts]
        behind.append(b"".join(struct.pack("<I", len(text)) + text for text in encoded))
        entry["parameters"] = {"binary_data_size": len(behind[-1])}
    else:
        entry["data"] = texts
    return entry
