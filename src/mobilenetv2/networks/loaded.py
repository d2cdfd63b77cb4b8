"""Fingerprints of loaded weights, by which a network that was trained since then is known."""

import dataclasses
from pathlib import Path

from mobilenetv2.model.arrays import Arrays, digests
from mobilenetv2.model.card import title
from mobilenetv2.spec.records import TRAINED_HERE, Loaded, ModelConfig
from mobilenetv2.text import escaped


def remembered(config: ModelConfig, arrays: Arrays, folder: Path) -> ModelConfig:
    """Return the config with a fingerprint of the weights that were loaded with it.

    Args:
        config: the config of the model folder.
        arrays: its canonical arrays.
        folder: the model folder.
    """
    imported = config.origin is not None and config.origin.source != TRAINED_HERE
    name = config.name if imported else escaped(title(folder))
    return dataclasses.replace(config, loaded=Loaded(name, config.origin, *digests(arrays)))


def present(config: ModelConfig, arrays: Arrays) -> ModelConfig:
    """Return the config that is true of the present weights of a network.

    Figures that were measured with other weights are left out, and the history gets a step. A new
    classifier is a step of its own, which has left them out, so that it is not compared.

    Args:
        config: the config of the network.
        arrays: its present canonical arrays.
    """
    loaded = config.loaded
    if loaded is None:
        return config
    body, classifier = digests(arrays)
    compared = bool(config.metrics) or config.origin == loaded.origin
    if body == loaded.body and (classifier == loaded.classifier or not compared):
        return config
    origin, step = config.origin, f"Weights changed since they were loaded from {loaded.name}."
    if origin is not None and step not in origin.history[:1]:
        origin = origin.followed_by(step)
    return dataclasses.replace(
        config, metrics={}, origin=origin, loaded=Loaded(loaded.name, origin, body, classifier)
    )
