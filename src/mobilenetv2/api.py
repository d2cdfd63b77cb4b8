"""The three verbs of the Python interface; each imports its framework when it is called."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mobilenetv2.errors import MobileNetV2Error, require
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

if TYPE_CHECKING:
    from mobilenetv2.editions.torch import MobileNetV2


def build(
    spec: NetworkSpec | ModelConfig, edition: Literal["torch"] = "torch", **options: Any
) -> "MobileNetV2":
    """A freshly initialised network.

    Args:
        spec: what the network is, or a whole config (then preprocessing and labels come along).
        edition: the framework.
        options: of the edition, e.g. ``initialisation="paper"``.

    Raises:
        MobileNetV2Error: there is no such edition.
        MissingExtra: its framework is not installed.
    """
    if edition != "torch":
        raise MobileNetV2Error(f"edition {edition!r} is unknown; known are: torch")
    require("torch")
    from mobilenetv2.editions.torch import MobileNetV2

    return MobileNetV2(spec, **options)


def load(folder: str | PathLike[str], edition: Literal["torch"] = "torch") -> "MobileNetV2":
    """The network of a model folder, in evaluation mode, its config in ``.config``.

    Raises:
        WeightsError: not a model folder, or a damaged one.
    """
    from mobilenetv2.weights import store

    config, arrays = store.load(Path(folder))
    network = build(config, edition)
    from mobilenetv2.editions.torch import load as load_arrays

    load_arrays(network, arrays, str(folder))
    return network.eval()


def save(network: "MobileNetV2", folder: str | PathLike[str]) -> None:
    """Write a network as a model folder; an existing one is replaced as a whole, or not at all.

    Raises:
        WeightsError: a weight is not finite.
        OSError: the disk is full, or the place cannot be written.
    """
    from mobilenetv2.editions.torch import dump
    from mobilenetv2.weights import store

    store.save(Path(folder), network.config, dump(network))
