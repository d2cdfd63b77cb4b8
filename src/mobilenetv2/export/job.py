"""Files made, run in their own runtime, compared, and only then put into place."""

import errno
import glob
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.export.format import Options, find, module_of, require_honoured
from mobilenetv2.export.verify import Comparison, Reference
from mobilenetv2.export.versions import versions
from mobilenetv2.files import TEMPORARY, take_place
from mobilenetv2.formats import FORMATS, Format
from mobilenetv2.model.checksum import file_sha256
from mobilenetv2.progress import say

STEM = "model"
COMPARISON = ".comparison.json"
LONG_AGO = 24 * 3600.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Request:
    """One file that is wanted."""

    format: Format
    options: Options
    out: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it."""

    request: Request
    comparison: Comparison | None
    size: int = 0
    """Bytes of all its files."""
    error: str = ""


def requests(names: Sequence[str], options: Sequence[Options], out: Path) -> list[Request]:
    """What ``--format A,B --precision C,D`` asks for.

    Args:
        names: formats; none takes the one that ``out`` ends in.
        options: one for each precision.
        out: a file, where one format in one precision is asked for and it ends as that does; else
            a folder, in which the files are 'model.onnx', 'model-float16.onnx' and so on.

    Raises:
        ArtifactError: an unknown format, an option that it does not honour, no format at all, or
            ``out`` ends as a file does and is to be a folder.
    """
    formats = [find(name) for name in names] or [_by_suffix(out)]
    found = [
        Request(made, chosen, out / f"{STEM}{_marks(chosen)}{made.suffix or f'.{made.name}'}")
        for made in formats
        for chosen in options
    ]
    for request in found:
        require_honoured(request.format, request.options)
    if len(found) == 1 and formats[0].suffix and out.name.endswith(formats[0].suffix):
        return [Request(formats[0], options[0], out)]
    ending = next((one.suffix for one in FORMATS.values() if _ends(out, one)), "")
    if ending and not out.is_dir():
        count = f"{len(found)} are asked for" if len(found) > 1 else f"not {formats[0].name}"
        raise ArtifactError(
            f"{out}: {ending} is the ending of one file, and {count}; name a folder instead"
        )
    return found


def _ends(out: Path, format_: Format) -> bool:
    return bool(format_.suffix) and out.name.endswith(format_.suffix)


def _marks(options: Options) -> str:
    precision = "" if options.precision == "float32" else f"-{options.precision}"
    return precision + ("-pictures" if options.pictures else "")


def _by_suffix(out: Path) -> Format:
    fitting = [one for one in FORMATS.values() if _ends(out, one)]
    if not fitting:
        raise ArtifactError(
            f"{out}: which format? No format's file ends so; give --format, such as --format "
            f"{','.join(list(FORMATS)[:3])}; 'mobilenetv2 export --list' has them all"
        )
    return max(fitting, key=lambda one: len(one.suffix))


def export(reference: Reference, wanted: Request) -> Outcome:
    """One file: written beside its place, reloaded, compared, renamed.

    Raises:
        MissingExtra: a package is not installed.
    """
    module = module_of(wanted.format)

    def write(out: Path) -> None:
        module.write(reference.config, reference.arrays, out, wanted.options)

    def verify(out: Path) -> Comparison:
        engine, precision = module.reload(out), wanted.options.precision
        found = reference.compare(engine, precision)
        if wanted.options.any_size and found.passed:
            elsewhere = reference.elsewhere.compare(engine, precision)
            return found if elsewhere.passed else elsewhere
        return found

    try:
        comparison, size = place(wanted, write, verify)
    except MobileNetV2Error as error:
        return Outcome(wanted, None, error=str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return Outcome(wanted, None, error=f"{where}{error.strerror or error}")
    except Exception as error:  # a converter's or a runtime's own: others still have their turn
        reason = str(error).strip().partition("\n")[0]
        return Outcome(
            wanted, None, error=f"its converter or runtime failed: {type(error).__name__}: {reason}"
        )
    if not comparison.passed:
        return Outcome(wanted, comparison, error=outside(comparison))
    return Outcome(wanted, comparison, size)


def outside(comparison: Comparison) -> str:
    """Why a file was not kept."""
    return (
        f"it differs from its edition by {comparison.difference:.3g} where at most "
        f"{comparison.tolerance * max(1.0, comparison.largest):.3g} is allowed, so it was not kept"
    )


def place(
    wanted: Request, write: Callable[[Path], None], verify: Callable[[Path], Comparison]
) -> tuple[Comparison, int]:
    """Write, verify, and rename into place what passes; the comparison, and the size in bytes."""
    with beside(wanted.out) as folder:
        made = folder / wanted.out.name
        write(made)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        comparison = verify(made)
        if comparison.passed:
            record = describe(wanted, made, comparison)
            text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
            (folder / f"{wanted.out.name}{COMPARISON}").write_text(text, "utf-8")
            settle(folder, wanted.out)
    return comparison, size


def describe(wanted: Request, made: Path, comparison: Comparison) -> dict[str, Any]:
    """What is written beside an exported file."""
    return {
        "file": wanted.out.name,
        "sha256": file_sha256(made) if made.is_file() else None,
        "format": wanted.format.name,
        "precision": wanted.options.precision,
        "takes": "uint8 pictures" if wanted.options.pictures else "normalised float32",
        "runs_here": wanted.format.runs_here,
        "reference": "the NumPy edition in float64",
        "versions": versions(wanted.format.packages),
        **comparison.to_dict(),
    }


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A temporary folder in the one where ``out`` is to be; it is gone at the end.

    Raises:
        OSError: the place cannot be written; it is called by its own name, not by a temporary one.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sweep_old(out)
        folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{out.name}-", dir=out.parent))
    except FileExistsError:
        raise NotADirectoryError(
            errno.ENOTDIR, "is a file, not a folder", str(out.parent)
        ) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(out)) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_old(out: Path) -> None:
    """Remove what exports of ``out`` that were killed left, once nobody can be writing there."""
    for orphan in out.parent.glob(f"{TEMPORARY}{glob.escape(out.name)}-*"):
        if time.time() - orphan.stat().st_mtime > LONG_AGO:
            shutil.rmtree(orphan, ignore_errors=True)


def settle(folder: Path, out: Path) -> None:
    """Rename everything in ``folder`` to where ``out`` is to be, ``out`` itself last."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name == out.name)
    for entry in entries:
        take_place(entry, out.parent / entry.name)


def run(reference: Reference, wanted: Sequence[Request]) -> Iterator[Outcome]:
    """Every file that is wanted, one after the other; each is announced."""
    for index, request in enumerate(wanted, 1):
        say(f"{index} of {len(wanted)}: {request.format.name} {request.options.precision}")
        yield export(reference, request)
