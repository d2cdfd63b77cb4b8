"""Writing and checking of files, which get their final name only after they have passed.

``export`` and ``quantize`` share these functions. A format's module in this room has ``write_NAME``
(:data:`Writer`), and ``reload`` if no engine of ``formats.RUNTIMES`` runs its files. The config is
inside the file, or in ``OUT.json`` beside it.
"""

import importlib
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args
from uuid import uuid4

from mobilenetv2 import __version__
from mobilenetv2.errors import (
    ArtifactError,
    MissingExtra,
    MobileNetV2Error,
    argument,
    disk_sentence,
    installing,
    require,
)
from mobilenetv2.files import TEMPORARY, naming, remove_orphans, sha256_of_file, take_place
from mobilenetv2.formats import ALIASES, ENGINES, EXPORTED, RUNTIMES, Format, Precision
from mobilenetv2.locks import hold
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.progress import say
from mobilenetv2.runtime.engines.engine import Engine
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import first_line, json_text

STEM = "model"
RECORD = ".comparison.json"
"""File name ending of the record beside a file."""


Given = Literal["logits", "probabilities"]
"""Outputs of an exported file."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of an exported file."""

    precision: Precision = "float32"
    pictures: bool = False
    """True if the file takes uint8 images (batch, height, width, channels) and normalises them."""
    batch: int | None = None
    """Fixed batch size; None for any, or 1 if the format supports no other."""
    any_size: bool = False
    """True if the file takes any height and width."""
    opset: int | None = None
    """ONNX opset; None for the writer's default."""
    outputs: Given | None = None
    """Outputs of the file: 'logits', or 'probabilities' by the softmax or sigmoid at its end.

    None means logits here; :meth:`for_format` replaces it by what the format's users expect.
    """
    name: str = STEM
    """Short name of the model, for formats whose files have it in a folder or an address."""

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise ArtifactError(f"batch {self.batch} must be at least 1")
        if self.outputs not in (None, *get_args(Given)):
            raise ArtifactError(
                f"outputs {self.outputs!r} are unknown; known are: {', '.join(get_args(Given))}"
            )

    def for_format(self, made: Format) -> "Options":
        """Return the options with the format's usual outputs, if none were chosen.

        They are probabilities where a format can have them, as its own converter writes them.
        """
        usual: Given = "probabilities" if "outputs" in made.options else "logits"
        return self if self.outputs else replace(self, outputs=usual)


Writer = Callable[[ModelConfig, Arrays, Path, Options], None]
"""Function that writes the file (or folder) of a network with canonical arrays, and the files that
``formats.Format.beside`` names. It raises SpecError if the format cannot express the network, and
ArtifactError if its converter fails."""


def writer_of(made: Format) -> Writer:
    """Return the function that writes a format's files.

    Raises:
        MissingExtra: a package is not installed; the message has the install command.
    """
    for package in made.missing():
        require(package)  # raises with the install command
    writer: Writer = getattr(_module(made), f"write_{made.name}")
    return writer


def reload(made: Format, out: Path, threads: int | None = None) -> Engine:
    """Load an exported file in its own runtime, and return the engine.

    Raises:
        ArtifactError, WeightsError: the file was changed or damaged, or the runtime rejects it.
        MissingExtra: a package is not installed.
    """
    for name in ENGINES:
        if RUNTIMES[name].own is made:
            return create_engine(load_artifact(out), name, threads)
    engine: Engine = _module(made).reload(out, threads)
    return engine


def _module(made: Format) -> Any:
    return importlib.import_module(f"mobilenetv2.exporting.{made.writer or made.name}")


@dataclass(frozen=True, slots=True)
class Request:
    """Request for one file."""

    format: Format
    options: Options
    out: Path

    @property
    def label(self) -> str:
        """Format and precision, for progress messages."""
        return f"{self.format.name} {self.options.precision}"


class Verdict(Protocol):
    """Comparison of a file with its network."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""


V = TypeVar("V", bound=Verdict)


@dataclass(frozen=True, slots=True, repr=False)
class Outcome(Generic[V]):
    """Result of one request: the file and its comparison, or the reason why it was not kept."""

    request: Request
    verdict: V | None
    """Comparison with the network; None if the file could not be compared."""
    size: int = 0
    """Size of all its files in bytes; 0 if it was not kept."""
    error: str = ""
    """Reason why the file was not kept, in one sentence; '' if it was kept."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of the JSON, such as the photos that int8 was calibrated on."""

    @property
    def path(self) -> Path:
        """Path of the file, or of the folder of a format that is one."""
        return self.request.out

    @property
    def format(self) -> str:
        """Name of the format."""
        return self.request.format.name

    @property
    def precision(self) -> Precision:
        """Precision of the weights."""
        return self.request.options.precision

    def __repr__(self) -> str:
        result = repr(self.error) if self.error else f"{self.size:,} bytes"
        return f"<{self.request.label} {str(self.path)!r}: {result}>"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = {
            "format": self.format, "precision": self.precision, "file": str(self.path),
            **self.facts,
        }  # fmt: skip
        if self.verdict is not None:
            values |= self.verdict.to_dict()
        return values | ({"error": self.error} if self.error else {"bytes": self.size})


class NotKept(ArtifactError):
    """Error if no requested file was kept.

    Args:
        outcomes: outcomes of all files, with their errors.
    """

    def __init__(self, outcomes: Sequence[Outcome[Any]]) -> None:
        self.outcomes = list(outcomes)
        super().__init__("; ".join(f"{one.path}: {one.error}" for one in outcomes))


class Maker(Protocol[V]):
    """Method to write and check files."""

    def write(self, request: Request, out: Path) -> None:
        """Write the requested file to ``out``."""

    def compare(self, request: Request, engine: Engine) -> V:
        """Compare the predictions of the file with the reference."""

    def refusal(self, verdict: V) -> str:
        """Return the reason why a file is not kept; '' if it is."""

    def facts(self, request: Request) -> dict[str, Any]:
        """Return further facts for the record beside a file."""


def make_files(
    maker: Maker[V], requests: Sequence[Request], facts: Mapping[str, Any] | None = None,
    on_outcome: Callable[[Outcome[V]], object] | None = None,
) -> list[Outcome[V]]:  # fmt: skip
    """Write and check all files one after the other, with a progress message for each.

    Args:
        maker: method to write and check files.
        requests: requests for the files.
        facts: further entries of each outcome's JSON.
        on_outcome: function that is called with each outcome at once.
    """
    outcomes: list[Outcome[V]] = []
    for index, request in enumerate(requests, 1):
        say(f"{index} of {len(requests)}: {request.label}")
        outcomes.append(replace(make_file(maker, request), facts=facts or {}))
        if on_outcome is not None:
            on_outcome(outcomes[-1])
    return outcomes


def require_kept(outcomes: list[Outcome[V]]) -> list[Outcome[V]]:
    """Return the outcomes of a job; raise NotKept if no file was kept."""
    if all(outcome.error for outcome in outcomes):
        raise NotKept(outcomes)
    return outcomes


def make_file(maker: Maker[V], request: Request) -> Outcome[V]:
    """Write a temporary file, reload and check it, and rename it to its path if it passes."""
    out = request.out
    try:
        with folder_beside(out) as folder:
            made = folder / out.name
            maker.write(request, made)
            size = request.format.size(made)
            verdict = maker.compare(request, reload(request.format, made))
            refusal = maker.refusal(verdict)
            if not refusal:
                record = {
                    "file": out.name,
                    "sha256": sha256_of_file(made) if made.is_file() else None,
                    "format": request.format.name,
                    "precision": request.options.precision,
                    "versions": versions(request.format.packages),
                    **maker.facts(request),
                    **verdict.to_dict(),
                }
                text = json_text(record, indent=1, ensure_ascii=False) + "\n"
                (folder / f"{out.name}{RECORD}").write_text(text, "utf-8")
                put_in_place(folder, out)
    except (
        Exception
    ) as error:  # also errors of converters and runtimes, so that the other files are still written
        return Outcome(request, None, error=sentence(error))
    return Outcome(request, verdict, 0 if refusal else size, refusal)


def sentence(error: Exception) -> str:
    """Return the error of one file in one sentence."""
    if isinstance(error, MobileNetV2Error):
        return str(error)
    if isinstance(error, OSError):
        return disk_sentence(error)
    return f"its converter or runtime failed: {type(error).__name__}: {first_line(error)}"


@contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """Hold ``out`` and yield a temporary folder beside it, which is deleted at the end.

    Raises:
        InUse: another process writes ``out``.
        OSError: the folder cannot be written; the error names ``out`` instead of it.
    """
    with hold(out) as alone:
        remove_orphans(out, alone)
        folder = out.with_name(f"{TEMPORARY}{out.name}-{uuid4().hex[:8]}")
        try:
            with naming(out, folder, out.parent):
                folder.mkdir()
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, out: Path) -> None:
    """Move all files in ``folder`` to the folder of ``out``, ``out`` itself last."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name == out.name)
    for entry in entries:
        take_place(entry, out.parent / entry.name)


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of the packages that wrote and ran a file, by name.

    Args:
        packages: import names; this package, Python and NumPy are always included.
    """
    installed = {"mobilenetv2": __version__, "python": platform.python_version()}
    distributions: Mapping[str, Sequence[str]] | None = None
    for package in ("numpy", *packages):
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # its distribution has another name
            distributions = distributions or metadata.packages_distributions()  # reads every file
            for distribution in distributions.get(package, ())[:1]:
                installed[package] = metadata.version(distribution)
    return installed


def place_files(
    formats: Sequence[Format], options: Sequence[Options], out: Path, alone: bool = True
) -> list[Request]:
    """Return a request for each format with each of the options.

    Args:
        formats: the formats.
        options: the options.
        out: path of the file, if there is one request and the ending is that of its format; else
            path of a folder for 'model.onnx', 'model-float16.onnx' and so on. A format with a
            ``place`` takes the folder itself, or one in it beside files of other formats.
        alone: False if there will be files of other formats.

    Raises:
        ArtifactError: ``out`` has the ending of a file, but there are several files.
    """
    requests = [
        Request(made, chosen, _place(made, chosen, out, alone and len(formats) == 1))
        for made in formats
        for chosen in options
    ]
    if len(requests) == 1 and formats[0].suffix and out.name.endswith(formats[0].suffix):
        return [Request(formats[0], options[0], out)]
    endings = [made.suffix for made in _by_name(out)]
    if endings and not out.is_dir():
        count = f"there are {len(requests)}" if len(requests) > 1 else f"not of {formats[0].name}"
        raise ArtifactError(
            f"{out}: {endings[0]} is the ending of one file, and {count}; give a folder instead"
        )
    return requests


def _place(made: Format, options: Options, out: Path, alone: bool) -> Path:
    """Return the path of a file in the folder ``out``, or of a folder as its format has it."""
    marks = _marks(options)
    if not made.place:
        return out / f"{STEM}{marks}{made.suffix or f'.{made.name}'}"
    home = out if alone else out / made.name
    if made.place == "named":
        return home / f"{options.name}{marks}"
    if not home.name or home.name == os.pardir:
        raise ArtifactError(
            f"{out}: the folder that is written needs a name of its own, such as {made.name}"
        )
    return home


def _marks(options: Options) -> str:
    precision = "" if options.precision == "float32" else f"-{options.precision}"
    return precision + ("-pictures" if options.pictures else "")


def find_formats(names: Sequence[str], out: Path) -> list[Format]:
    """Return the formats by name; without names, the format of a file name's ending.

    Raises:
        ArtifactError: a name is unknown, or the ending is that of no format.
    """
    known = [ALIASES.get(name, name) for name in names]
    for name in known:
        if name not in EXPORTED:
            raise ArtifactError(f"format {name!r} is unknown; {suggestion(name, EXPORTED)}")
    if known:
        return [EXPORTED[name] for name in dict.fromkeys(known)]
    if fitting := _by_name(out):
        return [max(fitting, key=lambda one: len(one.suffix))]
    from mobilenetv2.checkpoints.exporter import dialects_of  # it imports every dialect

    if dialects := dialects_of(out):
        raise ArtifactError(
            f"{out}: this ending is of weights for another library, but 'export' writes files that "
            f"run, such as model.onnx; use 'mobilenetv2 weights export MODEL {out} --dialect "
            f"{dialects[0]}' (export_checkpoint in Python); dialects with this ending: "
            f"{', '.join(dialects)}"
        )
    raise ArtifactError(
        f"{out}: no format has this ending; choose one with {argument('format')}, such as "
        f"{', '.join(list(EXPORTED)[:3])}; 'mobilenetv2 export --list' lists all formats"
    )


def _by_name(out: Path) -> list[Format]:
    return [one for one in EXPORTED.values() if one.suffix and out.name.endswith(one.suffix)]


def require_honoured(made: Format, options: Options) -> None:
    """Raise ArtifactError if a format does not support one of the given options."""
    if options.precision not in made.precisions:
        raise ArtifactError(
            f"format {made.name} has no {options.precision}; it has {', '.join(made.precisions)}"
        )
    usual = Options()
    for option in ("pictures", "batch", "any_size", "opset", "outputs"):
        given = getattr(options, option)
        # Every format has logits.
        if given not in (getattr(usual, option), "logits") and option not in made.options:
            able = [one.name for one in EXPORTED.values() if option in one.options]
            raise ArtifactError(
                f"format {made.name} has no option {option}, which is for {', '.join(able)}"
            )


def require_packages(formats: Iterable[Format], more: Iterable[str] = ()) -> None:
    """Raise MissingExtra with the names of all missing packages of the formats, and ``more``."""
    needs = {made.name: made.missing() for made in formats}
    needs |= {"this": [package for package in more if find_spec(package) is None]}
    parts = [f"{name} needs {' and '.join(each)}" for name, each in needs.items() if each]
    if parts:
        lacking = [package for packages in needs.values() for package in packages]
        raise MissingExtra(f"{', '.join(parts)}; install it with: {installing(lacking)}")


@contextmanager
def reserved(requests: Sequence[Request], overwrite: bool) -> Iterator[None]:
    """Hold all requested files, so that no other process writes one of them.

    Args:
        requests: requests for the files.
        overwrite: True if the files may exist.

    Raises:
        InUse: another process writes one of the files.
        ArtifactError: a file exists, or a folder holds what would be lost.
    """
    with ExitStack() as stack:
        for request in requests:
            allowed = partial(require_replaceable if overwrite else require_new, request)
            stack.enter_context(hold(request.out, allowed=allowed))
        yield


def require_new(request: Request) -> None:
    """Raise ArtifactError if a requested file exists."""
    for place in request.format.files(request.out):
        if place.exists():
            raise ArtifactError(
                f"{place}: exists already; choose another path, or give "
                f"{argument('overwrite', True)} to replace it"
            )


def require_replaceable(request: Request) -> None:
    """Raise ArtifactError if the folder of a request holds anything that the format has not."""
    entries = request.format.entries
    if not entries or not request.out.is_dir():
        return
    for entry in sorted(request.out.iterdir()):
        if entry.name not in entries:
            raise ArtifactError(
                f"{entry}: would be lost, so the folder is not replaced; choose another one"
            )
