"""Variables of a Keras model's layers, found in the arrays of a file of any Keras version.

Keras 3 stores variables by number, under a path that follows from the classes of the layers.
Before it, each outermost layer has a group with the names of all variables in it, and files of
TensorFlow.js and SavedModels have all in one. Keras itself loads them by their order, so that is
what counts where names say nothing.
"""

from collections.abc import Iterable, Mapping

from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.graphs.keras.config import UNBIASED, Layer

BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
KERNEL = ("kernel", "bias")
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "Conv2D": KERNEL, "DepthwiseConv2D": KERNEL, "Dense": KERNEL,
    "BatchNormalization": BATCH_NORM, UNBIASED: BATCH_NORM,
    "Normalization": ("mean", "variance"),
}  # fmt: skip
"""Variables of a layer in the order of Keras 3's numbers, by the layer's class."""
CONTAINER = "_layer_checkpoint_dependencies"
"""Name of 'layers' in the paths of Keras 2.12 to 2.15."""


class KerasWeights:
    """Arrays of a file, by layer.

    Args:
        container: the file's content.
        layers: all layers of the model, in the order in which they run.
    """

    def __init__(self, container: Container, layers: Iterable[Layer]) -> None:
        self._numbered = container.metadata.get("format") == "keras-3"
        self._flat = container.metadata.get("format") in ("tfjs", "savedmodel")
        self._folders: dict[str, dict[str, NDArray]] = {}
        self._layers = [layer for layer in layers if layer.kind in VARIABLES]
        for name, array in container.arrays.items():
            folder, _, last = name.rpartition("/")
            if self._numbered:
                folder = folder.replace(CONTAINER, "layers").removesuffix("/vars")
                self._folders.setdefault(folder, {})[last] = array
            else:
                top = "" if self._flat else name.partition("/")[0]
                self._folders.setdefault(top, {})[name] = array

    def __call__(self, layer: Layer) -> dict[str, NDArray]:
        """Return the variables of a layer by name; empty if it has none."""
        if layer.kind not in VARIABLES:
            return {}
        if self._numbered:
            found = self._folders.get(layer.stored, {})
            names = self.names(layer)
            places = {str(place): name for place, name in enumerate(names)}
            return {places[n]: x for n, x in found.items() if n in places}
        top = "" if self._flat else self._top(layer)
        group = self._folders.get(top, {})
        words = {name: variable_name(name) for name in group}
        if self._flat or len(layer.path) > 1:
            own = {name for name in group if name.split("/")[-2:-1] == [layer.path[-1]]}
            if not own:
                return self._by_order(layer, group, words)
            words = {name: word for name, word in words.items() if name in own}
        return {word: group[name] for name, word in words.items()}

    @staticmethod
    def _top(layer: Layer) -> str:
        """Return the name of the outermost model or layer that a layer is in."""
        return layer.path[0] if layer.path else layer.name

    @staticmethod
    def names(layer: Layer) -> tuple[str, ...]:
        """Return the names of a layer's variables in the order in which Keras keeps them."""
        absent = set()
        if layer.settings.get("use_bias") is False:
            absent.add("bias")
        if layer.settings.get("scale") is False:
            absent.add("gamma")
        if layer.settings.get("center") is False:
            absent.add("beta")
        return tuple(name for name in VARIABLES[layer.kind] if name not in absent)

    def _by_order(
        self, layer: Layer, group: Mapping[str, NDArray], words: Mapping[str, str]
    ) -> dict[str, NDArray]:
        """Return the variables of a layer whose name is not in the group of its model."""
        found = {}
        alike = [one for one in self._layers if self._flat or self._top(one) == self._top(layer)]
        for word in self.names(layer):
            owners = [one.path for one in alike if word in self.names(one)]
            arrays = [group[name] for name in group if words[name] == word]
            if len(owners) == len(arrays):
                found[word] = arrays[owners.index(layer.path)]
        return found


def variable_name(name: str) -> str:
    """Return the variable's own name: 'kernel' for 'a/depthwise_kernel:0'."""
    word = name.rpartition("/")[2].partition(":")[0]
    return word.replace("depthwise_kernel", "kernel")
