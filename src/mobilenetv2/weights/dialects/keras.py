"""keras.applications' names: one layer each, as in :mod:`mobilenetv2.editions.keras.names`.

Weights come as legacy ``.h5`` (Keras 1 and 2, and what keras.applications publishes), as Keras 3's
``.weights.h5`` (layers numbered by their class), or inside a ``.keras`` file or a whole model's
``.h5``, which also say what the network is.
"""

import re
from collections import Counter
from collections.abc import Mapping

from numpy.typing import NDArray

from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.weights.canonical import Arrays
from mobilenetv2.weights.dialects.dialect import Dialect
from mobilenetv2.weights.dialects.keys import KERAS, KeyTable

FIRST = {
    "expand": ("expanded_conv_expand", "expanded_conv_expand_BN"),
    "depthwise": ("expanded_conv_depthwise", "expanded_conv_depthwise_BN"),
    "project": ("expanded_conv_project", "expanded_conv_project_BN"),
    "shortcut": ("expanded_conv_shortcut", "expanded_conv_shortcut_BN"),
}
TABLE = KeyTable(
    stem=("Conv1", "bn_Conv1"),
    first=FIRST,
    block={
        "expand": ("block_{n}_expand", "block_{n}_expand_BN"),
        "depthwise": ("block_{n}_depthwise", "block_{n}_depthwise_BN"),
        "project": ("block_{n}_project", "block_{n}_project_BN"),
        "shortcut": ("block_{n}_shortcut", "block_{n}_shortcut_BN"),
    },
    head=("Conv_1", "Conv_1_bn"),
    classifier="predictions",
)
PARTS = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "unbiased_batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""What the numbered variables of a layer's class are in Keras 3."""


def layer_names(foreign: Arrays) -> Arrays:
    """'Conv1/Conv1/kernel:0' and the like -> 'Conv1/kernel'; one form for every age of Keras."""
    found: Arrays = {}
    for name, array in foreign.items():
        layer, _, rest = name.partition("/")
        variable = rest.rpartition("/")[2].partition(":")[0]
        variable = variable.replace("depthwise_kernel", "kernel")
        found[f"{layer}/{variable}" if rest else name] = array
    return found


DIALECT = Dialect(
    "keras", ("keras",), TABLE, KERAS, prepare=layer_names,
    signature=("Conv1/kernel", "expanded_conv_project/kernel"),
    dropped=r"^(optimizer|top_level_model_weights)",
)  # fmt: skip


def named(foreign: Arrays, names: Mapping[str, str]) -> Arrays:
    """Keras 3's 'layers/conv2d_3/vars/0' -> 'block_1_project/kernel'.

    Args:
        names: 'layers/conv2d_3/vars' -> the layer's name; where a file does not say it, layers are
            taken in the order in which keras.applications makes them.
    """
    usual = {f"{folder}/vars": layer for folder, layer in numbered_layers(DIALECT.bases[0]).items()}
    found: Arrays = {}
    for name, array in foreign.items():
        folder, _, place = name.rpartition("/")
        kind = re.sub(r"_\d+$", "", folder.removesuffix("/vars").rpartition("/")[2])
        parts, layer = PARTS.get(kind, ()), names.get(folder) or usual.get(folder)
        if layer is None or not place.isdigit() or int(place) >= len(parts):
            found[name] = array  # the optimiser's, or unknown: named in an error
        else:
            found[f"{layer}/{parts[int(place)]}"] = array
    return found


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
