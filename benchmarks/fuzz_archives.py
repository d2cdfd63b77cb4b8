"""Fuzzing of data: archives and tables of photos, listed and opened as the verbs do it."""

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fuzz_target import Target
from PIL import Image

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.opening import find_photos, open_source
from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import decode

CLASSES, COUNT = ("ball", "box", "triangle"), 3


def photos() -> dict[str, bytes]:
    """Return small photos by their names in class folders."""
    found = {}
    for place, name in enumerate(CLASSES):
        for number in range(COUNT):
            file = io.BytesIO()
            colour = (80 * place, 60 * number, 40)
            kind = "JPEG" if number % 2 else "PNG"
            Image.new("RGB", (6, 5), colour).save(file, kind)
            found[f"photos/{name}/{number}.{kind.lower()}"] = file.getvalue()
    return found


def opened(path: Path) -> int:
    """Open a place, read its photos and their classes, and return how many could be decoded."""
    source, count = open_source(path), 0
    for name in source.names():
        if not name.endswith("/"):
            try:
                decode(source.read(name), name)
                count += 1
            except ImageError:
                continue
    open_dataset(path)
    return count


def tabled(path: Path) -> int:
    """Open a table as a dataset and as a list of photos; return the number of photos."""
    names = find_photos([path])
    open_dataset(path)
    return len(names)


def zipped(files: dict[str, bytes], method: int) -> bytes:
    """Return a zip archive."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return memory.getvalue()


def tarred(files: dict[str, bytes], kind: int) -> bytes:
    """Return a tar archive, with a long name and an attribute of each member."""
    memory = io.BytesIO()
    with tarfile.TarFile(mode="w", fileobj=memory, format=kind) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("photos/", f"{'photos' * 20}/", 1))
            member.size = len(data)
            if kind == tarfile.PAX_FORMAT:
                member.pax_headers = {"SCHILY.xattr.user.note": "a photo"}
            archive.addfile(member, io.BytesIO(data))
    return memory.getvalue()


def tables(names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield tables that name photos, by suffix."""
    rows = [{"file_name": name, "label": name.split("/")[1]} for name in names]
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        text = io.StringIO()
        writer = csv.DictWriter(text, ["file_name", "label"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        yield suffix, text.getvalue().encode()
    yield ".jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return
    memory = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), memory)
    yield ".parquet", memory.getvalue()


def targets(folder: Path) -> Iterator[Target]:
    """Yield the archives and tables, written into a folder.

    Args:
        folder: an empty folder.
    """
    files = photos()
    packed: list[tuple[str, str, bytes, Callable[[bytes], bytes]]] = [
        ("zip, stored", ".zip", zipped(files, zipfile.ZIP_STORED), bytes),
        ("zip, deflated", ".zip", zipped(files, zipfile.ZIP_DEFLATED), bytes),
    ]
    tars = {
        "ustar and GNU": tarred(files, tarfile.GNU_FORMAT),
        "pax": tarred(files, tarfile.PAX_FORMAT),
    }
    for kind, tar in tars.items():
        packed.append((f"tar, {kind}", ".tar", tar, bytes))
    tar = tars["pax"]
    packers: dict[str, Callable[[bytes], bytes]] = {
        ".tar.gz": partial(gzip.compress, compresslevel=1, mtime=0),
        ".tar.bz2": bz2.compress, ".tar.xz": partial(lzma.compress, preset=0),
    }  # fmt: skip
    for suffix, pack in packers.items():
        packed.append((f"{suffix[1:]}, as packed", suffix, pack(tar), bytes))
        packed.append((f"{suffix[1:]}, packed anew", suffix, tar, pack))
    for number, (title, suffix, piece, wrap) in enumerate(packed):
        path = folder / f"{number}{suffix}"
        path.write_bytes(wrap(piece))
        yield Target(title, path, piece, partial(opened, path), wrap)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    for suffix, piece in tables(list(files)):
        path = folder / f"table{suffix}"
        path.write_bytes(piece)
        yield Target(f"table {suffix[1:]}", path, piece, partial(tabled, path))
    listed = folder / "list.txt"
    listed.write_text("".join(f"{name}\n" for name in files))
    yield Target(
        "list of photos", listed, listed.read_bytes(),
        lambda: len(find_photos([f"@{listed}"])),
    )  # fmt: skip
