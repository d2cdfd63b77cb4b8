"""One training step in PyTorch, Keras and JAX: how far apart are gradients and statistics?

    python benchmarks/step.py --output benchmarks/step.md

Plain SGD at rate 1 takes exactly the gradient off the weights. In float64 the frameworks must
agree; in float32 they cannot, and the measure is PyTorch against itself in its two memory layouts.
Each step runs in a process of its own. Needs the extras torch, keras and jax.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

from mobilenetv2.files import write_atomically
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.progress import say
from mobilenetv2.spec.names import is_statistic
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.recipe import Recipe

SAME = Numerics("same", 1e-3, 0.99, "old", running_variance="biased")
SPECS = {
    "width 1.0, 96 x 96, symmetric, unbiased": NetworkSpec(size=96, classes=10, dropout=0.0),
    "width 0.35, 97 x 64, same, biased": NetworkSpec(
        width=0.35, size=(97, 64), classes=10, dropout=0.0, numerics=SAME
    ),
    "small, width 0.5, 32 x 32": published("small", width=0.5, dropout=0.0),
    "article-torch, 65 x 65": published("article-torch", size=65, classes=10, dropout=0.0),
}
STEPS = ("torch", "torch-nchw", "keras", "jax")
BATCH = 8


def step(name: str, spec: NetworkSpec, dtype: Any) -> Arrays:
    """The weights after one step, under their canonical names, and the loss."""
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    recipe = Recipe().changed(optimizer="sgd", momentum=0.0, weight_decay=0.0, precision="float32")
    random = np.random.default_rng(7)
    pictures = random.integers(0, 256, (BATCH, *spec.size, 3), np.uint8)
    labels = np.arange(BATCH) % spec.classes
    from mobilenetv2.editions.edition import find as edition
    from mobilenetv2.training.steps import find_steps

    kind = name.partition("-")[0]
    module: Any = find_steps(kind)
    if kind == "keras":
        trainer = module.KerasTrainer(config, recipe, dtype)
        trainer.load(arrays)
    else:
        network = edition(kind).build(config, dtype=dtype)
        edition(kind).load(network, arrays)
        trainer = (module.TorchTrainer if kind == "torch" else module.JaxTrainer)(network, recipe)
    if name == "torch-nchw":
        import torch

        network.to(memory_format=torch.contiguous_format)
        network.stem.register_forward_pre_hook(lambda _, args: (args[0].contiguous(),))
    loss, _ = trainer.step(pictures, labels, 1.0)
    return edition(kind).dump(trainer.network, dtype="float64") | {"loss": np.array(loss)}


def child(name: str, spec: NetworkSpec, dtype: str, folder: Path) -> Arrays:
    """:func:`step` in a process of its own."""
    job = json.dumps({"name": name, "spec": spec.to_dict(), "dtype": dtype, "out": str(folder)})
    environment = os.environ | {"JAX_ENABLE_X64": "1", "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, __file__, "--output", "-"]
    subprocess.run(command, input=job, text=True, check=True, env=environment)
    with np.load(folder / "step.npz") as stored:
        return dict(stored)


def distance(found: Arrays, expected: Arrays, before: Arrays, statistics: bool) -> float:
    """Norm of the difference as a share of the norm of what the step changed."""
    names = [n for n in before if is_statistic(n) == statistics]
    wrong = sum(float(((found[n] - expected[n]) ** 2).sum()) for n in names)
    moved = sum(float(((expected[n] - before[n]) ** 2).sum()) for n in names)
    return float(np.sqrt(wrong / moved))


def largest(found: Arrays, expected: Arrays, before: Arrays, count: int = 3) -> str:
    """The tensors whose gradients differ most, each relative to its own norm."""
    rows = []
    for name in before:
        moved = np.linalg.norm(expected[name] - before[name])
        rows.append((float(np.linalg.norm(found[name] - expected[name]) / max(moved, 1e-30)), name))
    return ", ".join(f"`{name}` {value:.1e}" for value, name in sorted(rows)[: -count - 1 : -1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if str(arguments.output) == "-":  # the child
        job = json.load(sys.stdin)
        found = step(job["name"], NetworkSpec.from_dict(job["spec"]), job["dtype"])
        stored: dict[str, Any] = dict(found)
        np.savez(Path(job["out"]) / "step.npz", **stored)
        return
    packages = ("torch", "keras", "tensorflow-cpu", "jax", "flax", "optax")
    lines = [
        "# One training step in three frameworks",
        "",
        f"`python benchmarks/step.py`, {machine(*packages)}.",
        "",
        f"The same weights and {BATCH} pictures, plain SGD at rate 1, dropout off, Keras on "
        "TensorFlow. Figures are the norm of the difference to PyTorch (channels_last) as a share "
        "of the norm of the gradient, and of what the statistics moved by. In float64 at most 1e-9 "
        "is asked; in float32 at most 3 times what PyTorch differs from itself in NCHW.",
        "",
        "| network | step | gradients, float64 | statistics, float64 | loss, float64 "
        "| gradients, float32 | of PyTorch's own | tensors that differ most, float32 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        for title, spec in SPECS.items():
            before = {n: a.astype(np.float64) for n, a in random_arrays(spec).items()}
            found = {}
            for dtype in ("float64", "float32"):
                for each in STEPS:
                    say(f"{title}: {each}, {dtype}")
                    found[each, dtype] = child(each, spec, dtype, Path(name))
            own = distance(found["torch-nchw", "float32"], found["torch", "float32"], before, False)
            for each in STEPS[1:]:
                exact, reference = found[each, "float64"], found["torch", "float64"]
                single, base = found[each, "float32"], found["torch", "float32"]
                gradients = distance(single, base, before, False)
                loss = abs(float(exact["loss"] / reference["loss"]) - 1)
                lines.append(
                    f"| {title} | {each} | {distance(exact, reference, before, False):.1e} "
                    f"| {distance(exact, reference, before, True):.1e} | {loss:.1e} "
                    f"| {gradients:.1e} | {gradients / own:.2f} x "
                    f"| {largest(single, base, before)} |"
                )
    write_atomically(arguments.output, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
