"""Bodies of requests: read with bounds, and taken apart into photos."""

import asyncio
from dataclasses import dataclass
from email.message import Message

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.requests import ClientDisconnect, Request

from mobilenetv2.images.foreign import may_be_photo, why_unread
from mobilenetv2.serving.computing.pool import Admission
from mobilenetv2.serving.problem import Problem
from mobilenetv2.serving.settings import Settings
from mobilenetv2.text import counted, encodable

NOT_PICTURES = (
    "application/json",
    "text/",
    "application/x-www-form-urlencoded",
    "video/",
    "audio/",
)
"""Starts of the media types of bodies that are no photo."""
MOST_HEADERS = 16 * 1024
"""Most bytes of the headers of a part."""
MOST_FIELDS = 100
"""Most parts of a form beyond the photos that a request may have: its fields."""
PAUSE_SECONDS = 5.0
"""Longest time without a byte while a request arrives, if ``body_seconds`` is not shorter."""
READ = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, HEIC, PPM, TGA, JPEG 2000"


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo of a request."""

    name: str | None
    """Name of its file, if the request says one."""
    data: bytes


def announced_size(request: Request, settings: Settings) -> int:
    """Return the bytes that a request says it has, before they are read; 0 if it says none.

    Raises:
        Problem: it says that there are more than the limit (413), or no number (400).
    """
    said = request.headers.get("content-length")
    if said is None:
        return 0
    if not said.isascii() or not said.isdigit():
        raise Problem(400, f"Content-Length {said[:40]!r} is not a number")
    if len(said) > 15 or int(said) > settings.max_bytes:
        raise _too_large(settings)
    return int(said)


async def read_body(request: Request, settings: Settings, places: Admission) -> bytes:
    """Return the body of a request; its bytes are counted in the queue as they arrive.

    Args:
        request: the request.
        settings: the server's settings.
        places: what the request was admitted with; the announced bytes in it are given back first,
            so that a caller that announces much and sends nothing takes no room.

    Raises:
        Problem: it is too large (413), comes too slowly or stops to come (408), finds the memory
            full (429), or its caller left (400).
    """
    places.more(0, -places.size)
    parts: list[bytes] = []
    pause = min(settings.body_seconds, PAUSE_SECONDS)
    stream = request.stream().__aiter__()
    loop = asyncio.get_running_loop()
    end = loop.time() + settings.body_seconds
    try:
        while True:
            async with asyncio.timeout_at(min(end, loop.time() + pause)):
                try:
                    part = await anext(stream)
                except StopAsyncIteration:
                    break
            if places.size + len(part) > settings.max_bytes:
                raise _too_large(settings)
            places.more(0, len(part))
            parts.append(part)
    except TimeoutError:
        late = loop.time() >= end
        raise Problem(
            408, f"the request did not arrive within {settings.body_seconds:g} seconds" if late
            else f"nothing of the request arrived for {pause:g} seconds; send it again",
            {"Connection": "close"},
        ) from None  # fmt: skip
    except ClientDisconnect:
        raise Problem(400, "the caller left before its request was there") from None
    return b"".join(parts)


def _too_large(settings: Settings) -> Problem:
    return Problem(
        413, f"the request has more than the limit of {settings.max_bytes:,} bytes; send smaller "
        "photos, or fewer at once", {"Connection": "close"},
    )  # fmt: skip


def uploads(content_type: str, body: bytes, most: int) -> list[Upload]:
    """Return the photos of a request: of a form, or the body itself.

    Args:
        content_type: value of the header Content-Type; '' without one.
        body: the whole body.
        most: most photos.

    Raises:
        Problem: the body is no photo by its type (415), a damaged form (400), without a file (400),
            or with too many (413).
    """
    message = Message()
    message["Content-Type"] = content_type or "application/octet-stream"
    kind = message.get_content_type()
    if kind != "multipart/form-data":
        # A photo is one whatever it is called: curl calls every body a form.
        if kind.startswith(NOT_PICTURES) and not may_be_photo(body):
            raise Problem(
                415, f"a body of type {kind} is no photo; send the bytes of a photo, or a form "
                "(multipart/form-data) with files"
            )  # fmt: skip
        if not body:
            raise Problem(400, "the request has no photo: its body is empty")
        return [Upload(None, body)]
    boundary = message.get_param("boundary")
    try:
        edge = boundary.encode("ascii") if isinstance(boundary, str) else b""
    except UnicodeEncodeError:
        edge = b""
    if not 0 < len(edge) <= 256:
        raise Problem(400, "the form has no boundary in its Content-Type")
    found = _Form(edge, most).parsed(body)
    if not found:
        raise Problem(400, "the form has no file; add the photo as a file")
    return found


class _Form:
    """Parser of a form, which keeps its files and passes over its other fields."""

    def __init__(self, boundary: bytes, most: int) -> None:
        self._most, self._ended = most, False
        self._parts = self._header_bytes = 0
        self._found: list[Upload] = []
        self._field, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        self._data = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin, "on_part_data": self._add, "on_part_end": self._end,
                "on_header_field": self._add_field, "on_header_value": self._add_value,
                "on_header_end": self._end_header, "on_end": self._finish,
            },
        )  # fmt: skip

    def parsed(self, body: bytes) -> list[Upload]:
        """Return the files of a form."""
        try:
            self._parser.write(body)
            self._parser.finalize()
        except MultipartParseError as error:
            raise Problem(400, f"the form is damaged ({error})") from None
        if not self._ended:
            raise Problem(400, "the form ends early; send it again")
        return self._found

    def _finish(self) -> None:
        self._ended = True

    def _begin(self) -> None:
        # Each part costs far more time than its bytes: all are counted, not only the files.
        self._parts += 1
        if self._parts > self._most + MOST_FIELDS:
            raise Problem(
                413, f"the form has more than {self._most + MOST_FIELDS:,} parts, of which "
                f"{counted(self._most, 'photo')} are allowed; send fewer at once"
            )  # fmt: skip
        self._header_bytes = 0
        self._headers, self._data = {}, bytearray()
        self._field, self._value = bytearray(), bytearray()

    def _add_field(self, data: bytes, begin: int, end: int) -> None:
        self._bound(end - begin)
        self._field += data[begin:end]

    def _add_value(self, data: bytes, begin: int, end: int) -> None:
        self._bound(end - begin)
        self._value += data[begin:end]

    def _bound(self, size: int) -> None:
        """Count bytes of the headers of a part, of all of them together."""
        self._header_bytes += size
        if self._header_bytes > MOST_HEADERS:
            raise Problem(
                400, f"a part of the form has headers of more than {MOST_HEADERS:,} bytes"
            )

    def _end_header(self) -> None:
        name = self._field.decode("latin-1").lower()
        self._headers[name] = self._value.decode("utf-8", "replace")
        self._field, self._value = bytearray(), bytearray()

    def _add(self, data: bytes, begin: int, end: int) -> None:
        self._data += memoryview(data)[begin:end]

    def _end(self) -> None:
        message = Message()
        try:
            message["Content-Disposition"] = self._headers.get("content-disposition", "form-data")
            name = message.get_filename()
        except (ValueError, LookupError, TypeError):  # a charset of no such name, line breaks
            name = "photo"
        if name is None and not may_be_photo(bytes(self._data[:64])):
            return  # a field of the form
        if len(self._found) >= self._most:
            raise Problem(
                413, f"the form has more than {counted(self._most, 'photo')}; send fewer at once"
            )
        self._found.append(Upload(encodable(name) if name else None, bytes(self._data)))


def require_photo(upload: Upload) -> Problem | None:
    """Return the error for bytes that are of no format that is read (415); None for a photo."""
    if not upload.data:
        return Problem(422, f"{upload.name or 'the photo'}: the file is empty")
    if may_be_photo(upload.data):
        return None
    name = upload.name or "the photo"
    return Problem(415, f"{name}: {why_unread(upload.data, name, READ)}")
