"""Our files in other projects' own models, and theirs in ours: how far apart are the logits?

    python benchmarks/dialects.py --output benchmarks/dialects.md

Takes the libraries that are installed of torchvision, timm, keras and transformers (torchvision and
timm need an environment of their own, see CONTRIBUTING.md: give them another output). Random
weights with statistics far from the identity; two pictures of noise; our logits are the NumPy
edition's in float64. Then the whole commands are timed against the bare import of their framework.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from numpy.typing import NDArray

from mobilenetv2.checkpoints.exporter import write_checkpoint
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.editions import numpy as plain
from mobilenetv2.files import write_atomically
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.progress import say
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

CLASSES, RUNS = 11, 5
Theirs = Callable[[NDArray], NDArray]
"""float32 (batch, height, width, 3) -> logits of the original library's model."""


def torchvision(width: float, size: Size) -> tuple[str, NetworkSpec, Any, Any, Any]:
    import torch
    from torchvision.models import mobilenet_v2

    model = mobilenet_v2(num_classes=CLASSES, width_mult=width).eval()
    return "m.pth", published("torchvision", width=width), *_pytorch(torch, model)


def timm(width: float, size: Size) -> tuple[str, NetworkSpec, Any, Any, Any]:
    import timm as library
    import torch

    family = {1.1: "timm-110d", 1.2: "timm-120d"}.get(width, "timm")
    name = f"mobilenetv2_{round(100 * width):03}{'d' if width in (1.1, 1.2) else ''}"
    model = library.create_model(name, num_classes=CLASSES).eval()
    return "m.safetensors", published(family, width=width), *_pytorch(torch, model)


def _pytorch(torch: Any, model: Any) -> tuple[Any, Any, Any]:
    def load(path: Path) -> None:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            model.load_state_dict(load_file(path))
        else:
            model.load_state_dict(torch.load(path, weights_only=True))

    def logits(x: NDArray) -> NDArray:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy())

    def save(folder: Path) -> Path:
        torch.save(model.state_dict(), folder / "theirs.pth")
        return folder / "theirs.pth"

    return load, logits, save


def keras(width: float, size: Size) -> tuple[str, NetworkSpec, Any, Any, Any]:
    import keras as library

    model = library.applications.MobileNetV2(
        (*size, 3), alpha=width, weights=None, classes=CLASSES, classifier_activation=None
    )

    def save(folder: Path) -> Path:
        model.save_weights(folder / "theirs.weights.h5")
        return folder / "theirs.weights.h5"

    return "m.h5", published("keras", width=width), model.load_weights, model.predict_on_batch, save


def transformers(width: float, size: Size) -> tuple[str, NetworkSpec, Any, Any, Any]:
    import torch
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    found = [MobileNetV2ForImageClassification(
        MobileNetV2Config(depth_multiplier=width, num_labels=CLASSES)
    )]  # fmt: skip

    def load(path: Path) -> None:
        found[0] = MobileNetV2ForImageClassification.from_pretrained(path)

    def logits(x: NDArray) -> NDArray:
        with torch.inference_mode():
            pixels = torch.from_numpy(x).permute(0, 3, 1, 2)
            return np.asarray(found[0].eval()(pixels).logits.numpy())

    def save(folder: Path) -> Path:
        found[0].save_pretrained(folder / "theirs")
        return folder / "theirs"

    return "hub", published("huggingface", width=width, background=None), load, logits, save


CASES: tuple[tuple[Any, str, float, Size], ...] = (
    *((torchvision, "torchvision", width, (224, 224)) for width in (0.35, 1.0, 1.4)),
    (torchvision, "torchvision", 1.0, (225, 193)),
    *((timm, "timm", width, (224, 224)) for width in (0.5, 1.0, 1.1, 1.2, 1.4)),
    *((keras, "keras", width, (224, 224)) for width in (0.35, 1.0, 1.4)),
    (keras, "keras", 1.0, (225, 193)),
    *((transformers, "huggingface", width, (224, 224)) for width in (0.35, 1.0, 1.4)),
    (transformers, "huggingface", 1.0, (225, 193)),
)


def ours(spec: NetworkSpec, arrays: Arrays, x: NDArray) -> NDArray:
    network = plain.build(spec, dtype="float64")
    plain.load(network, arrays)
    return plain.intermediates(network, x)["logits"]


def rows(folder: Path) -> Iterator[str]:
    for make, dialect, width, size in CASES:
        if not find_spec(make.__name__):
            continue
        say(f"{make.__name__}, width {width}, {size}")
        place = Path(tempfile.mkdtemp(dir=folder))
        file, spec, load, logits, save = make(width, size)
        spec = spec.replace(classes=CLASSES, size=size)
        x = np.random.default_rng(5).normal(size=(2, *size, 3)).astype(np.float32)
        # Ours into theirs, then, so that its weights are random too, theirs into ours.
        for direction, seed in (("ours in theirs", 0), ("theirs in ours", 1)):
            arrays = random_arrays(spec, seed)
            path = place / f"{seed}-{file}"
            write_checkpoint(ModelConfig.default(spec), arrays, dialect, path)
            load(path)
            if direction == "theirs in ours":
                config, arrays = read_checkpoint(save(place))
                spec = config.spec.replace(size=size)
            expected, found = logits(x), ours(spec, arrays, x)
            difference = float(np.abs(found - expected).max())
            relative = difference / max(1.0, float(np.abs(expected).max()))
            yield (
                f"| {make.__name__} | {width} | {size[0]} x {size[1]} | {direction} "
                f"| {expected.std():.2f} | {difference:.1e} | {relative:.1e} |"
            )


def timings(folder: Path) -> Iterator[str]:
    """Whole commands on a 14 MB network, in turn with their framework's import alone."""
    spec = published("torchvision", size=224)
    model = folder / "model"
    store.save(model, ModelConfig.default(spec), random_arrays(spec))
    tensorflow = folder / "tensorflow"
    slim = published("tf-slim", background=None, classes=1000)
    store.save(tensorflow, ModelConfig.default(slim), random_arrays(slim))
    bare = {"pth": "import torch", "safetensors": "pass", "h5": "import h5py"}
    for suffix, code in bare.items():
        if suffix == "h5" and not find_spec("h5py"):
            continue
        dialect, source = ("keras", tensorflow) if suffix == "h5" else ("timm", model)
        file = folder / f"m.{suffix}"
        commands = {
            "export": ["export", str(source), str(file), "--dialect", dialect, "--overwrite"],
            "import": ["import", str(file), str(folder / "out"), "--overwrite"],
        }
        times: dict[str, list[float]] = {name: [] for name in (*commands, "bare")}
        for _ in range(RUNS + 1):
            for name, words in commands.items():
                times[name].append(_timed(["-m", "mobilenetv2", "weights", *words]))
            times["bare"].append(_timed(["-c", code]))
        export, imported, alone = (statistics.median(values[1:]) for values in times.values())
        yield (
            f"| .{suffix} | {export:.2f} | {imported:.2f} | {alone:.2f} (`{code}`) "
            f"| {max(export, imported) - alone:.2f} |"
        )


def _timed(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    have = [name for name in ("torch", "torchvision", "timm", "keras", "transformers")
            if find_spec(name)]  # fmt: skip
    lines = [
        "# Other projects' own models with our files, and ours with theirs",
        "",
        f"`python benchmarks/dialects.py`, {machine(*have, 'numpy')}.",
        "",
        "Largest difference of logits of two pictures; relative to max(1, the largest logit), of "
        "which at most 1e-4 is asked.",
        "",
        "| library | width | size | direction | logits' deviation | difference | relative |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        lines += rows(Path(name))
        lines += [
            "",
            f"Whole commands, width 1.0 (14 MB), in seconds: medians of {RUNS} in turn.",
            "",
            "| file | weights export | weights import | framework alone | the slower beyond it |",
            "|---|---|---|---|---|",
            *timings(Path(name)),
        ]  # fmt: skip
    write_atomically(arguments.output, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
