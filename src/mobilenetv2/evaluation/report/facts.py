"""Tables of a report: the data, the recipe, the model, the environment."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mobilenetv2 import __version__
from mobilenetv2.evaluation.report.html import Child, Markup, definitions, element
from mobilenetv2.evaluation.report.result import Result, temperature_of
from mobilenetv2.evaluation.report.tables import count_table
from mobilenetv2.evaluation.report.words import split_words
from mobilenetv2.evaluation.run_record import RunRecord, epochs_of
from mobilenetv2.formats import FORMATS
from mobilenetv2.model.card import classifier_words, kind
from mobilenetv2.model.store import WEIGHTS
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.foreign import AnyConfig, ForeignConfig
from mobilenetv2.spec.network import ClassifierSpec
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import duration

MOST = 60
"""Largest number of classes in a table that is not folded."""
OF_A_HEAD = frozenset(
    {"trained", "size", "view", "calibrate", "selection", "validation", "most_unreadable", "seed"}
)
"""Recipe keys, without their tables, that are used with ``trained = 'head'``."""
PACKAGES = ("numpy", "Pillow", "torch", "keras", "tensorflow", "jax", "onnxruntime", "openvino")
CPU = Path("/proc/cpuinfo")
TEACHER = "distillation.teacher"
"""Recipe key with a path."""


def data(result: Result, run: RunRecord | None) -> Markup:
    """Return the number of photos of each class, in the splits of the run and in the evaluation."""
    parts: Mapping[str, Mapping[str, int]] = run.parts if run else {}
    columns = {split_words(name): counts for name, counts in parts.items()}
    here = {row.name: row.photos for row in result.metrics.classes if row.photos}
    if parts.get(result.split.name) != here:
        columns["measured here"] = here
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    block = count_table(columns, names)
    if len(names) <= MOST:
        return block
    return element("details", element("summary", f"{len(names)} classes"), block)


def recipe(run: RunRecord, seconds: float | None, private: bool = False) -> Markup:
    """Return the settings of a run and its duration.

    Args:
        run: the records of the run.
        seconds: duration of the training; None for the sum of its epochs.
        private: leave out the data, and the paths of weights and teacher. Default: False.
    """
    # For a resumed run, ``seconds`` is only that of the last part; the rows have all epochs.
    took = max(seconds or 0.0, run.seconds)
    weights = run.started.get("weights", "random weights") if run.started else None
    if private and weights:
        weights = Path(weights).name
    rows: list[tuple[str, Child]] = [
        # Only the name, no path: the page may be shared.
        (
            "trained on",
            Path(run.started["data"]).name if "data" in run.started and not private else None,
        ),
        ("started from", weights),
        ("edition", run.started.get("edition")),
        ("computed in", run.started.get("computes")),
        ("epochs run", f"{epochs_of(run.rows)}"),
        ("time", duration(took) if took else None),
    ]
    head = run.recipe.get("trained") == "head"
    rows += [
        (key.replace("_", " "), Path(value).name if private and key == TEACHER else value)
        for key, value in run.recipe.items()
        if not head or key.rpartition(".")[2] in OF_A_HEAD
    ]
    return definitions(rows)


def model(
    config: AnyConfig, source: Path | None, how: Mapping[str, str] | None = None,
    private: bool = False,
) -> Markup:  # fmt: skip
    """Return facts about the network: size, cost, origin, and settings of the evaluation.

    Args:
        config: the model's config.
        source: the model folder or exported file.
        how: settings of the evaluation. Default: none.
        private: leave out the path of the origin. Default: False.
    """
    seen, origin = config.preprocessing, config.origin
    weights = origin.source if origin else None
    if private and weights:
        weights = weights.replace("\\", "/").rpartition("/")[2]
    file = source / WEIGHTS if source and source.is_dir() else source
    size = file.stat().st_size if file and file.is_file() else None
    rows: list[tuple[str, Child]] = [
        ("network", network_words(config)),
        ("input", f"{config.size[0]} x {config.size[1]} pixels, {config.channels} channels"),
        (
            "resized",
            "none"
            if seen.fit == "none"
            else f"{seen.fit} {seen.resize[0]} x {seen.resize[1]}, {seen.interpolation}",
        ),
        ("classes", f"{config.classes:,}"),
        *(_ours(config) if isinstance(config, ModelConfig) else _assumed(config)),
        ("file", f"{size / 1e6:.1f} MB" if size else None),
        ("weights from", weights),
        ("SHA-256", element("code", origin.sha256) if origin and origin.sha256 else None),
        ("licence", (origin.licence if origin else None) or "unknown"),
        ("steps", " ".join(origin.history) or None if origin and not private else None),
        ("note", origin.note or None if origin and not private else None),
        *(how or {}).items(),
    ]
    return definitions(rows)


def network_words(config: AnyConfig) -> str:
    """Return the kind of a network, and its width if it has one."""
    if isinstance(config, ModelConfig):
        return f"{kind(config.spec)} of width {config.spec.width:g}"
    return f"{FORMATS[config.format].title} file of another program"


def _ours(config: ModelConfig) -> list[tuple[str, Child]]:
    spec, temperature = config.spec, temperature_of(config)
    return [
        ("head", classifier_words(spec) if spec.classifier != ClassifierSpec() else None),
        ("parameters", f"{parameters(spec):,}"),
        ("multiply-adds", f"{multiply_adds(spec):,}"),
        ("padding", spec.numerics.padding),
        (
            "temperature",
            f"{temperature:.3f} (the classifier was divided by it)" if temperature else None,
        ),
    ]


def _assumed(config: ForeignConfig) -> list[tuple[str, Child]]:
    return [("assumed", note) for note in config.notes[1:]]


def environment() -> list[tuple[str, str]]:
    """Return (name, version) of packages and system, without importing the packages."""
    return [
        ("mobilenetv2", __version__),
        ("Python", platform.python_version()),
        *((name, found) for name in PACKAGES if (found := _version(name))),
        ("processor", processor(CPU.read_text() if CPU.is_file() else "")),
        ("cores", str(os.cpu_count() or 1)),
        ("system", f"{platform.system()} {platform.release()} ({platform.machine()})"),
    ]


def processor(text: str) -> str:
    """Return the processor's name in the text of ``/proc/cpuinfo``, else the platform's name."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
