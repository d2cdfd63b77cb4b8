"""The article's Keras version, function for function and name for name.

Where it departs from the paper, and what that costs at width 1.0, 224 pixels and 1000 classes
(:data:`PARAMETERS`, :data:`MULTIPLY_ADDS` against the paper's 3,504,872 and 300,774,272):

* The first block has an expansion convolution although it does not expand: 1,088 parameters and
  12,845,056 multiply-adds more.
* A block's projection has ``int(nb_filter * alpha)`` channels, which is not rounded to a multiple
  of 8: at alpha 0.35 the first block has 5 where the published network has 8.
* Whether a block adds its input is the caller's choice (``residual``).
* The padding of a stride-2 block is worked out from the size that is known while the model is
  built, and an unknown one counts as even: wrong for odd ones (225 pixels become 7 x 7 at the end
  instead of 8 x 8).

As a spec: ``published("article-keras")``.

Keras 3 lacks ``keras.backend.int_shape`` and ``keras.backend.relu``, from which such code made
``pad_size`` and ``relu6``; a tensor's ``shape`` and the ReLU layer take their place.
"""

from typing import Any

import numpy as np

from mobilenetv2.editions.article import TABLE
from mobilenetv2.editions.keras_backend import choose
from mobilenetv2.model.arrays import (
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
    Arrays,
    Layout,
    check_arrays,
)
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.published import published
from mobilenetv2.spec.rounding import make_divisible as nearest_multiple

choose()  # Keras by itself would insist on TensorFlow

import keras  # noqa: E402
from keras import layers  # noqa: E402

PARAMETERS, MULTIPLY_ADDS = 3_505_960, 313_619_328
EPSILON, MOMENTUM = 1e-3, 0.999

Pads = tuple[tuple[int, int], tuple[int, int]]


def relu6(x: Any, name: str | None = None) -> Any:
    """Between 0 and 6; a layer of Keras's own, so that a saved model can be read anywhere."""
    return layers.ReLU(6.0, name=name)(x)


def make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """The nearest multiple of ``divisor``, at least ``min_value``, never below 90% of ``v``."""
    return nearest_multiple(v, divisor, min_value)


def pad_size(inputs: Any, kernel_size: int | tuple[int, int]) -> Pads:
    """Zeros ((top, bottom), (left, right)) before a 'valid' convolution of stride 2.

    Even sizes get one less before than after, odd ones the same; an unknown one counts as even.

    Args:
        inputs: a tensor (batch, height, width, channels).
    """
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    height, width = (
        (half - (1 - (size or 0) % 2), half)
        for half, size in zip((side // 2 for side in kernel), inputs.shape[1:3], strict=True)
    )
    return height, width


def conv_block(x: Any, nb_filter: int, kernel: int, stride: int, name: str) -> Any:
    """Convolution without bias, BatchNorm, ReLU6; stride 2 pads as :func:`pad_size` says."""
    padding = "same"
    if stride == 2:
        x, padding = layers.ZeroPadding2D(pad_size(x, kernel), name=f"{name}_pad")(x), "valid"
    x = layers.Conv2D(
        nb_filter, kernel, strides=stride, padding=padding, use_bias=False, name=name
    )(x)
    return relu6(_batch_norm(x, f"{name}_BN"), name=f"{name}_relu")


def depthwise_res_block(
    x: Any,
    nb_filter: int,
    kernel: int,
    stride: int,
    t: int,
    alpha: float,
    residual: bool | None = None,
    name: str = "block",
    *,
    resdiual: bool | None = None,
) -> Any:
    """Expansion, depthwise convolution, linear projection and, if asked for, the input added.

    Args:
        nb_filter: output channels at width 1; ``int(nb_filter * alpha)`` are made.
        t: expansion.
        residual: add the input; shapes must be equal.
        resdiual: the same, as the article spells it.

    Raises:
        TypeError: both spellings, and they contradict each other.
    """
    if residual is not None and resdiual is not None and residual != resdiual:
        raise TypeError("residual and resdiual are one argument; give one of them")
    inputs, expanded, padding = x, int(x.shape[-1]) * t, "same"
    x = layers.Conv2D(expanded, 1, use_bias=False, name=f"{name}_expand")(x)
    x = relu6(_batch_norm(x, f"{name}_expand_BN"), name=f"{name}_expand_relu")
    if stride == 2:
        x, padding = layers.ZeroPadding2D(pad_size(x, kernel), name=f"{name}_pad")(x), "valid"
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding=padding, use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = relu6(_batch_norm(x, f"{name}_depthwise_BN"), name=f"{name}_depthwise_relu")
    x = layers.Conv2D(int(nb_filter * alpha), 1, use_bias=False, name=f"{name}_project")(x)
    x = _batch_norm(x, f"{name}_project_BN")
    return layers.Add(name=f"{name}_add")([inputs, x]) if residual or resdiual else x


def _batch_norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=name)(x)


def MobileNetV2(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    alpha: float = 1.0,
) -> keras.Model:
    """The article's blocks in the paper's table: pictures -> logits (batch, classes).

    Blocks are ``block_0`` to ``block_16``; one that keeps size and channels adds its input. The
    model's ``spec`` is the same network as data.
    """
    inputs = layers.Input(input_shape)
    x = conv_block(inputs, make_divisible(32 * alpha, 8), 3, 2, "conv1")
    index = 0
    for t, c, n, s in TABLE:
        for repeat in range(n):
            stride = 1 if repeat else s
            same = stride == 1 and x.shape[-1] == int(c * alpha)
            x = depthwise_res_block(x, c, 3, stride, t, alpha, same, f"block_{index}")
            index += 1
    x = conv_block(x, make_divisible(1280 * max(1.0, alpha), 8), 1, 1, "conv2")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, name="logits")(x)
    model = keras.Model(inputs, x, name="article_mobilenetv2")
    size = tuple(side or 224 for side in input_shape[:2])
    model.spec = published("article-keras", width=alpha, classes=classes, size=size,
                           input_channels=input_shape[2])  # fmt: skip
    return model


BATCH_NORM = {
    "bn.scale": "gamma",
    "bn.shift": "beta",
    "bn.mean": "moving_mean",
    "bn.variance": "moving_variance",
}


def load(network: keras.Model, arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into the article's network, in place.

    Raises:
        WeightsError: the arrays are not exactly the network's, with the whole difference.
    """
    check_arrays(network.spec, arrays, where)
    for name, array in arrays.items():
        variable, layout = _variable(network, name)
        variable.assign(layout.from_canonical(np.asarray(array)) if layout else array)


def dump(network: keras.Model) -> Arrays:
    """The article's network's weights as canonical float32 arrays: copies."""
    arrays: Arrays = {}
    for name in parameter_shapes(network.spec):
        variable, layout = _variable(network, name)
        array = np.array(keras.ops.convert_to_numpy(variable.value), np.float32)
        arrays[name] = layout.to_canonical(array) if layout else array
    return arrays


def _variable(network: keras.Model, name: str) -> tuple[Any, Layout | None]:
    """Where a canonical tensor lives, and how it lies there."""
    owner, _, part = name.partition(".")
    if owner == "classifier":
        layer = network.get_layer("logits")
        return (layer.kernel, TENSORFLOW_LINEAR) if part == "weight" else (layer.bias, None)
    if owner == "blocks":
        index, place, part = part.split(".", 2)
        layer_name = f"block_{index}_{place}"
    else:
        layer_name = "conv1" if owner == "stem" else "conv2"
    if part in BATCH_NORM:
        return getattr(network.get_layer(f"{layer_name}_BN"), BATCH_NORM[part]), None
    depthwise = layer_name.endswith("depthwise")
    layout = TENSORFLOW_DEPTHWISE if depthwise else TENSORFLOW_CONVOLUTION
    return network.get_layer(layer_name).kernel, layout
