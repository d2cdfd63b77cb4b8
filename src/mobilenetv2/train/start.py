"""The network that a run begins with: given weights with a new classifier, or from scratch."""

import dataclasses
from pathlib import Path

import numpy as np

from mobilenetv2.data.dataset import Split
from mobilenetv2.errors import require
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import initialise, replace_classifier
from mobilenetv2.progress import say
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.splits import some

REBASED_ON = 256
"""Photos whose activations give a folded network its BatchNorm statistics."""


def starting_point(
    weights: Path | None, recipe: Recipe, classes: tuple[str, ...]
) -> tuple[ModelConfig, Arrays]:
    """Given weights with a new classifier, or a network from scratch: alike in every edition."""
    labels = Labels(classes)
    if weights is None:
        changes = {"size": recipe.size} if recipe.size else {}
        spec = published(
            recipe.network, width=recipe.width, classes=len(classes), background=None, **changes
        )
        seen = Preprocessing.default(spec)
        if recipe.view == "largest":
            seen = seen.largest()
        config = ModelConfig(spec, seen, labels, Origin("trained here"))
        shapes = parameter_shapes(spec)
        return config, initialise(shapes, recipe.initialisation, recipe.seed)
    config, arrays = store.load(weights)
    size = recipe.size or config.spec.size
    seen = config.preprocessing.at(size)
    config = dataclasses.replace(
        config,
        spec=config.spec.replace(size=size),
        preprocessing=seen.largest() if recipe.view == "largest" else seen,
    )
    return replace_classifier(config, arrays, labels, recipe.initialisation, recipe.seed)


def rebased(config: ModelConfig, arrays: Arrays, train: Split) -> tuple[ModelConfig, Arrays]:
    """Give a network whose BatchNorm came folded the statistics of some training photos.

    Raises:
        MissingExtra: PyTorch, in which it is done for every edition, is not installed.
    """
    require("torch")
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.editions.torch.inference import normalise
    from mobilenetv2.train.batchnorm import rebase

    sample = some(train, REBASED_ON, 0)
    say(f"BatchNorm came folded: rebasing it on {len(sample)} photos")
    photos = [preprocess(sample.image(p), config.preprocessing) for p in sample.photos]
    network = edition.MobileNetV2(config, seed=0)
    edition.load(network, arrays)
    rebase(
        network,
        (
            normalise(np.stack(photos[i : i + 32]), config.preprocessing)
            for i in range(0, len(photos), 32)
        ),
    )
    assert config.origin is not None
    note = f"{config.origin.note} Rebased on measured activations.".strip()
    origin = dataclasses.replace(config.origin, folded=False, note=note)
    return dataclasses.replace(config, origin=origin), edition.dump(network)
