"""A training loop of one's own, of ten steps, on weights that were imported: does it learn?

    python benchmarks/own_loop.py --output benchmarks/own-loop.md

Each loop is what somebody writes who knows the framework and not this package: the network of
:func:`mobilenetv2.load` with two classes, its own preprocessing, Adam on all parameters, evaluation
mode and accuracy on other photos. Each is run by itself in a process. Needs the extras torch, keras
and jax.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import public_data
from machine import machine
from numpy.typing import NDArray

import mobilenetv2 as mn
from mobilenetv2.checkpoints.importer import import_network
from mobilenetv2.files import write_atomically
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.model import store
from mobilenetv2.progress import say

CLASSES = ("pants", "shoes")
PHOTOS, HELD_OUT, BATCH, STEPS = 12, 16, 8, 10
"""Of each class: photos that are trained on, and held-out ones; photos of a step, and steps."""
RATE = 1e-3
FRAMEWORKS = ("torch", "keras", "jax")
WEIGHTS = {
    "LiteRT, TF2": ("tf2_mobilenet_v2_1.0_224_ptq.tflite", True),
    "embedded, never folded": (None, True),
    "LiteRT, TF2, rebase=False": ("tf2_mobilenet_v2_1.0_224_ptq.tflite", False),
}
"""Name -> published file and whether it is rebased; None is the model in this package."""


@dataclass(frozen=True, slots=True)
class Photos:
    """Photos as a network takes them, (n, ...), and their classes (n,)."""

    x: NDArray
    labels: NDArray


def photos(transform: Callable[[Any], Any], folder: Path, split: str, count: int) -> Photos:
    """Return the first photos of each class, the classes in turn."""
    names = [sorted((folder / split / name).iterdir())[:count] for name in CLASSES]
    pairs = [(path, label) for row in zip(*names, strict=False) for label, path in enumerate(row)]
    x = np.stack([np.asarray(transform(path)) for path, _ in pairs])
    return Photos(x, np.array([label for _, label in pairs]))


def chunks(seed: int) -> list[NDArray]:
    """Return the photos of each step: epochs in a new order, without the rest of each."""
    random, found = np.random.default_rng(seed), list[NDArray]()
    while len(found) < STEPS:
        order = random.permutation(2 * PHOTOS)
        found += [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return found[:STEPS]


def in_torch(folder: Path, seed: int, data: Path) -> tuple[float, float]:
    """Return the accuracy on held-out photos before and after the loop."""
    import torch

    torch.manual_seed(seed)
    net = mn.load(folder, classes=2, seed=seed)
    train, held = (
        photos(net.transform, data, *split)
        for split in (("train", PHOTOS), ("validation", HELD_OUT))
    )

    def accuracy() -> float:
        net.eval()
        with torch.no_grad():
            right = net(torch.from_numpy(held.x)).argmax(1).numpy() == held.labels
        return float(right.mean())

    before = accuracy()
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    net.train()
    for chunk in chunks(seed):
        logits = net(torch.from_numpy(train.x[chunk]))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(train.labels[chunk]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, accuracy()


def in_keras(folder: Path, seed: int, data: Path) -> tuple[float, float]:
    """Return the accuracy on held-out photos before and after the loop."""
    from mobilenetv2.editions.keras_backend import choose

    choose("tensorflow")
    import keras

    keras.utils.set_random_seed(seed)
    net = mn.load(folder, edition="keras", classes=2, seed=seed)
    train, held = (
        photos(net.transform, data, *split)
        for split in (("train", PHOTOS), ("validation", HELD_OUT))
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(RATE), loss, metrics=["accuracy"], jit_compile=False)

    def accuracy() -> float:
        logits = net.predict(held.x, verbose=0)
        return float((logits.argmax(1) == held.labels).mean())

    before = accuracy()
    for chunk in chunks(seed):
        net.train_on_batch(train.x[chunk], train.labels[chunk])
    return before, accuracy()


def in_jax(folder: Path, seed: int, data: Path) -> tuple[float, float]:
    """Return the accuracy on held-out photos before and after the loop."""
    import jax.numpy as jnp
    import optax
    from flax import nnx

    net = mn.load(folder, edition="jax", classes=2, seed=seed)
    train, held = (
        photos(net.transform, data, *split)
        for split in (("train", PHOTOS), ("validation", HELD_OUT))
    )

    def step(net: Any, optimizer: Any, x: Any, labels: Any) -> None:
        def loss_of(net: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(net(x), labels).mean()

        optimizer.update(net, nnx.grad(loss_of)(net))

    def answer(net: Any, x: Any) -> Any:
        return net(x)

    compiled_step, compiled_answer = nnx.jit(step), nnx.jit(answer)

    def accuracy() -> float:
        net.eval()
        logits = np.asarray(compiled_answer(net, jnp.asarray(held.x)))
        return float((logits.argmax(1) == held.labels).mean())

    before = accuracy()
    optimizer = nnx.Optimizer(net, optax.adam(RATE), wrt=nnx.Param)
    net.train()
    for chunk in chunks(seed):
        compiled_step(net, optimizer, jnp.asarray(train.x[chunk]), jnp.asarray(train.labels[chunk]))
    return before, accuracy()


LOOPS = {"torch": in_torch, "keras": in_keras, "jax": in_jax}


def model_folder(weights: str, place: Path) -> Path:
    """Return the model folder of some weights, imported as they are read by default, or not."""
    file, rebase = WEIGHTS[weights]
    if file is None:
        return embedded_folder()
    folder = place / f"{file}-{rebase}"
    if not folder.is_dir():
        network = import_network(public_data.find("published") / file, rebase=rebase)
        store.save(folder, *network)
    return folder


def measure(framework: str, folder: Path, seeds: Sequence[int]) -> list[tuple[float, float]]:
    """Return the accuracies before and after, for each seed, in a process of their own."""
    job = json.dumps({"framework": framework, "folder": str(folder), "seeds": list(seeds)})
    run = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--job", job],
        capture_output=True, text=True, check=False,
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
    )  # fmt: skip
    if run.returncode:
        raise RuntimeError(run.stderr)
    return [(before, after) for before, after in json.loads(run.stdout.splitlines()[-1])]


def main(words: list[str] | None = None) -> None:
    """Measure every loop, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    data = public_data.find("clothing")
    if arguments.job:
        job = json.loads(arguments.job)
        loop = LOOPS[job["framework"]]
        print(json.dumps([loop(Path(job["folder"]), seed, data) for seed in job["seeds"]]))
        return
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for weights in WEIGHTS:
            folder = model_folder(weights, Path(place))
            for framework in FRAMEWORKS:
                found = measure(framework, folder, range(arguments.seeds))
                before, after = (np.mean(column) for column in zip(*found, strict=True))
                worst = min(last for _, last in found)
                rows.append(
                    f"| {weights} | {framework} | {before:.0%} | {after:.0%} | {worst:.0%} |"
                )
                say(rows[-1])
    versions = machine("torch", "keras", "tensorflow-cpu", "jax", "flax", "optax")
    text = TEXT.format(
        seeds=arguments.seeds, machine=versions, rows="\n".join(rows), photos=2 * PHOTOS,
        held=2 * HELD_OUT, batch=BATCH, steps=STEPS, rate=RATE, classes=" and ".join(CLASSES),
    )  # fmt: skip
    if arguments.output:
        write_atomically(arguments.output, text)


TEXT = """# A training loop of one's own on imported weights

`python benchmarks/own_loop.py --seeds {seeds}`, {machine}.

A loop as somebody writes it who knows the framework: `mn.load(folder, classes=2)`, Adam at {rate}
on all parameters, {steps} steps of {batch} photos, {photos} photos of {classes}
(clothing, `train`). The figures are the accuracy in evaluation mode on {held} held-out photos
(clothing, `validation`), the mean over {seeds} seeds of the new classifier, dropout and order.

| weights | framework | before | after | after, worst seed |
|---|---|---|---|---|
{rows}

"""


if __name__ == "__main__":
    main()
