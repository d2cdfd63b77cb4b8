"""The article's Keras implementation, with its names of functions.

It differs from the paper as follows. The cost is for width 1.0, 224 pixels and 1000 classes
(:data:`PARAMETERS`, :data:`MULTIPLY_ADDS`; the paper has 3,504,872 and 300,774,272):

* The first block has an expansion convolution although it does not expand: 1,088 parameters and
  12,845,056 multiply-adds more.
* A block's projection has ``int(nb_filter * alpha)`` channels, which is not rounded to a multiple
  of 8. At alpha 0.35, the first block has 5 channels; the published network has 8.
* The caller decides whether a block adds its input (``residual``).
* The padding of a stride-2 block depends on the size that is known while the model is built, and
  an unknown size counts as even. That is wrong for odd sizes: 225 pixels become 7 x 7 at the end
  instead of 8 x 8.

Its spec is ``published("article-keras")``.

Keras 3 lacks ``keras.backend.int_shape`` and ``keras.backend.relu``, which ``pad_size`` and
``relu6`` were made of; a tensor's ``shape`` and the ReLU layer replace them.
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

choose()  # Keras alone would always take TensorFlow

import keras  # noqa: E402
from keras import layers  # noqa: E402

PARAMETERS, MULTIPLY_ADDS = 3_505_960, 313_619_328
EPSILON, MOMENTUM = 1e-3, 0.999

Pads = tuple[tuple[int, int], tuple[int, int]]


def relu6(x: Any, name: str | None = None) -> Any:
    """Clip to 0 to 6 with a layer of Keras, so that Keras alone can read a saved model."""
    return layers.ReLU(6.0, name=name)(x)


def make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """Return the nearest multiple of ``divisor``, at least ``min_value`` and 90% of ``v``."""
    return nearest_multiple(v, divisor, min_value)


def pad_size(inputs: Any, kernel_size: int | tuple[int, int]) -> Pads:
    """Return the padding ((top, bottom), (left, right)) for a 'valid' convolution of stride 2.

    Even sizes get one zero less before than after the image, odd sizes the same number. An unknown
    size counts as even.

    Args:
        inputs: tensor (batch, height, width, channels).
        kernel_size: height and width of the kernel, or one number for both.
    """
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    height, width = (
        (half - (1 - (size or 0) % 2), half)
        for half, size in zip((side // 2 for side in kernel), inputs.shape[1:3], strict=True)
    )
    return height, width


def conv_block(x: Any, nb_filter: int, kernel: int, stride: int, name: str) -> Any:
    """Apply a convolution without bias, BatchNorm and ReLU6; stride 2 pads by :func:`pad_size`."""
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
    """Apply expansion, depthwise convolution and linear projection; optionally add the input.

    Args:
        nb_filter: output channels at width 1; the block has ``int(nb_filter * alpha)``.
        t: expansion factor.
        residual: True to add the input, which must have the output's shape.
        resdiual: alias of ``residual``, as the article spells it.

    Raises:
        TypeError: both spellings are given with different values.
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
    """Return the model of the article's blocks in the paper's table, from images to logits.

    Blocks are ``block_0`` to ``block_16``. A block that keeps size and channels adds its input. The
    model's ``spec`` describes the same network.
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
    """Copy canonical arrays into the article's network in place.

    Raises:
        WeightsError: names or shapes of the arrays differ; the message lists every difference.
    """
    check_arrays(network.spec, arrays, where)
    for name, array in arrays.items():
        variable, layout = _variable(network, name)
        variable.assign(layout.from_canonical(np.asarray(array)) if layout else array)


def dump(network: keras.Model) -> Arrays:
    """Return copies of the weights as canonical float32 arrays."""
    arrays: Arrays = {}
    for name in parameter_shapes(network.spec):
        variable, layout = _variable(network, name)
        array = np.array(keras.ops.convert_to_numpy(variable.value), np.float32)
        arrays[name] = layout.to_canonical(array) if layout else array
    return arrays


def _variable(network: keras.Model, name: str) -> tuple[Any, Layout | None]:
    """Return the variable of a canonical tensor, and its layout."""
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
