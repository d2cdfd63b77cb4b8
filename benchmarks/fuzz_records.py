"""Records that are fuzzed: a model folder's files, and those that a run is resumed from.

benchmarks/fuzz.py runs them. Each attempt does what a user's command does with the file: it reads
the model and computes an answer, or prepares a resumed run.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from fuzz_target import Target

from mobilenetv2.editions import numpy as edition
from mobilenetv2.evaluation.run_record import read_run, read_split
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing
from mobilenetv2.training.checkpoint import COLUMNS, Checkpoint
from mobilenetv2.training.folder import open_run
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.recipe_file import read_recipe, recipe_toml

CLASSES = ("hat", "shoes", "t-shirt")
START = '{"data": "photos", "weights": null, "edition": "torch", "computes": null}\n'
PHOTOS = [f"{name}/{number}.png" for name in CLASSES for number in range(40)]


def model_and_run(folder: Path) -> tuple[Path, Path]:
    """Write a model folder, and the folder of a run that was stopped after an epoch."""
    spec = published("small", width=0.1, size=(32, 32), classes=len(CLASSES))
    config = ModelConfig(spec, Preprocessing.default(spec), Labels(CLASSES))
    arrays, run = random_arrays(spec), folder / "run"
    for path in (folder / "model", run / "best", run / "last"):
        store.save(path, config, arrays)
    recipe = Recipe().changed({"epochs": 3, "averaging.decay": 0.9})
    trainer = {f"network/{name}": array for name, array in arrays.items()}
    row = dict.fromkeys(COLUMNS, 0.5) | {"epoch": 1}
    Checkpoint(config, recipe, trainer, arrays, 5, [row], 1, 0, [0, 0, 0], 0.0).save(
        run / "checkpoint.safetensors"
    )
    (run / "recipe.toml").write_text(recipe_toml(recipe), "utf-8")
    (run / "start.json").write_text(START, "utf-8")
    lines = [f"train,{name.partition('/')[0]},{name}" for name in PHOTOS]
    (run / "split.csv").write_text("\n".join(["split,class,photo", *lines, ""]), "utf-8")
    return folder / "model", run


def answer(model: Path) -> object:
    """Read a model folder and compute the logits of a grey picture, as ``predict`` does."""
    config, arrays = store.load(model)
    (height, width), channels = config.size, config.channels
    network = edition.build(config)
    edition.load(network, arrays)
    x = np.zeros((1, height, width, channels), np.float32)
    return edition.intermediates(network, x)["logits"]


def resume(run: Path) -> object:
    """Read everything that ``train --resume`` and a report read of a run folder."""
    folder = open_run(run, resume=True)
    folder.read_start()
    saved = folder.read_checkpoint(read_recipe(folder.recipe), CLASSES)
    return saved, read_split(folder.split), read_run(folder.best)


def in_safetensors(whole: bytes) -> Callable[[bytes], bytes]:
    """Put a mutated header before the arrays, with a length that fits it."""
    (length,) = struct.unpack("<Q", whole[:8])
    return lambda header: struct.pack("<Q", len(header)) + header + whole[8 + length :]


def targets(folder: Path) -> Iterator[Target]:
    """Write a model folder and a run folder into ``folder``, and yield their records."""
    model, run = model_and_run(folder)
    for name in ("config.json", "model.safetensors"):
        path = model / name
        yield Target(f"model, {name}", path, path.read_bytes(), lambda: answer(model))
    path = model / "model.safetensors"
    data = path.read_bytes()
    header = data[8 : 8 + struct.unpack("<Q", data[:8])[0]]
    wrap = in_safetensors(data)
    yield Target("model, header of model.safetensors", path, header, lambda: answer(model), wrap)
    for name in ("recipe.toml", "checkpoint.safetensors", "start.json", "split.csv"):
        path = run / name
        yield Target(f"run, {name}", path, path.read_bytes(), lambda: resume(run))
