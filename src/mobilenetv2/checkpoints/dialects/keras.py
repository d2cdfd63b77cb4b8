"""keras.applications' names: one layer each, as in :mod:`mobilenetv2.editions.keras.weights`.

Weights come as legacy ``.h5`` (Keras 1 and 2, and what keras.applications publishes), as Keras 3's
``.weights.h5`` (layers numbered by their class), or inside a ``.keras`` file or a whole model's
``.h5``, which also say what the network is.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from numpy.typing import NDArray

from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.keras_names import TABLE, usual_names
from mobilenetv2.checkpoints.dialects.keys import KERAS
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import NetworkSpec

PARTS = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "unbiased_batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""What the numbered variables of a layer's class are in Keras 3."""


def layer_names(foreign: Arrays) -> Arrays:
    """'Conv1/Conv1/kernel:0' and the like -> 'Conv1/kernel'; one form for every age of Keras.

    Layers that have other names, as in the first published files, get today's by their order, as
    Keras itself loads such files; the only linear layer is the classifier, whatever its name.
    """
    paths = {name: name.split("/") for name in foreign}
    variables = {name: _variable(path[-1]) for name, path in paths.items()}
    owners = Counter((path[0], variables[name]) for name, path in paths.items())
    found: Arrays = {}
    for name, array in foreign.items():
        *path, _ = paths[name]
        if path and not variables[name].isdigit():
            # A model inside the model is one layer of the old format, with all its variables.
            nested = owners[path[0], variables[name]] > 1
            layer = path[-1] if nested else path[0]
            short = f"{layer}/{variables[name]}"
            name = name if short in found or short in foreign else short
        found[name] = array
    names = usual_names(found)
    return {_renamed(name, names): array for name, array in found.items()}


def _variable(word: str) -> str:
    return word.partition(":")[0].replace("depthwise_kernel", "kernel")


def _renamed(name: str, names: Mapping[str, str]) -> str:
    layer, slash, variable = name.partition("/")
    return f"{names.get(layer, layer)}{slash}{variable}"


DIALECT = Dialect(
    "keras", ("keras",), TABLE, KERAS, prepare=layer_names,
    signature=("Conv1/kernel", "expanded_conv_project/kernel"),
    dropped=r"^(optimizer|top_level_model_weights)",
)  # fmt: skip


def named(foreign: Arrays, names: Mapping[str, str], order: Sequence[str] = ()) -> Arrays:
    """Keras 3's 'layers/conv2d_3/vars/0' -> 'block_1_project/kernel'.

    Args:
        names: 'layers/conv2d_3/vars' -> the layer's name; where a file does not say it, layers are
            taken in the order in which keras.applications makes them.
        order: the layers' names as they run, where the model's config says so: arrays then come
            in it, and layers of other names are known by their place.
    """
    usual = {f"{folder}/vars": layer for folder, layer in numbered_layers(DIALECT.bases[0]).items()}
    if not order and not set(usual.values()) & set(names.values()):
        names = {}
    found: Arrays = {}
    for name, array in foreign.items():
        folder, _, place = name.rpartition("/")
        # Of a model inside the model: 'layers/functional/layers/conv2d_3/vars'.
        inner = folder[max(folder.rfind("layers/"), 0) :]
        own = inner.removesuffix("/vars").rpartition("/")[2]
        parts = PARTS.get(re.sub(r"_\d+$", "", own), ())
        if not place.isdigit() or int(place) >= len(parts):
            found[name] = array  # the optimiser's, or unknown: named in an error
            continue
        short = f"{names.get(folder) or usual.get(inner, own)}/{parts[int(place)]}"
        found[name if short in found or short in foreign else short] = array
    places = {layer: index for index, layer in enumerate(order)}
    return dict(
        sorted(found.items(), key=lambda item: places.get(item[0].split("/")[0], len(places)))
    )


def numbered_layers(spec: NetworkSpec) -> dict[str, str]:
    """'layers/conv2d_3' -> 'block_1_project': layers as Keras 3 counts their classes."""
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for layer in dict.fromkeys(key.foreign.split("/")[0] for key in DIALECT.keys(spec)):
        kind = _kind(layer)
        found[f"layers/{kind}" + (f"_{counts[kind]}" if counts[kind] else "")] = layer
        counts[kind] += 1
    return found


def _kind(layer: str) -> str:
    if layer.endswith(("_BN", "_bn")) or layer.startswith("bn_"):
        return "batch_normalization"
    if layer.endswith("_depthwise"):
        return "depthwise_conv2d"
    return "dense" if layer == TABLE.classifier else "conv2d"


def by_layer(foreign: Arrays) -> dict[str, dict[str, NDArray]]:
    """Layer -> variable -> array, in the order of the network."""
    layers: dict[str, dict[str, NDArray]] = {}
    for name, array in foreign.items():
        layer, variable = name.split("/")
        layers.setdefault(layer, {})[variable] = array
    return layers
