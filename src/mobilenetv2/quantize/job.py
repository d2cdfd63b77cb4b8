"""int8 files made, run in their own runtime, judged, and only then put into place."""

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, MissingExtra, MobileNetV2Error, installing
from mobilenetv2.export.format import module_of
from mobilenetv2.export.job import COMPARISON, beside, settle
from mobilenetv2.export.versions import versions
from mobilenetv2.formats import FORMATS, OF_INT8, Format
from mobilenetv2.model.checksum import file_sha256
from mobilenetv2.model.folding import Folded
from mobilenetv2.progress import say
from mobilenetv2.quantize.judgement import MOST_LOST, Judge, Judgement
from mobilenetv2.quantize.scheme import Scheme

STEM = "model-int8"
NNCF = "nncf"
"""The other way to an OpenVINO file: Intel's own calibration and bias correction."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    format: str
    out: Path
    judgement: Judgement | None
    size: int = 0
    """Bytes of all its files."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """What all files of one call share."""

    scheme: Scheme
    folded: Folded
    """The float network, for converters that quantise by themselves."""
    pictures: NDArray
    """That were calibrated on: uint8 (photos, height, width, channels)."""
    judge: Judge
    facts: Mapping[str, Any]
    """For the record beside each file: which photos, which method."""
    nncf: bool = False
    """OpenVINO's file by NNCF."""
    force: bool = False
    """Keep what loses too much, as well."""


def places(names: Sequence[str], out: Path) -> dict[str, Path]:
    """Format -> file: ``out`` itself, where it ends as the one format's files do."""
    if len(names) == 1 and out.name.endswith(FORMATS[names[0]].suffix):
        return {names[0]: out}
    if out.suffix in {FORMATS[name].suffix for name in OF_INT8} or out.is_file():
        raise ArtifactError(
            f"{out}: it ends as one file does, or is one, and {', '.join(names)} is asked for; "
            "name a folder instead"
        )
    return {name: out / f"{STEM}{FORMATS[name].suffix}" for name in names}


def require_packages(names: Sequence[str], nncf: bool = False) -> None:
    """Raise before anything is computed if packages are missing.

    Raises:
        MissingExtra: all of them; the message has the line that installs them.
    """
    needed = {package for name in names for package in FORMATS[name].missing()}
    if nncf and find_spec(NNCF) is None:
        needed.add(NNCF)
    if needed:
        raise MissingExtra(
            f"{' and '.join(sorted(needed))} not installed, and this needs it; "
            f"install it with: {installing(needed)}"
        )


def run(job: Job, wanted: Mapping[str, Path]) -> Iterator[Outcome]:
    """Every file that is wanted, one after the other; each is announced."""
    for index, (name, out) in enumerate(wanted.items(), 1):
        say(f"{index} of {len(wanted)}: {name} int8")
        try:
            yield quantise_to(job, name, out)
        except MobileNetV2Error as error:
            yield Outcome(name, out, None, error=str(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            yield Outcome(name, out, None, error=f"{where}{error.strerror or error}")
        except Exception as error:  # a converter's or a runtime's own: others have their turn
            reason = str(error).strip().partition("\n")[0]
            yield Outcome(
                name, out, None,
                error=f"its converter or runtime failed: {type(error).__name__}: {reason}",
            )  # fmt: skip


def quantise_to(job: Job, name: str, out: Path) -> Outcome:
    """One file: written beside its place, reloaded, judged, renamed.

    Raises:
        MissingExtra: a package is not installed.
        ArtifactError: the converter or the runtime failed.
        OSError: the disk is full, or the place cannot be written.
    """
    format_ = FORMATS[name]
    with beside(out) as folder:
        made = folder / out.name
        write(name, job.scheme, job.folded, job.pictures, made, job.nncf)
        size = sum(file.stat().st_size for file in folder.iterdir())
        judgement = job.judge.judge(module_of(format_).reload(made), f"{name} int8")
        kept = judgement.passed or job.force
        if kept:
            record = describe(job, format_, made, judgement)
            text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
            (folder / f"{out.name}{COMPARISON}").write_text(text, "utf-8")
            settle(folder, out)
    if kept:
        return Outcome(name, out, judgement, size)
    return Outcome(
        name, out, judgement,
        error=f"it loses {judgement.drop:.1f} points of top-1 where at most {MOST_LOST:.1f} are "
        "allowed, so it was not kept; more calibration photos, another --method or --train may "
        "help, and --force keeps it",
    )  # fmt: skip


def write(
    name: str, scheme: Scheme, folded: Folded, pictures: NDArray, out: Path, nncf: bool = False
) -> None:
    """The file of a format, unjudged.

    Args:
        folded: the float network, for NNCF, which quantises by itself.
        pictures: to calibrate on, for the same.
        nncf: OpenVINO's file by NNCF, not by the scheme.
    """
    module: Any = importlib.import_module(f"mobilenetv2.quantize.{name}")
    if name == "openvino" and nncf:
        module.write(scheme.config, folded, pictures, out)
    elif name == "openvino":
        module.write_scheme(scheme, out)
    elif name == "litert":
        # Ends of uint8, as published files have them: a pixel is the integer where the
        # preprocessing is one mean and deviation, and MediaPipe takes nothing else.
        out.write_bytes(module.write(scheme, unsigned=True))
    else:
        out.write_bytes(module.write(scheme))


def describe(job: Job, format_: Format, made: Path, judgement: Judgement) -> dict[str, Any]:
    """What is written beside a file."""
    return {
        "file": made.name,
        "sha256": file_sha256(made),
        "format": format_.name,
        "precision": "int8",
        "reference": "the float32 network in ONNX Runtime",
        **job.facts,
        "versions": versions((*format_.packages, *((NNCF,) if job.nncf else ()))),
        **judgement.to_dict(),
    }
