"""MobileNetV2 in NumPy: the readable reference, for inference only."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mobilenetv2.editions.edition import Draw, Dtype, Evaluated, check_options
from mobilenetv2.editions.feature_info import feature_info
from mobilenetv2.editions.numpy import operations
from mobilenetv2.errors import MobileNetV2Error, argument
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.images.transform import PlanarTransform
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.model.initialisation import Initialisation, initialise, replace_classifier
from mobilenetv2.spec.blocks import Block, Convolution, padding, resolve
from mobilenetv2.spec.names import BATCH_NORM, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.records import Labels, ModelConfig

ACTIVATIONS: dict[str | None, Callable[[NDArray], NDArray]] = {
    "relu6": operations.relu6,
    "relu": operations.relu,
    None: lambda x: x,
}
POOLS = {"average": operations.global_average_pool, "max": operations.global_max_pool}


class MobileNetV2:
    """MobileNetV2 for inference. ``arrays`` holds its weights by their canonical names.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.build`.
    """

    def __init__(
        self,
        config: ModelConfig | NetworkSpec,
        initialisation: Initialisation = "torchvision",
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.config = config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        self.dtype = np.dtype(check_options(dtype, seed))
        started = initialise(parameter_shapes(self.spec), initialisation, seed or 0)
        self.arrays: Arrays = {name: array.astype(self.dtype) for name, array in started.items()}

    def __repr__(self) -> str:
        return f"MobileNetV2({self.spec!r})"

    @property
    def spec(self) -> NetworkSpec:
        """Spec of the network, with its present classifier."""
        return self.config.spec

    @property
    def transform(self) -> PlanarTransform:
        """Preprocessing from a photo to a float32 array (channels, height, width)."""
        return PlanarTransform(self.config.preprocessing)

    def __call__(self, x: NDArray) -> NDArray:
        """Return the logits (batch, n) of normalised images (batch, channels, height, width)."""
        return self.intermediates(x)["logits"]

    def forward_features(self, x: NDArray) -> NDArray:
        """Return the last feature map (batch, k, ...) of (batch, channels, height, width)."""
        return self._body(x, {})

    def pooled_features(self, x: NDArray) -> NDArray:
        """Return the pooled features (batch, k) of (batch, channels, height, width)."""
        return POOLS[self.spec.classifier.pooling](self.forward_features(x))

    def intermediates(self, x: NDArray) -> dict[str, NDArray]:
        """Return the tensors of one pass, in the order of ``spec.names.intermediate_names``.

        Args:
            x: (batch, channels, height, width), normalised, of any size.
        """
        tensors = dict[str, NDArray]()
        y = self._body(x, tensors)
        y = tensors["features"] = POOLS[self.spec.classifier.pooling](y)
        for linear in resolve(self.spec).linears:
            weight = self.arrays[f"{linear.name}.weight"]
            y = operations.linear(y, weight, self.arrays.get(f"{linear.name}.bias"))
            y = tensors[linear.output] = ACTIVATIONS[linear.activation](y)
        return tensors

    def _body(self, x: NDArray, tensors: dict[str, NDArray], last: str | None = None) -> NDArray:
        """Return the output of the body, or of its module ``last``; fill ``tensors``."""
        network = resolve(self.spec)
        y = tensors["stem"] = self._layer(network.stem, x.astype(self.dtype))
        for block in network.blocks:
            if last in tensors:
                return y
            y = self._block(block, y, tensors)
        if network.head and last not in tensors:
            y = tensors["head"] = self._layer(network.head, y)
        return y

    def _block(self, block: Block, x: NDArray, tensors: dict[str, NDArray]) -> NDArray:
        """Return the output of a block; fill ``tensors``."""
        y = x
        for step in block.steps:
            y = tensors[step.name] = self._layer(step, y)
        if block.shortcut:
            x = tensors[block.shortcut.name] = self._layer(block.shortcut, x)
        if block.residual:
            y = y + x
        if block.kind == "bottleneck":  # activated after the addition
            y = ACTIVATIONS[self.spec.numerics.activation](y)
        tensors[f"blocks.{block.index}"] = y
        return y

    def _layer(self, layer: Convolution, x: NDArray) -> NDArray:
        """Return the output of a convolution, its BatchNorm and its activation."""
        scale, shift, mean, variance = (
            self.arrays[f"{layer.name}.bn.{part}"] for part in BATCH_NORM
        )
        y = self.convolve(layer, x)
        y = operations.batch_norm(y, scale, shift, mean, variance, self.spec.numerics.epsilon)
        return ACTIVATIONS[layer.activation](y)

    def convolve(self, layer: Convolution, x: NDArray) -> NDArray:
        """Return the input of the layer's BatchNorm: the convolution with its bias."""
        # Padding follows the actual size of the image; the spec's size is only a default.
        rows, columns = (
            padding(self.spec.numerics.padding, side, layer.kernel, layer.stride)
            for side in x.shape[2:]
        )
        convolve = (
            operations.depthwise_convolution
            if layer.role == "depthwise"
            else operations.convolution
        )
        y = convolve(x, self.arrays[f"{layer.name}.conv.weight"], layer.stride, (rows, columns))
        return y + self.arrays[f"{layer.name}.conv.bias"][:, None, None] if layer.bias else y


class FeaturesOnly:
    """Backbone from images (batch, channels, height, width) to a list of feature maps.

    It uses the network's own arrays. ``feature_info`` is the table of the maps.

    Args:
        network: the network.
        out_indices: indices of the maps to return, in this order; default: all.

    Raises:
        SpecError: the network has no feature map of an index.
    """

    def __init__(self, network: MobileNetV2, out_indices: Sequence[int] | None = None) -> None:
        self.network, self.feature_info = network, feature_info(network.spec, out_indices)
        self.config, self.transform = network.config, network.transform

    def __repr__(self) -> str:
        return f"FeaturesOnly({self.network!r}, {self.feature_info.out_indices})"

    def __call__(self, x: NDArray) -> list[NDArray]:
        """Return the feature maps of normalised images (batch, channels, height, width)."""
        chosen, tensors = self.feature_info.chosen, dict[str, NDArray]()
        self.network._body(x, tensors, max(chosen, key=lambda found: found.index).module)
        return [tensors[found.module] for found in chosen]


def features_only(network: MobileNetV2, out_indices: Sequence[int] | None = None) -> FeaturesOnly:
    """Return a backbone that gives a list of feature maps and shares the network's weights.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.features_only`.

    Example:
        >>> import numpy as np
        >>> from mobilenetv2.editions import numpy as edition
        >>> network = edition.build(mn.NetworkSpec(width=0.35, size=64))
        >>> backbone = edition.features_only(network, (3, 4))
        >>> [found.shape for found in backbone(np.zeros((1, 3, 64, 64)))]
        [(1, 32, 4, 4), (1, 112, 2, 2)]
    """
    return FeaturesOnly(network, out_indices)


def reset_classifier(
    network: MobileNetV2, classes: int | Iterable[str] | Labels, seed: int | None = None
) -> MobileNetV2:
    """Replace the classifier in place and return the network.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.reset_classifier`.
    """
    check_options(seed=seed)
    network.config, arrays = replace_classifier(
        network.config, network.arrays, Labels.of(classes), seed=seed or 0
    )
    network.arrays = {name: array.astype(network.dtype) for name, array in arrays.items()}
    return network


def config_of(network: MobileNetV2) -> ModelConfig:
    """Return the config of a network."""
    return network.config


def load(network: MobileNetV2, arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into a network."""
    check_arrays(network.spec, arrays, where)
    network.arrays = {name: np.array(array, network.dtype) for name, array in arrays.items()}


def dump(network: MobileNetV2, dtype: Dtype = "float32") -> Arrays:
    """Return the weights of a network as canonical arrays."""
    return {name: array.astype(dtype) for name, array in network.arrays.items()}


def predictor(
    network: MobileNetV2, device: str = "cpu", outputs: Literal["logits", "features"] = "logits"
) -> Callable[[NDArray], NDArray]:
    """Return a function from uint8 images to outputs; it runs on the CPU only."""
    if device != "cpu":
        raise MobileNetV2Error(f"{argument('device', device)}: NumPy computes on the CPU only")

    def predict(pictures: NDArray) -> NDArray:
        x = normalise(pictures, network.config.preprocessing)
        return intermediates(network, x)[outputs].astype(np.float32)

    return predict


def evaluate(network: MobileNetV2, draw: Draw, size: Size) -> Evaluated:
    """Pass random images through the network as it is."""
    images = draw(size)
    return Evaluated(images, network(images.transpose(0, 3, 1, 2)))


def intermediates(network: MobileNetV2, x: NDArray) -> dict[str, NDArray]:
    """Return the named intermediate tensors of a forward pass."""
    tensors = network.intermediates(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return {
        name: value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
        for name, value in tensors.items()
    }
