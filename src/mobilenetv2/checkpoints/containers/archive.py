"""Zip and tar archives read with bounds: what a member declares is counted before it is believed.

No member's name is ever a path: callers ask for the names they know and choose where they go.
"""

import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from mobilenetv2.checkpoints.containers.container import Budget
from mobilenetv2.errors import WeightsError

PIECE = 1024**2
TAR_EXPANSION = 4
"""A published archive also holds graphs and training state, which are passed over unread."""
MEMBER = re.compile(r"(?P<stem>.+?)(?P<part>\.index|\.data-\d{5}-of-\d{5})")


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip whose every member was read once and has the checksum that it should.

    PyTorch and Keras do not look at checksums: damaged weights would come in unnoticed.

    Raises:
        WeightsError: damaged, too many members or bytes, one name twice, or encrypted.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            budget, seen = Budget(path.stat().st_size), set()
            for member in archive.infolist():
                budget.take(member.filename, member.file_size)
                if member.filename in seen:
                    raise WeightsError(f"damaged: the member {member.filename!r} is there twice")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise WeightsError(f"the member {member.filename!r} is compressed unusually")
                seen.add(member.filename)
            for member in archive.infolist():
                with archive.open(member) as file:
                    while file.read(PIECE):
                        pass
            yield archive
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise WeightsError(f"damaged zip file ({error}); download it again") from None
    except (EOFError, ValueError, OSError) as error:
        raise WeightsError(f"damaged zip file ({error}); download it again") from None


def copy(source: IO[bytes], target: Path, size: int) -> None:
    """Copy the ``size`` bytes that were declared, and not one more.

    Raises:
        WeightsError: there are fewer, or more.
    """
    left = size
    with target.open("xb") as file:
        while piece := source.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            file.write(piece)
    if left:
        raise WeightsError("damaged archive: a member has not the size that it declares")


def extract_checkpoint(path: Path, folder: Path) -> Path:
    """Take the files of the one TensorFlow checkpoint out of a tar, under names of our own.

    Returns:
        The checkpoint's prefix inside ``folder``.

    Raises:
        WeightsError: no checkpoint, more than one, links in its place, or too large.
    """
    budget = Budget(path.stat().st_size * TAR_EXPANSION)
    parts: dict[str, list[str]] = {}
    try:
        with path.open("rb") as file:
            gzipped = file.read(2) == b"\x1f\x8b"
        with tarfile.open(path, "r:gz" if gzipped else "r:") as archive:
            for member in archive:
                budget.take(member.name, member.size)
                found = MEMBER.fullmatch(PurePosixPath(member.name).name)
                if found is None or not member.isreg():
                    continue
                stem = str(PurePosixPath(member.name).with_name(found["stem"]))
                parts.setdefault(stem, []).append(found["part"])
                source = archive.extractfile(member)
                assert source is not None  # a regular member
                target = folder / f"{list(parts).index(stem)}{found['part']}"
                copy(source, target, member.size)
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise WeightsError(f"damaged tar file ({error}); download it again") from None
    whole = [number for number, found in enumerate(parts.values()) if ".index" in found]
    if len(whole) != 1:
        raise WeightsError(
            f"a tar with {len(whole)} TensorFlow checkpoints; unpack it and name the one you want"
        )
    return folder / str(whole[0])
