"""Exported files of MNN, ncnn and ExecuTorch, mutated and sealed again as an attacker would.

Each file is mutated twice: the harness damages its bytes, and the mutations here put hostile
numbers into its fields: numbers of MNN's and ExecuTorch's tables and lists, and of ncnn's texts.
"""

import dataclasses
import importlib
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from fuzz_target import Target, WrongAnswer

from mobilenetv2.checkpoints.description import sidecar_path
from mobilenetv2.exporting.job import Options, writer_of
from mobilenetv2.formats import FORMATS
from mobilenetv2.graph import executorch, mnn, xnnpack
from mobilenetv2.graph.tables import NUMBERS, Schema, Tables, Unions
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.executorch import read_artifact as read_program
from mobilenetv2.runtime.engines.ncnn import checksum, weights_path
from mobilenetv2.runtime.loading import load_model
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec
from mobilenetv2.spec.records import ModelConfig, Origin

SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5, stages=PAPER_STAGES[:3])
HOSTILE = (2**31 - 1, -(2**31), -1, 0, 1, 2, 3, 2**30, 2**16, 255)
Place = tuple[int, str]
"""Position of a number in a file, and its type in the schema."""
Mutation = Callable[[bytes, int], bytes]
"""Function from a file and a seed to a damaged file."""
IMPORTED = (
    "encodings.utf_8_sig", "mobilenetv2.runtime.foreign", "mobilenetv2.runtime.engines.mnn",
)  # fmt: skip
"""Modules that attempts import, so that not each fork does it anew."""
WORDS = (*map(str, HOSTILE), "nan", "inf", "1e38", "4294967295", "0.5", "-0.0", "")
"""Numbers in a text."""


class Places(Tables):
    """Reader that notes where each number of a flatbuffer is, and how it is stored."""

    def __init__(self, data: bytes, schema: Schema, unions: Unions) -> None:
        super().__init__(data, schema, unions)
        self.found: set[tuple[int, str]] = set()

    def _number(self, kind: str, at: int) -> object:
        self.found.add((at, kind))
        return super()._number(kind, at)


def places(data: bytes, at: int, schema: Schema, unions: Unions, root: str) -> list[Place]:
    """Return the places of all numbers, lengths and offsets of a flatbuffer that is at ``at``."""
    reader = Places(data[at:], schema, unions)
    reader.root(root)
    return sorted((at + place, kind) for place, kind in reader.found)


def mnn_places(data: bytes) -> list[Place]:
    """Return the places of all numbers of an MNN file."""
    return places(data, 0, mnn.SCHEMA, mnn.UNIONS, "Net")


def program_places(data: bytes) -> list[Place]:
    """Return the places of all numbers of an ExecuTorch program and its subgraphs."""
    found = places(data, 0, executorch.SCHEMA, executorch.UNIONS, "Program")
    base = executorch.HEAD.unpack_from(data, executorch.HEAD_AT)[3]
    for segment in executorch.read(data)["segments"]:
        at = base + segment["offset"]
        if data[at + 4 : at + 8] == xnnpack.MAGIC:
            inside = at + xnnpack.HEAD.unpack_from(data, at + 4)[2]
            found += places(data, inside, xnnpack.SCHEMA, xnnpack.UNIONS, "Graph")
    return found


def with_number(data: bytes, at: int, kind: str, value: int) -> bytes:
    """Return a file with another number in one place, cut to the bits of its type."""
    form = NUMBERS[kind]
    if kind in ("float", "double"):
        raw = form.pack(float(value) if value != -1 else float("nan"))
    else:
        raw = (value % 256**form.size).to_bytes(form.size, "little")
    return data[:at] + raw + data[at + form.size :]


def hostile_numbers(find: Callable[[bytes], list[Place]]) -> Mutation:
    """Return a mutation that puts hostile numbers into one to three of a file's places."""

    known = cache(find)  # of one file

    def mutate(data: bytes, seed: int) -> bytes:
        choice, found = random.Random(seed), known(data)
        for _ in range(choice.randint(1, 3)):
            data = with_number(data, *choice.choice(found), choice.choice(HOSTILE))
        return data

    return mutate


def hostile_text(data: bytes, seed: int) -> bytes:
    """Put hostile numbers into one to three places of a text."""
    choice, text = random.Random(seed), data.decode()
    for _ in range(choice.randint(1, 3)):
        one = choice.choice(list(re.finditer(r"-?\b\d+(\.\d+)?\b", text)))
        text = text[: one.start()] + choice.choice(WORDS) + text[one.end() :]
    return text.encode()


def exported(name: str, folder: Path) -> Path:
    """Return a small network's file in a format."""
    config = dataclasses.replace(ModelConfig.default(SPEC), origin=Origin("fuzz"))
    out = folder / name / f"m{FORMATS[name].suffix}"
    out.parent.mkdir()
    writer_of(FORMATS[name])(config, random_arrays(SPEC), out, Options())
    return out


def answers(path: Path) -> Callable[[], object]:
    """Return a function that reads a file and answers a picture, as ``predict`` does."""
    picture = np.zeros((1, *SPEC.size, 3), np.uint8)

    def attempt() -> object:
        found = load_model(path, threads=1)
        size = found.config.preprocessing.size
        logits = found.predict(np.resize(picture, (1, *size, 3)))
        if logits.shape != (1, SPEC.logits):
            raise WrongAnswer(f"an answer of another network: {logits.shape}")
        if not np.isfinite(logits).all():
            raise WrongAnswer(f"not finite: {logits}")
        return logits

    return attempt


def sealed(body: bytes) -> bytes:
    """Return a body with its checksum behind it."""
    return body + seal.digest(body).encode()


def ncnn_sealed(path: Path) -> None:
    """Write the checksum of ncnn's three files into the third, as they are."""
    beside = sidecar_path(path)
    try:
        config = json.loads(beside.read_text("utf-8"))
        digest = checksum(path.read_bytes(), weights_path(path).read_bytes(), json.dumps(config))
        config["origin"]["sha256"] = digest
    except (ValueError, TypeError, KeyError, RecursionError):
        return  # no longer a config
    beside.write_text(json.dumps(config), "utf-8")


STRUCTURED: dict[str, Mutation] = {
    "MNN": hostile_numbers(mnn_places), "ExecuTorch": hostile_numbers(program_places),
    "ncnn, its graph": hostile_text, "ncnn, its config": hostile_text,
}  # fmt: skip
"""Mutation of fields instead of bytes, by the title of the target."""


def targets(folder: Path) -> Iterator[Target]:
    """Yield the files of each engine whose packages are installed, and again for their fields.

    Args:
        folder: empty folder for the files.
    """
    for name in IMPORTED:
        importlib.import_module(name)
    for target in files(folder):
        yield target
        if change := STRUCTURED.get(target.title):
            yield dataclasses.replace(target, title=f"{target.title}, fields", mutate=change)


def files(folder: Path) -> Iterator[Target]:
    """Yield the files of each engine whose packages are installed."""
    if not FORMATS["mnn"].missing():
        path = exported("mnn", folder)
        yield Target("MNN", path, path.read_bytes()[: -seal.DIGITS], answers(path), sealed)
    if not FORMATS["ncnn"].missing():
        importlib.import_module("ncnn")
        path = exported("ncnn", folder)
        parts = {"graph": path, "weights": weights_path(path), "config": sidecar_path(path)}
        kept = {file: file.read_bytes() for file in parts.values()}

        def of_three() -> object:
            ncnn_sealed(path)
            try:
                return answers(path)()
            finally:
                for file, content in kept.items():
                    file.write_bytes(content)

        for title, file in parts.items():
            yield Target(f"ncnn, its {title}", file, kept[file], of_three)
    if not FORMATS["executorch"].missing():
        path = exported("executorch", folder)
        # Only read: what is taken runs in a process of its own, whose start takes seconds.
        attempt = partial(read_program, path)
        yield Target("ExecuTorch", path, path.read_bytes()[: -seal.DIGITS], attempt, sealed)
