"""Labelled photos as shards: the function ``mn.shard``.

The photos' bytes are copied as they are, in an order that is shuffled by the seed alone, so that
shards that are read from front to back are mixed already. Every shard is written under a temporary
name and renamed. A record of those that are whole lies beside them until the index is written, last
of all: a folder without the index is unfinished, and a killed run goes on behind its last shard.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Dataset, Split, open_dataset
from mobilenetv2.data.scan import require_few
from mobilenetv2.data.shards.index import INDEX, Index, Shard, is_index, read_shards
from mobilenetv2.data.shards.info import DataInfo, data_info
from mobilenetv2.data.shards.parquet import divided, write_parquet
from mobilenetv2.data.shards.writing import Sample, write_shards
from mobilenetv2.documents import LARGEST_JSON, parse_table
from mobilenetv2.errors import DataError, ImageError, argument, require
from mobilenetv2.files import TEMPORARY, atomic_folder, open_file, write_atomically
from mobilenetv2.images.decode import LIMITS
from mobilenetv2.images.memory import SHARED
from mobilenetv2.locks import hold
from mobilenetv2.progress import say, track
from mobilenetv2.text import escaped, json_text

MEGABYTES = 128.0
"""Default size of a shard: large enough for a disk or a server, and small enough to be moved."""
SMALLEST = 1.0
MEGABYTE = 1_000_000
UNFINISHED = "unfinished.jsonl"
"""Record of the shards that are whole: settings, then a line for each."""
READ_AHEAD = 8
"""Photos that are read ahead for each thread."""


def shard(
    data: str | PathLike[str],
    output: str | PathLike[str],
    *,
    format: Literal["tar", "parquet"] = "tar",
    megabytes: float = MEGABYTES,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    ignore: str | Sequence[str] = (),
    zip_encoding: str | None = None,
) -> DataInfo:
    """Copy labelled photos into .tar shards in WebDataset's layout, with one index.

    ``output`` gets SPLIT-000000.tar, SPLIT-000001.tar ... and ``index.json``, and is data from then
    on: ``train``, ``evaluate``, ``audit`` and ``predict`` take it. The photos' bytes are copied as
    they are. The same photos, size and seed give the same files.

    Args:
        data: labelled photos, as :func:`mobilenetv2.train` takes them.
        output: the folder to write.
        format: 'tar' (default), or 'parquet' for files with the photos inside, as Hugging Face's
            ``datasets`` reads them (extra ``parquet``); these have no index, and a stopped run
            leaves nothing.
        megabytes: size of a shard, in millions of bytes; a single larger photo has its own.
        seed: seed of the order in which the photos lie in the shards.
        resume: True to go on where a killed run was.
        overwrite: True to replace shards that are there.
        ignore: patterns of names of files and folders that are passed over, such as "raw*".
        zip_encoding: encoding of names in an archive that are not marked as UTF-8.

    Returns:
        What was written: classes, photos, splits, bytes, shards.

    Raises:
        DataError: there are no labelled photos, more than 1% cannot be read, or ``output`` holds
            something else, or shards and neither ``resume`` nor ``overwrite`` is given.
        InUse: another process writes ``output``.
        OSError: it cannot be written.

    Example:
        >>> made = mn.shard(photos, "shards", megabytes=1)
        >>> made.photos, made.shards, made.classes
        (24, 1, ('hat', 'shoes'))
        >>> mn.evaluate("embedded", "shards")  # doctest: +SKIP
    """
    if not SMALLEST <= megabytes <= 1_000_000:
        raise DataError(f"{argument('megabytes', megabytes)}: must be from 1 to 1,000,000")
    if seed < 0:
        raise DataError(f"{argument('seed', seed)}: must be 0 or more")
    place, folder = os.fspath(data), Path(output)
    if format == "parquet":
        if resume:
            raise DataError(f"{argument('resume', True)} is for the format tar")
        return _write_parquet(
            place, folder, int(megabytes * MEGABYTE), seed, overwrite, ignore, zip_encoding
        )
    _require_room(place, folder, resume, overwrite)
    dataset = open_dataset(place, ignore, zip_encoding)
    for note in dataset.notes:
        say(note)
    with hold(folder, inside=True, allowed=lambda: _require_room(place, folder, resume, overwrite)):
        _Job(dataset, folder, int(megabytes * MEGABYTE), seed).run(resume)
    return data_info(folder)


def _write_parquet(
    place: str, folder: Path, size: int, seed: int, overwrite: bool,
    ignore: str | Sequence[str], zip_encoding: str | None,
) -> DataInfo:  # fmt: skip
    """Write Parquet files into a folder, all or none."""
    require("pyarrow")
    _require_apart(place, folder)
    names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{escaped(folder)}: is a file; give the name of a folder")
    if others := [name for name in names if not name.endswith(".parquet")]:
        raise DataError(
            f"{escaped(folder)}: holds other files (first: {escaped(min(others))}); choose a new "
            "folder"
        )
    if names and not overwrite:
        raise DataError(f"{escaped(folder)}: exists; {argument('overwrite', True)} replaces it")
    dataset = open_dataset(place, ignore, zip_encoding)
    for note in dataset.notes:
        say(note)
    with hold(folder), atomic_folder(folder) as made:
        job, problems = _Job(dataset, made, size, seed), list[str]()
        for number, split in enumerate(dataset.splits.values()):
            order = job.order(split, number)
            photos = [split.photos[index] for index in order]
            parts = divided([split.source.size(photo.name) or 0 for photo in photos], size)
            samples = job.samples(split, order, problems)
            for part, places in enumerate(parts):
                path = made / f"{split.name}-{part:05}-of-{len(parts):05}.parquet"
                label = f"photos of {split.name}, file {part + 1} of {len(parts)}"
                own = islice(samples, len(places))
                written = write_parquet(path, dataset.classes, own)
                for _ in track(written, label, len(places)):
                    pass
        for problem in problems:
            say(f"left out, unreadable: {problem}")
    return data_info(folder)


def _require_apart(data: str, folder: Path) -> None:
    """Raise if a folder lies among the photos, or is theirs."""
    whole, around = Path(os.path.realpath(folder)), Path(os.path.realpath(data))
    if whole == around or (around.is_dir() and whole.is_relative_to(around)):
        raise DataError(
            f"{escaped(folder)}: the shards would lie among the photos of {escaped(data)}; choose "
            "another folder"
        )


def _require_room(data: str, folder: Path, resume: bool, overwrite: bool) -> None:
    """Raise unless the folder is empty, or holds shards that may be gone on with or replaced."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{escaped(folder)}: is a file; give the name of a folder")
    _require_apart(data, folder)
    have = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
    have = [name for name in have if not name.startswith(".")]
    if not have:
        return
    ours = UNFINISHED in have or (INDEX in have and _is_index(folder / INDEX))
    if not ours:
        raise DataError(
            f"{escaped(folder)}: holds other files (first: {escaped(have[0])}); choose a new folder"
        )
    if not (overwrite or (resume and UNFINISHED in have)):
        state = "a stopped run is there" if UNFINISHED in have else "shards are there already"
        again = f"{argument('resume', True)} goes on, " if UNFINISHED in have else ""
        raise DataError(
            f"{escaped(folder)}: {state}; {again}{argument('overwrite', True)} starts anew"
        )


def _is_index(path: Path) -> bool:
    with open_file(path) as file:
        return is_index(file.read(256))


@dataclass(slots=True)
class _Job:
    """Shards of a dataset in a folder."""

    dataset: Dataset
    folder: Path
    bytes: int
    seed: int

    def run(self, resume: bool) -> None:
        """Write what is missing, and the index."""
        record = self.folder / UNFINISHED
        settings = self.settings()
        done = _done(record, settings, len(self.dataset.classes)) if resume else []
        done = self.present(done)
        _clear(self.folder, {shard.file for shard in done})
        write_atomically(record, f"{json_text(settings)}\n" + "".join(map(_line, done)))
        problems: list[str] = []
        with record.open("a", encoding="utf-8") as file:

            def keep(shard: Shard) -> None:
                done.append(shard)
                file.write(_line(shard))
                file.flush()
                os.fsync(file.fileno())

            for number, split in enumerate(self.dataset.splits.values()):
                before = [shard for shard in done if shard.split == split.name]
                left = after(self.order(split, number), split, before)
                samples = self.samples(split, left, problems)
                written = write_shards(
                    self.folder, split.name, samples, self.bytes, len(before), keep
                )
                for _ in track(written, f"photos of {split.name}", len(left)):
                    pass
        for problem in problems:
            say(f"left out, unreadable: {problem}")
        index = Index(self.dataset.classes, tuple(done), self.seed)
        write_atomically(self.folder / INDEX, "".join(index.to_lines()))
        record.unlink()

    def settings(self) -> dict[str, Any]:
        """Return what the shards depend on."""
        digest = hashlib.sha256()
        for split in self.dataset.splits.values():
            for photo in split.photos:
                digest.update(f"{split.name}\0{photo.name}\0{photo.label}\n".encode())
        return {
            "classes": hashlib.sha256("\0".join(self.dataset.classes).encode()).hexdigest(),
            "photos": digest.hexdigest(), "bytes": self.bytes, "seed": self.seed,
        }  # fmt: skip

    def present(self, shards: list[Shard]) -> list[Shard]:
        """Return the shards of each split that are there, up to the first that is not."""
        found, broken = list[Shard](), set[str]()
        for shard in shards:
            path = self.folder / shard.file
            if shard.split in broken or not path.is_file() or path.stat().st_size != shard.bytes:
                broken.add(shard.split)
            else:
                found.append(shard)
        return found

    def order(self, split: Split, number: int) -> list[int]:
        """Return the indices of a split's photos in the order in which they are written."""
        random = np.random.default_rng([self.seed, number, 5])
        return [int(index) for index in random.permutation(len(split))]

    def samples(self, split: Split, order: list[int], problems: list[str]) -> Iterator[Sample]:
        """Yield the photos of a split in an order; one that cannot be read is a problem.

        Raises:
            DataError: too many cannot be read.
        """

        def read(index: int) -> Sample | str:
            photo = split.photos[index]
            try:
                with SHARED.work():
                    data = split.source.read(photo.name)
            except ImageError as error:
                return str(error)
            if len(data) > LIMITS.bytes:
                return f"{split.full_name(photo)}: larger than {LIMITS.bytes:,} bytes"
            return Sample(index, photo.name, photo.label, data)

        found = in_parallel(read, order, ahead=READ_AHEAD)
        with split.source.ahead([split.photos[index].name for index in order]):
            for sample in found:
                if isinstance(sample, str):
                    problems.append(sample)
                    require_few(problems, sum(map(len, self.dataset.splits.values())),
                                self.dataset.place)  # fmt: skip
                else:
                    yield sample


def after(order: Sequence[int], split: Split, shards: Sequence[Shard]) -> list[int]:
    """Return the part of an order behind the last photo of whole shards."""
    if not shards:
        return [*order]
    last = shards[-1].names[-1]
    start = next((at for at, one in enumerate(order) if split.photos[one].name == last), -1)
    return [*order[start + 1 :]]


def _line(shard: Shard) -> str:
    return f"{shard.to_line()}\n"


def _done(record: Path, settings: dict[str, Any], classes: int) -> list[Shard]:
    """Return the shards that a killed run has finished.

    Raises:
        DataError: it was one of other photos or other settings.
    """
    if not record.is_file():
        return []
    with open_file(record) as file:
        found = parse_table(file.readline(LARGEST_JSON), str(record), DataError)
        if found != settings:
            differing = sorted(key for key in settings if found.get(key) != settings[key])
            raise DataError(
                f"{escaped(record)}: the stopped run had other {' and '.join(differing)}; give the "
                f"same, or {argument('overwrite', True)} to start anew"
            )
        return read_shards(file, str(record), classes)


def _clear(folder: Path, kept: set[str]) -> None:
    """Remove the index, and the shards that are not kept."""
    (folder / INDEX).unlink(missing_ok=True)  # first: without it, the rest is no data
    for path in [*folder.iterdir()]:
        ours = re.fullmatch(r"(train|validation|test|all)-\d{6}\.tar", path.name)
        if path.name.startswith(TEMPORARY) or (ours and path.name not in kept):
            path.unlink()
