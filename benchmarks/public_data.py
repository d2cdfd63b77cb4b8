"""The public data that tests and benchmarks use, and `make data`, which fetches it.

    python benchmarks/public_data.py [NAME ...]

`public_data.toml` is the table. A dataset is looked for in the folder that the environment variable
MOBILENETV2_DATA names; without that variable, in `data/` of the checkout (where `make data` puts
it) and in `../shared/data` beside it. What is fetched is compared with the table.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.hub.download import UNKNOWN, Checksum, download

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = "MOBILENETV2_DATA"
TABLE = Path(__file__).with_suffix(".toml")
LARGEST_ARCHIVE = 2 * 1024**3
"""Bytes of an archive, which may hold more than is kept of it."""


class MissingData(MobileNetV2Error):
    """A dataset that is not on this machine; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of the table."""

    name: str
    what: str
    licence: str
    page: str
    """Where people find it."""
    count: int
    """Files."""
    size: int
    """Bytes."""
    sha256: str
    """SHA-256 of the names and contents, as :func:`contents_sha256` computes it."""
    address: str = ""
    """Address that a name of ``files`` is added to, where they are fetched one by one."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path inside the dataset -> SHA-256."""
    archive: str = ""
    """Address of a zip file, whose one folder has everything."""
    keep: tuple[str, ...] = ()
    """Folders of the archive that belong to the dataset."""
    zipped: bool = False
    """Every kept folder is a zip file here."""
    half: Mapping[str, str] = field(default_factory=dict)
    """Class -> hexadecimal number, whose bit N stands for test/CLASS/N.jpg; without, all belong."""

    def members(self, folder: Path) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the content of every file of the dataset in ``folder``."""
        if not self.zipped:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    yield path.relative_to(folder).as_posix(), path.read_bytes()
            return
        for kept in self.keep:
            with zipfile.ZipFile(folder / f"{kept.rstrip('/')}.zip") as archive:
                for name in archive.namelist():
                    yield name, archive.read(name)

    def entries(self) -> list[str]:
        """Return the paths inside the dataset that show that it is there."""
        if self.files:
            return list(self.files)
        return [kept.rstrip("/") + (".zip" if self.zipped else "") for kept in self.keep]

    def has(self, name: str) -> bool:
        """Return whether a file of the archive, by its path there, belongs to the dataset."""
        if not name.startswith(self.keep) or name.endswith("/"):
            return False
        parts = PurePosixPath(name)
        if not self.half or parts.parts[0] != "test":
            return True
        return bool(int(self.half[parts.parts[1]], 16) >> int(parts.stem) & 1)


def datasets(table: Path = TABLE) -> dict[str, Dataset]:
    """Read the table: name -> dataset."""
    with table.open("rb") as file:
        rows = tomllib.load(file)
    return {
        name: Dataset(name, **{**row, "keep": tuple(row.get("keep", ()))})
        for name, row in rows.items()
    }


def places() -> list[Path]:
    """Return the folders in which datasets are looked for."""
    chosen = os.environ.get(VARIABLE)
    return [Path(chosen)] if chosen else [ROOT / "data", ROOT.parent / "shared" / "data"]


def find(name: str, table: Path = TABLE) -> Path:
    """Return the folder of a dataset.

    Raises:
        MissingData: it is not on this machine; the message names the way to get it.
        KeyError: no such dataset in the table.
    """
    dataset = datasets(table)[name]
    for place in places():
        if all((place / name / entry).exists() for entry in dataset.entries()):
            return place / name
    raise MissingData(
        f"the dataset {name!r} ({dataset.what}) is not on this machine: `make data` fetches it "
        f"from {dataset.page}, or set {VARIABLE} to a folder that has it as {name}/"
    )


def resolve(text: str) -> str:
    """Return a path for an option of a benchmark.

    Args:
        text: a dataset, a path inside one (``clothing/train``), or any other path, which stays.

    Raises:
        MissingData: as :func:`find`.
    """
    name, _, inside = text.partition("/")
    if name not in datasets() or Path(text).exists():
        return text
    return str(find(name) / inside)


def contents_sha256(members: Iterable[tuple[str, bytes]]) -> tuple[int, int, str]:
    """Return how many files there are, their bytes, and one SHA-256 of all names and contents."""
    lines, size = [], 0
    for name, content in members:
        lines.append((name, hashlib.sha256(content).hexdigest()))
        size += len(content)
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(lines))
    return len(lines), size, hashlib.sha256(text.encode()).hexdigest()


def fetch(dataset: Dataset, place: Path) -> Path:
    """Fetch a dataset into ``place``; its folder is there whole and compared, or not at all.

    What has arrived before a failure is kept beside, and the next call goes on from there.

    Raises:
        MobileNetV2Error: it cannot be had, or is not what the table says.
        OSError: ``place`` cannot be written.
    """
    target, partial = place / dataset.name, place / ".partial" / dataset.name
    if target.exists():
        raise MobileNetV2Error(
            f"{target} is there, but lacks some of its files; move it away, then `make data`"
        )
    partial.mkdir(parents=True, exist_ok=True)
    made = partial / "whole"
    if dataset.files:
        for name, digest in dataset.files.items():
            address = dataset.address + PurePosixPath(name).name
            download(address, made / name, Checksum(digest))
        for lock in made.rglob("*.lock"):  # the downloader's
            lock.unlink()
    else:
        archive = partial / "archive.zip"
        download(dataset.archive, archive, UNKNOWN, size_limit=LARGEST_ARCHIVE)
        shutil.rmtree(made, ignore_errors=True)
        unpack(dataset, archive, made)
    found = contents_sha256(dataset.members(made))
    wanted = dataset.count, dataset.size, dataset.sha256
    if found != wanted:
        shutil.rmtree(partial)
        raise MobileNetV2Error(
            f"{dataset.name}: what came from {dataset.address or dataset.archive} is not what the "
            f"table says: {found[0]:,} files of {found[1]:,} bytes (SHA-256 {found[2][:16]}...) "
            f"for {wanted[0]:,} of {wanted[1]:,} ({wanted[2][:16]}...); nothing of it was kept"
        )
    os.replace(made, target)
    shutil.rmtree(partial)
    return target


def unpack(dataset: Dataset, archive: Path, made: Path) -> None:
    """Write what belongs to a dataset from its archive into the folder ``made``."""
    with zipfile.ZipFile(archive) as source:
        names: dict[str, str] = {}
        for name in source.namelist():
            inside = name.partition("/")[2]  # behind the archive's one folder
            if dataset.has(inside) and ".." not in PurePosixPath(inside).parts:
                names[inside] = name
        size = sum(source.getinfo(name).file_size for name in names.values())
        if size > 2 * dataset.size:
            raise MobileNetV2Error(
                f"{dataset.archive}: {size:,} bytes unpacked, but the table says {dataset.size:,}"
            )
        made.mkdir(parents=True)
        if not dataset.zipped:
            for inside, name in names.items():
                (made / inside).parent.mkdir(parents=True, exist_ok=True)
                (made / inside).write_bytes(source.read(name))
            return
        for kept in dataset.keep:
            with zipfile.ZipFile(made / f"{kept.rstrip('/')}.zip", "w") as packed:
                for inside in sorted(names):
                    if inside.startswith(kept):
                        packed.writestr(zipfile.ZipInfo(inside), source.read(names[inside]))


def main(words: list[str] | None = None, table: Path = TABLE) -> int:
    """Fetch what is missing; 1 where a dataset cannot be fetched, else 0."""
    known = datasets(table)
    parser = argparse.ArgumentParser(description="Fetch the public data of tests and benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    wanted = parser.parse_args(words).names or list(known)
    if unknown := sorted(set(wanted) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    place, failed = places()[0], []
    for name in wanted:
        dataset = known[name]
        try:
            print(f"{name}: is in {find(name, table)}")
            continue
        except MissingData:
            print(f"{name}: {dataset.what}; licence: {dataset.licence}", flush=True)
        try:
            print(f"{name}: {dataset.size / 1e6:.0f} MB, now in {fetch(dataset, place)}")
        except (MobileNetV2Error, OSError) as error:
            failed.append(name)
            print(f"{name}: {error}", file=sys.stderr)
    for name in failed:
        print(
            f"{name} could not be fetched: take it from {known[name].page} by hand, into "
            f"{place / name}, as {TABLE.name} says; tests that need it are skipped until then",
            file=sys.stderr,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
