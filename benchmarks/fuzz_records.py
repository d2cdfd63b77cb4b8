"""Records that are fuzzed: a model folder's files, and those that a run is resumed from.

benchmarks/fuzz.py runs them. Each attempt does what a user's command does with the file: it reads
the model and computes an answer, or prepares a resumed run.
"""

import copy
import json
import random
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_target import Target

from mobilenetv2.editions import numpy as edition
from mobilenetv2.evaluation.run_record import read_run, read_split
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing
from mobilenetv2.training.checkpoint import COLUMNS, Checkpoint, read_parts, sealed
from mobilenetv2.training.folder import open_run
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.recipe_file import read_recipe, recipe_toml

CLASSES = ("hat", "shoes", "t-shirt")
START = '{"data": "photos", "weights": null, "edition": "torch", "computes": null}\n'
SEED = bytes(range(64))
"""Bytes whose mutations choose other values; these themselves choose none."""
EXTREMES = (
    None, True, -1, 0, 1, 7, 10**9, 2**63, 10**400, 0.5, 1e308, 5e-324, "", "torch", "x" * 5000,
    [], {}, [1, 2], ["a", "b", "c"], [[]] * 9, {"a": 1},
)  # fmt: skip
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
    with open_run(run, resume=True) as folder:
        folder.read_start()
        saved = folder.read_checkpoint(read_recipe(folder.recipe), CLASSES)
        return saved, read_split(folder.split), read_run(folder.best)


def in_safetensors(whole: bytes) -> Callable[[bytes], bytes]:
    """Put a mutated header before the arrays, with a length that fits it."""
    (length,) = struct.unpack("<Q", whole[:8])
    return lambda header: struct.pack("<Q", len(header)) + header + whole[8 + length :]


def with_other_values(whole: Any) -> Callable[[bytes], bytes]:
    """Replace one to three values of a document by extreme ones, chosen by the mutated bytes.

    Most mutations of a text are no JSON any more; these are, so that they come further.
    """

    def wrap(piece: bytes) -> bytes:
        found = copy.deepcopy(whole)
        choice = random.Random(piece)
        for _ in range(0 if piece == SEED else choice.randint(1, 3)):
            inside = found
            while True:
                key = choice.choice(
                    list(inside) if isinstance(inside, dict) else range(len(inside))
                )
                if not (inside[key] and isinstance(inside[key], dict | list)):
                    break
                if choice.random() < 0.2:
                    break
                inside = inside[key]
            inside[key] = copy.deepcopy(choice.choice(EXTREMES))
        return json.dumps(found).encode()

    return wrap


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
    for path, attempt in ((model / "config.json", answer), (run / "start.json", resume)):
        values = with_other_values(json.loads(path.read_bytes()))
        place = path.parent
        yield Target(f"{path.name}, its values", path, SEED, partial(attempt, place), values)
    path = run / "checkpoint.safetensors"
    facts, tensors = read_parts(path)
    del facts["sha256"]
    other = with_other_values(facts)
    yield Target(
        "checkpoint, its values", path, SEED, lambda: resume(run),
        lambda piece: sealed(json.loads(other(piece)), tensors),
    )  # fmt: skip
