"""Damaged and hostile pictures and requests: what the server answers, how fast, with what memory.

Pictures are mutations of a photo in every format that is read, and hostile files; requests are
mutations of forms, tensors and heads of HTTP. They come one by one; a right photo after each
hundred must get its right answer. A server error (5xx), a process that dies, more than 2 s or more
than 512 MB beside what the server had is a failure.
"""

import argparse
import asyncio
import io
import json
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fuzz import mutate
from PIL import Image

from mobilenetv2.progress import say
from serving.inputs import kinds_of_files, photo_files
from serving.load import Client, form, post
from serving.servers import Peak, Running, ours, serving, state

MOST_SECONDS, MOST_BYTES = 2.0, 512e6
INFER = "/v2/models/imagenet/infer"
HEADS = "request, heads of HTTP"


@dataclass(slots=True)
class Tally:
    """Outcomes of the requests of a kind."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    memory: int = 0
    failures: list[str] = field(default_factory=list)

    def row(self, kind: str) -> str:
        """Return the row of the table."""
        good = self.statuses[200]
        refused = sum(count for status, count in self.statuses.items() if 400 <= status < 500)
        server = sum(count for status, count in self.statuses.items() if status >= 500)
        rest = self.statuses.total() - good - refused - server
        return (
            f"| {kind} | {self.statuses.total():,} | {good:,} | {refused:,} | {rest:,} | {server} "
            f"| {self.slowest:.2f} | {self.memory / 1e6:.0f} |"
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this measurement's options."""
    parser.add_argument("--count", type=int, default=10_000, help="mutations of all kinds together")
    parser.add_argument("--cases", type=Path, nargs="*", default=[], help="folders of more files")


def run(options: argparse.Namespace, folder: Path) -> list[str]:
    """Return the lines of the section."""
    count = 200 if options.small else options.count
    tallies: dict[str, Tally] = {}
    photo = photo_files(1)[0].read_bytes()
    with serving(ours(options.model, "--body-seconds", "1.5")) as one:
        good = post(one.server.path, "image/jpeg", photo)
        right = asyncio.run(_send(one, good))[2]
        peak = Peak(one.pids())
        for number, (kind, request) in enumerate(_requests(one, photo, count, options.cases)):
            tally = tallies.setdefault(kind, Tally())
            peak.reset()
            status, seconds, body = asyncio.run(_send(one, request, kind == HEADS))
            extra = peak.extra()
            tally.statuses[status] += 1
            tally.slowest, tally.memory = max(tally.slowest, seconds), max(tally.memory, extra)
            if status >= 500 or seconds > MOST_SECONDS or extra > MOST_BYTES:
                tally.failures.append(
                    f"{kind} {number}: {status} in {seconds:.2f} s, {extra / 1e6:.0f} MB, "
                    f"{body[:200]!r}"
                )
                say(tally.failures[-1])
            if number % 100 == 0 and asyncio.run(_send(one, good))[2] != right:
                sys.exit(f"after {kind} {number} a right photo has no right answer")
            if number % 1000 == 0:
                say(f"{number:,} sent")
        died = sum(process["restarts"] for process in state(one)["processes"])
        ended = one.process.poll() is not None
        tracebacks = one.written().count("Traceback")
    failures = [line for tally in tallies.values() for line in tally.failures]
    return [
        "| what | number | answered | refused (4xx) | connection ended | 5xx | slowest, s "
        "| most extra memory, MB |",
        "|---|---|---|---|---|---|---|---|",
        *(tally.row(kind) for kind, tally in sorted(tallies.items())),
        "",
        f"Together {sum(tally.statuses.total() for tally in tallies.values()):,}. Processes that "
        f"died: {died}; the server itself: {'ended' if ended else 'lives'}; tracebacks in its log: "
        f"{tracebacks}; more than {MOST_SECONDS:g} s or {MOST_BYTES / 1e6:.0f} MB, or 5xx: "
        f"{len(failures)}.",
        *(f"- {line}" for line in failures[:20]),
    ]


async def _send(one: Running, request: bytes, ends: bool = False) -> tuple[int, float, bytes]:
    """Return the status of the first answer, its seconds and its body; -1 without an answer.

    Args:
        one: the server.
        request: bytes of the request.
        ends: True to close the sending side behind it, as its head may promise more.
    """
    begin = time.perf_counter()
    client = Client(one.port, [request], seconds=10, keep=True, ends=ends)
    sample = await client.send(begin)
    client.close()
    return sample.status, time.perf_counter() - begin, sample.body


def _requests(
    one: Running, photo: bytes, count: int, cases: list[Path]
) -> Iterator[tuple[str, bytes]]:
    files = kinds_of_files()
    for data in hostile().values():
        yield "hostile files", post("/predict", "application/octet-stream", data)
        yield "hostile files, explained", post("/explain", "application/octet-stream", data)
    for folder in cases:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            if path.stat().st_size < 2**25:
                kind = "files of given folders"
                yield kind, post("/predict", "application/octet-stream", path.read_bytes())
    requests = _right_requests(photo)
    digits = "0" * 8 + "1" + "9" * 5000
    yield "long numbers", post(f"/predict?top={digits}", "image/jpeg", photo)
    length = f"application/json\r\nInference-Header-Content-Length: {digits}"
    yield "long numbers", post(INFER, length, b"{}")
    parts = b"--b\r\nA:b\r\n\r\n\r\n" * 70_000 + b"--b--\r\n"
    yield "many parts", post("/predict", "multipart/form-data; boundary=b", parts)
    values = b'{"inputs":[' + b"[[]]," * 1_600_000 + b"0]}"
    yield "many values", post(INFER, "application/json", values)
    share = count // 2
    for number in range(share):
        name, data = list(files.items())[number % len(files)]
        yield f"picture, {name}", post("/predict", "image/jpeg", mutate(data, number))
    for number in range(count - share):
        name, (route, media, body) = list(requests.items())[number % len(requests)]
        if name == "HTTP":
            yield HEADS, mutate(post(route, media, body)[:4000], number)
        else:
            yield f"request, {name}", post(route, media, mutate(body, number))


def _right_requests(photo: bytes) -> dict[str, tuple[str, str, bytes]]:
    picture = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB").resize((224, 224)))
    about = {"name": "pictures", "shape": [1, 224, 224, 3], "datatype": "UINT8"}
    small = json.dumps(
        {"inputs": [{**about, "data": picture.ravel()[: 224 * 224 * 3].tolist()}]}
    ).encode()
    head = json.dumps(
        {"inputs": [{**about, "parameters": {"binary_data_size": picture.nbytes}}]}
    ).encode()
    encoded = {"name": "image", "shape": [1], "datatype": "BYTES"}
    photo_head = json.dumps(
        {"inputs": [{**encoded, "parameters": {"binary_data_size": 4 + len(photo)}}]}
    ).encode()
    binary = "application/octet-stream\r\nInference-Header-Content-Length: "
    media, body = form(photo)
    return {
        "form": ("/predict", media, body),
        "form, a short photo": ("/predict", *form(photo[:700])),
        "tensor as JSON": (INFER, "application/json", small),
        "tensor, binary": (INFER, f"{binary}{len(head)}", head + picture.tobytes()),
        "photo as BYTES": (
            INFER, f"{binary}{len(photo_head)}",
            photo_head + struct.pack("<I", len(photo)) + photo,
        ),
        "explain": ("/explain", "image/jpeg", photo),
        "HTTP": ("/predict?top=3&model=imagenet", media, body),
    }  # fmt: skip


def hostile() -> dict[str, bytes]:
    """Return files that are made to cost time or memory, or that are no photos, by name."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    memory = io.BytesIO()
    small.save(memory, "GIF", save_all=True, append_images=[small] * 500)
    frames = memory.getvalue()
    memory = io.BytesIO()
    small.save(memory, "TIFF", save_all=True, append_images=[small] * 500)
    pages = memory.getvalue()
    memory = io.BytesIO()
    Image.new("RGB", (12_000, 12_000)).save(memory, "JPEG")
    return {
        "empty": b"", "a byte": b"\xff", "text": b"hello " * 1000,
        "zip": b"PK\x03\x04" + bytes(999), "pdf": b"%PDF-1.7\n" + bytes(999),
        "html": b"<html><script>alert(1)</script>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///x"/></svg>',
        "PNG of 144 megapixels": png(12_000, 12_000), "PNG of 900 megapixels": png(30_000, 30_000),
        "PNG whose head says 2^31": png(2**31 - 1, 2**31 - 1, rows=1),
        "PNG of one column": png(1, 2_000_000), "PNG of one row": png(2_000_000, 1),
        "JPEG of 144 megapixels": memory.getvalue(), "GIF of 501 frames": frames,
        "TIFF of 501 pages": pages,
        "EXIF that says nothing": b"\xff\xd8\xff\xe1\xff\xff" + bytes(70_000),
        "noise": rng.bytes(10**6),
        "start of a JPEG and noise": b"\xff\xd8\xff\xe0" + rng.bytes(10**6),
    }  # fmt: skip


def png(width: int, height: int, rows: int | None = None) -> bytes:
    """Return a PNG file of grey pixels, 1 bit each, that says a size, with all or some rows."""
    line = bytes(1 + min((width + 7) // 8, 2**24))
    packer, data = zlib.compressobj(9), bytearray()
    for _ in range(height if rows is None else rows):
        data += packer.compress(line)
    data += packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", bytes(data))
        + chunk(b"IEND", b"")
    )
