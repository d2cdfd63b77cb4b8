"""Graphs that were built or checked before, by notes in the user's cache folder.

An engine runs a model folder's network as a graph with folded BatchNorm. Building and checking it
takes longer than a prediction, so that the bytes of a graph are kept, under the digest of
everything that they were made of: a model that was changed in one byte has another digest, and so
has a graph that other source code of this package builds or checks. The digest of files is kept,
too, with their size, number and times, so that unchanged files are not read again. Of an exported
file that was checked, the config is kept under the digest of its bytes. A cache that cannot be read
or written is none.
"""

import json
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from mobilenetv2 import __version__
from mobilenetv2.errors import MobileNetV2Error, SpecError, WeightsError
from mobilenetv2.files import open_file, read_start, write_atomically
from mobilenetv2.hub.cache import cache_folder, keeps
from mobilenetv2.runtime.engines.engine import LARGEST_CONFIG, Artifact, read_bounded
from mobilenetv2.spec.records import ModelConfig

FOLDER = "graphs"
MOST = 32
"""Number of files that are kept, two for each graph; the oldest make room."""
LARGEST = 256 * 1024**2
"""Largest graph that is kept, in bytes."""
TRIES = 5
"""Largest number of times that files are read anew because they have changed meanwhile."""
ROOMS = ("checkpoints", "graph", "model", "runtime", "spec")
"""Packages of the source code that builds and checks graphs."""
Read = TypeVar("Read")
_CHECK = 4
"""Bytes of the checksum before a graph, which tells a file that a disk has damaged."""
_LARGEST_NOTE = 64 * 1024


def built(
    files: Sequence[Path], options: str, contents: Callable[[], Sequence[bytes]],
    build: Callable[[], bytes],
) -> bytes:  # fmt: skip
    """Return a graph from the cache, or build it and keep it, unless its files change meanwhile.

    Args:
        files: files that it is made of.
        options: how it is built.
        contents: function that reads the files.
        build: function that reads the files and builds it.
    """
    if not keeps():
        return build()
    folder = cache_folder() / FOLDER
    now = [_state(file) for file in files]
    note = folder / f"{_digest(options, [str(file).encode() for file in files])}.json"
    key = _noted(note, now) or _digest(options, contents())
    if (graph := _kept(folder / key)) is None:
        graph = build()
        if [_state(file) for file in files] != now:
            return graph  # the digest may be of other bytes
        _keep(folder / key, graph)
    _keep_note(note, now, key)
    return graph


def unchanged(files: Sequence[Path], read: Callable[[], Read]) -> Read:
    """Return what a function reads of files that stay as they are meanwhile.

    Raises:
        WeightsError: they change again and again.
    """
    for _ in range(TRIES):
        before = [_state(file) for file in files]
        try:
            found = read()
        except MobileNetV2Error:
            if [_state(file) for file in files] == before:
                raise
            continue
        if [_state(file) for file in files] == before:
            return found
    raise WeightsError(f"{files[0].parent}: it is being written; try again when it is complete")


def known(path: Path, format: str) -> Artifact | None:
    """Return an exported file whose very bytes were checked before; None for any other.

    Args:
        path: the file, the only one of its artifact.
        format: name of its format.

    Raises:
        ArtifactError: the file is too large.
        OSError: it cannot be read.
    """
    if not keeps():
        return None
    data = read_bounded(path)
    note = _note_of(data, format)
    with suppress(OSError, ValueError, SpecError), open_file(note) as file:
        config = ModelConfig.from_mapping(json.loads(read_start(file, LARGEST_CONFIG)), str(note))
        return Artifact(config, format, data, str(path))
    return None


def remember(artifact: Artifact) -> None:
    """Note that an exported file was read and checked, and what its config is."""
    if keeps():
        note = _note_of(artifact.graph, artifact.format)
        with suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(note, artifact.config.to_json())
            _make_room(note.parent)


def _note_of(data: bytes, format: str) -> Path:
    return cache_folder() / FOLDER / f"{_digest(f'checked {format}', [data])}.json"


def _state(file: Path) -> list[int]:
    """Return what changes when a file is changed: its size, number and times; [] without one."""
    try:
        found = file.stat()
    except OSError:
        return []
    return [found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _digest(options: str, contents: Sequence[bytes]) -> str:
    made = sha256(repr((__version__, _code(), options, [len(one) for one in contents])).encode())
    for content in contents:
        made.update(content)
    return made.hexdigest()[:40]


@cache
def _code() -> str:
    """Return a digest of the state of the source code: names, sizes and times of its files."""
    package, found = Path(__file__).parents[1], list[str]()
    left = [str(package / room) for room in ROOMS]
    while left:
        with suppress(OSError), os.scandir(left.pop()) as inside:
            for entry in inside:
                if entry.name.endswith(".py"):
                    status = entry.stat()
                    found.append(f"{entry.path} {status.st_size} {status.st_mtime_ns}")
                elif entry.name != "__pycache__" and entry.is_dir():
                    left.append(entry.path)
    return sha256("\n".join(sorted(found)).encode()).hexdigest()


def _noted(note: Path, now: list[list[int]]) -> str:
    """Return the digest that a note has for files in this state; '' if it has none."""
    with suppress(OSError, ValueError, KeyError, TypeError), open_file(note) as file:
        found = json.loads(read_start(file, _LARGEST_NOTE))
        if found["files"] == now:
            return str(found["graph"])
    return ""


def _keep_note(note: Path, now: list[list[int]], key: str) -> None:
    if _noted(note, now) != key:
        with suppress(OSError):
            write_atomically(note, json.dumps({"files": now, "graph": key}))


def _kept(path: Path) -> bytes | None:
    with suppress(OSError), open_file(path) as file:
        check, graph = file.read(_CHECK), read_start(file, LARGEST)
        if check == _checksum(graph):
            with suppress(OSError):
                os.utime(path)  # it was used now
            return graph
    return None


def _keep(path: Path, graph: bytes) -> None:
    if len(graph) > LARGEST:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _checksum(graph) + graph)
        _make_room(path.parent)


def _make_room(folder: Path) -> None:
    there = sorted(folder.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
    for old in there[MOST:]:
        old.unlink(missing_ok=True)


def _checksum(graph: bytes) -> bytes:
    return zlib.crc32(graph).to_bytes(_CHECK, "big")
