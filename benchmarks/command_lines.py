"""Command lines of every verb, on small photos and models with odd names."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mobilenetv2.exporting.export import export
from mobilenetv2.formats import FORMATS, OF_INT8
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing
from mobilenetv2.weights import export_checkpoint

CLASSES = ("hat \U0001f600", "\u6f22\u5b57", "e\u0301te\u0301")
"""Names of classes: an emoji, CJK, combining letters."""
ODD = (b"caf\xe9.png", b"line\nbreak.png", b"\x1b[31mred.png", "\u65e5\U0001f408.png".encode())
"""Names of photos that are no UTF-8, or hold control characters, CJK or an emoji."""
QUICK = ("network=small", "width=0.1", "size=32", "batch_size=4", "learning_rate=0.02")
SHORT = ("--weights", "none", "--epochs", "1", *(w for change in QUICK for w in ("--set", change)))


@dataclass(frozen=True, slots=True)
class Inputs:
    """Folder of photos, a model and weights files, made by :func:`make_inputs`."""

    folder: Path
    photos: Path
    """Folder of class folders, 12 photos in each."""
    odd: Path
    """Folder of photos with the names :data:`ODD`, and a file that is no photo."""
    model: Path
    weights: Mapping[str, Path]
    """Files to import, by their container."""
    exported: Mapping[str, Path]
    """Files to predict with, by their format."""


def make_inputs(folder: Path, formats: Sequence[str] = ("onnx", "litert")) -> Inputs:
    """Draw photos and write a random model, whose names are odd, into an empty folder.

    Args:
        folder: where the inputs go.
        formats: formats of files to predict with.
    """
    draw = np.random.default_rng(0)
    photos, odd = folder / "photos \u6f22", folder / "odd"
    for label, name in enumerate(CLASSES):
        (photos / name).mkdir(parents=True)
        for index in range(12):
            levels = draw.integers(0, 120, (40, 40, 3), np.uint8)
            levels[..., label] += 100
            Image.fromarray(levels).save(photos / name / f"{index}.png")
    odd.mkdir()
    first = (photos / CLASSES[0] / "0.png").read_bytes()
    for encoded in ODD:
        (odd / os.fsdecode(encoded)).write_bytes(first)
    (odd / "broken \U0001f480.png").write_bytes(first[:60])
    spec = published("torchvision", width=0.1, size=64, classes=len(CLASSES))
    model = folder / "model \u00e9\U0001f600"
    config = ModelConfig(spec, Preprocessing.default(spec), Labels(CLASSES))
    store.save(model, config, random_arrays(spec))
    weights = {"torch": folder / "weights.pth"}
    export_checkpoint(model, weights["torch"], dialect="torchvision")
    exported = {name: folder / f"exported{FORMATS[name].suffix}" for name in formats}
    for path in exported.values():
        export(model, path)
    weights |= {name: path for name, path in exported.items() if FORMATS[name].graph}
    return Inputs(folder, photos, odd, model, weights, exported)


def command_lines(inputs: Inputs, out: Path) -> dict[str, list[str]]:
    """Return command lines by name: every verb, and the forms of its output.

    Args:
        inputs: what they read.
        out: folder for what they write.
    """
    photos, odd, model = str(inputs.photos), str(inputs.odd), str(inputs.model)
    several = [photos, "--model", model]
    lines = {
        "help": ["--help"], "version": ["--version"], "completion": ["--completion", "bash"],
        "help of a verb": ["train", "--help"],
        "describe": ["describe", model], "describe --json": ["describe", model, "--json"],
        "predict": ["predict", odd, "--model", model],
        "predict --json": ["predict", odd, photos, "--model", model, "--json"],
        "predict --csv": ["predict", odd, "--model", model, "--csv", f"{out}/\u6f22.csv"],
        "predict --csv /dev/stdout": ["predict", odd, "--model", model, "--csv", "/dev/stdout"],
        "predict --features": ["predict", odd, "--model", model, "--features"],
        "predict, embedded": ["predict", odd],
        "no such model": ["predict", odd, "--model", f"{out}/no\udce9 \U0001f600"],
        "no such option": ["predict", odd, "--\u6f22\udce9"],
        "no such verb": ["\u6f22\udce9"],
        "weights list": ["weights", "list"], "weights list --json": ["weights", "list", "--json"],
        "weights fetch, unknown": ["weights", "fetch", "\u6f22"],
        "export --list": ["export", "--list"],
        "evaluate": ["evaluate", *several],
        "evaluate --report": ["evaluate", *several, "--report", f"{out}/report", "--json"],
        "explain": [
            "explain", odd, "--model", model, "--output", f"{out}/maps", "--runtime", "torch",
        ],
        "explain --json": ["explain", odd, "--model", model, "--output", f"{out}/maps", "--json"],
        "audit": ["audit", photos, "--output", f"{out}/audit"],
        "audit --json": ["audit", photos, "--model", model, "--json"],
        "parity": ["parity", model, "--editions", "torch,numpy"],
        "benchmark": [
            "benchmark", model, "--data", photos, "--runtime", "onnxruntime", "--threads", "1",
            "--batch", "1", "--seconds", "0.1", "--output", f"{out}/benchmark",
        ],
    }  # fmt: skip
    for engine, path in inputs.exported.items():
        lines[f"predict, {engine}"] = ["predict", odd, "--model", str(path), "--json"]
    for engine in ("torch", "onnxruntime", "openvino", "litert"):
        lines[f"predict, {engine}"] = [
            "predict", odd, "--model", model, "--runtime", engine, "--json",
        ]  # fmt: skip
    for container, path in inputs.weights.items():
        place = f"{out}/imported \u6f22"
        lines[f"weights import, {container}"] = ["weights", "import", str(path), place]
    for dialect, suffix in (("torchvision", "pth"), ("keras", "h5"), ("timm", "safetensors")):
        lines[f"weights export, {dialect}"] = [
            "weights", "export", model, f"{out}/\u00e9.{suffix}", "--dialect", dialect,
            "--ignore-numerics",
        ]  # fmt: skip
    for name, row in FORMATS.items():
        lines[f"export, {name}"] = [
            "export", model, f"{out}/\u00e9{row.suffix}", "--format", name, "--json",
        ]  # fmt: skip
    for name in OF_INT8:
        lines[f"quantize, {name}"] = [
            "quantize", model, f"{out}/int8{FORMATS[name].suffix}", "--format", name,
            "--data", photos, "--calibration-photos", "12", "--force",
        ]  # fmt: skip
    lines["quantize, nncf"] = [*lines["quantize, openvino"], "--method", "nncf"]
    for edition in ("torch", "keras", "jax"):
        lines[f"train, {edition}"] = [
            "train", photos, "--output", f"{out}/run \u6f22", "--edition", edition, *SHORT,
        ]  # fmt: skip
    lines["train --json"] = [*lines["train, torch"], "--json"]
    return lines
