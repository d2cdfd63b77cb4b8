"""keras.applications' layer names, and which layer of other names is which.

Keras loads the old ``.h5`` by order, not by name, so that published files need not have today's
names: keras-team/keras-applications calls the classifier ``Logits``, and the code that the
published files were made with, JonathanCMitchell/mobilenet_v2_keras, also has
``mobl3_conv_3_expand`` and ``bn3_conv_3_bn_expand``.
"""

from collections.abc import Mapping

from numpy.typing import NDArray

from mobilenetv2.checkpoints.dialects.keys import KeyTable, Pair
from mobilenetv2.model.arrays import Arrays

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


def usual_names(arrays: Arrays) -> dict[str, str]:
    """Layer -> today's name, for those that have another.

    The shapes decide what a layer is, and the order which one; the network that comes out is held
    against all shapes later. Where the layers are not MobileNetV2's, nothing is renamed.

    Args:
        arrays: 'layer/variable' -> array, layers in the order in which they run.
    """
    layers: dict[str, dict[str, NDArray]] = {}
    for name, array in arrays.items():
        layer, _, variable = name.partition("/")
        layers.setdefault(layer, {})[variable] = array
    linear = [name for name, parts in layers.items() if _rank(parts) == 2]
    names = {linear[0]: TABLE.classifier} if len(linear) == 1 else {}
    if TABLE.stem[0] not in layers or TABLE.first["project"][0] not in layers:
        names |= _by_order(layers)
    names = {old: new for old, new in names.items() if old != new}
    taken = set(names.values()) & (layers.keys() - names.keys())
    return {} if taken else names


def _rank(parts: Mapping[str, NDArray]) -> int:
    return parts["kernel"].ndim if "kernel" in parts else 0


def _by_order(layers: Mapping[str, Mapping[str, NDArray]]) -> dict[str, str]:
    convolutions: list[str] = []
    norms: list[str] = []
    for name, parts in layers.items():
        if _rank(parts) == 4 and len(convolutions) == len(norms):
            convolutions.append(name)
        elif "gamma" in parts and len(norms) == len(convolutions) - 1:
            norms.append(name)
        elif _rank(parts) != 2:
            return {}
    pairs = [*zip(convolutions, norms, strict=False)]
    if len(convolutions) != len(norms) or len(pairs) < 4:
        return {}
    spatial = [layers[name]["kernel"].shape[:2] == (3, 3) for name in convolutions[1:-1]]
    usual = [TABLE.stem, *_blocks(spatial), TABLE.head]
    if len(usual) != len(pairs):
        return {}
    return {
        old: new for pair, other in zip(pairs, usual, strict=True)
        for old, new in zip(pair, other, strict=True)
    }  # fmt: skip


def _blocks(spatial: list[bool]) -> list[Pair]:
    """The names of the convolutions between stem and head; nothing where they are no blocks.

    Args:
        spatial: of each whether it looks at 3 x 3 pixels: the depthwise ones do.
    """
    found: list[Pair] = []
    index = place = 0
    while place < len(spatial):
        parts = ("depthwise", "project") if spatial[place] else ("expand", "depthwise", "project")
        kinds = [part == "depthwise" for part in parts]
        if spatial[place : place + len(parts)] != kinds:
            return []
        table = TABLE.block if index else TABLE.first
        found += [(table[part][0].format(n=index), table[part][1].format(n=index))
                  for part in parts]  # fmt: skip
        index, place = index + 1, place + len(parts)
    return found
