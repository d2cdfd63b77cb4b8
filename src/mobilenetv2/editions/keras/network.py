"""MobileNetV2 as a functional Keras model, built from the spec, with keras.applications' names."""

import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from mobilenetv2.documents import LARGEST_JSON, parse_json
from mobilenetv2.editions.edition import Dtype, check_options
from mobilenetv2.editions.feature_info import feature_info
from mobilenetv2.editions.keras.names import (
    CLASSIFIER,
    POOLS,
    activation_name,
    batch_norm_name,
    block_prefix,
    convolution_name,
    intermediate_layers,
    linear_name,
    linear_output_name,
)
from mobilenetv2.editions.keras.top import attach, body_of, config_of, linear_layers
from mobilenetv2.editions.keras.weights import assign, dump
from mobilenetv2.errors import MobileNetV2Error, SpecError, WeightsError, argument
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.images.transform import ArrayTransform
from mobilenetv2.model.initialisation import Initialisation, initialise, with_classes
from mobilenetv2.spec.blocks import Block, Convolution, Linear, require_inverted, resolve
from mobilenetv2.spec.names import is_classifier, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import Labels, ModelConfig
from mobilenetv2.zips import Zip

LAST = "channels_last"
"""Data format of every layer, set because a user's keras.json may have another default."""


def MobileNetV2(
    config: ModelConfig | NetworkSpec,
    initialisation: Initialisation = "torchvision",
    seed: int | None = None,
    dtype: Dtype = "float32",
    *,
    input_shape: tuple[int | None, ...] | None = None,
    include_top: bool = True,
    pooling: Literal["avg", "max"] | None = None,
    classifier_activation: str | None = None,
    name: str = "mobilenetv2",
) -> keras.Model:
    """Return a ``keras.Model`` from normalised images (batch, height, width, channels) to logits.

    Its ``.config`` is the :class:`ModelConfig`, and its ``.transform`` the preprocessing from a
    photo to a float32 array (height, width, channels).
    :func:`mobilenetv2.networks.folders.save` can also save a model that was built on it or its
    layers, such as Dense layers on ``include_top=False, pooling="avg"``.

    Keras can read its ``.keras`` files without this package, since all layers are Keras's own. The
    exception is :class:`UnbiasedBatchNormalization`, the BatchNorm of PyTorch's numerics.

    Args:
        config: spec or config of the network.
        initialisation: scheme of the initial weights, 'torchvision' or 'paper'.
        seed: seed of the initial weights and of dropout; default: 0.
        dtype: data type of weights and computation.
        input_shape: (height, width), each None if it varies between calls, or (height, width,
            channels). Padding is right for every size. Default: the spec's size.
        include_top: True for a network with dropout and classifier; False for one that ends with
            the head's feature map.
        pooling: pooling over the feature map without the top: 'avg', 'max' or None.
        classifier_activation: activation of the logits. Default: None, as in every edition;
            keras.applications defaults to 'softmax'.
        name: name of the model.

    Raises:
        MobileNetV2Error: dtype is float64 and the backend is not TensorFlow.
        SpecError: the shape, the pooling or the dtype is impossible.
    """
    dtype = check_options(dtype, seed)
    config = config if isinstance(config, ModelConfig) else ModelConfig.default(config)
    if dtype == "float64" and keras.backend.backend() != "tensorflow":
        raise MobileNetV2Error(
            f"on {keras.backend.backend()}, Keras computes BatchNorm in float32 only; "
            "for float64, build with backend='tensorflow'"
        )
    spec, network = config.spec, resolve(config.spec)
    blocks, head = require_inverted(spec, "keras")
    if pooling not in ((None,) if include_top else (None, "avg", "max")):
        raise SpecError(
            f"pooling {pooling!r} must be 'avg' or 'max', and only where include_top is False"
        )
    make = Layers(spec.numerics, dtype)
    inputs = layers.Input(_shape(spec, input_shape), dtype=dtype)
    x = make.conv_bn(inputs, network.stem)
    for block in blocks:
        x = make.inverted_residual(x, block)
    x = make.conv_bn(x, head)
    if include_top:
        x = make.pool(x, spec.classifier.pooling)
        if spec.dropout:
            x = layers.Dropout(spec.dropout, seed=seed or 0, name="dropout", dtype=dtype)(x)
        *hidden, last = network.linears
        for layer in hidden:
            x = make.hidden(x, layer, seed or 0)
        x = apply_new(layers.Dense(
            last.out_features, activation=classifier_activation, use_bias=last.bias,
            name=CLASSIFIER, dtype=dtype,
        ), x)  # fmt: skip
    elif pooling is not None:
        x = make.pool(x, {"avg": "average", "max": "max"}[pooling])
    model = keras.Model(inputs, x, name=name)
    _finish(model, config)
    assign(model, initialise(parameter_shapes(spec), initialisation, seed or 0))
    return model


def apply_new(layer: Any, x: Any, initializer: str = "kernel_initializer") -> Any:
    """Apply a new layer, whose kernel is zero until :func:`assign` sets it.

    Keras would draw random values first: JAX compiles that for every shape of a kernel. The layer
    keeps its initializer, which is part of a saved network.
    """
    kept = getattr(layer, initializer)
    setattr(layer, initializer, lambda shape, dtype: np.zeros(shape, dtype))
    outputs = layer(x)
    setattr(layer, initializer, kept)
    return outputs


def _finish(model: keras.Model, config: ModelConfig) -> None:
    attach(model, config)
    model.transform = ArrayTransform(config.preprocessing)


def _shape(spec: NetworkSpec, wish: tuple[int | None, ...] | None) -> tuple[int | None, ...]:
    """Return (height, width, channels) of an ``input_shape`` with or without channels."""
    size = spec.size if wish is None else tuple(wish)
    if len(size) == 3 and size[-1] == spec.input_channels:
        size = size[:2]
    if len(size) != 2:
        raise SpecError(
            f"input_shape {wish!r} must be (height, width), or (height, width, "
            f"{spec.input_channels}): the spec has {spec.input_channels} channels"
        )
    return (*size, spec.input_channels)


class Layers:
    """Factory of the network's layers for one set of numerics."""

    def __init__(self, numerics: Numerics, dtype: str) -> None:
        self.numerics, self.dtype = numerics, dtype
        self.batch_norm = (
            UnbiasedBatchNormalization
            if numerics.running_variance == "unbiased"
            else layers.BatchNormalization
        )

    def conv_bn(self, x: Any, layer: Convolution) -> Any:
        """Apply a convolution, BatchNorm and the activation, if the layer has one."""
        name, same = convolution_name(layer.name), True
        if layer.stride == 2 and layer.kernel == 3 and self.numerics.padding == "symmetric":
            # Only here does Keras's 'same' differ from symmetric padding. Keras computes 'same'
            # from the actual size, so that it is right for odd and for unknown sizes.
            pad = "Conv1_pad" if layer.role == "stem" else name.replace("depthwise", "pad")
            pads = layers.ZeroPadding2D(1, LAST, name=pad, dtype=self.dtype)
            x, same = pads(x), False
        options: dict[str, Any] = {
            "kernel_size": layer.kernel, "strides": layer.stride, "use_bias": layer.bias,
            "padding": "same" if same else "valid", "data_format": LAST, "name": name,
            "dtype": self.dtype,
        }  # fmt: skip
        if layer.role == "depthwise":
            x = apply_new(layers.DepthwiseConv2D(**options), x, "depthwise_initializer")
        else:
            x = apply_new(layers.Conv2D(layer.out_channels, **options), x)
        x = self.batch_norm(
            # Rounded, since 1 - 0.1 is not exactly 0.9 in floating point.
            momentum=round(1 - self.numerics.update_rate, 12),
            epsilon=self.numerics.epsilon, name=batch_norm_name(layer.name), dtype=self.dtype,
        )(x)  # fmt: skip
        if layer.activation is None:
            return x
        bound = 6.0 if layer.activation == "relu6" else None
        return layers.ReLU(bound, name=activation_name(layer.name), dtype=self.dtype)(x)

    def pool(self, x: Any, kind: str) -> Any:
        """Apply global average or max pooling."""
        pools = {"average": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}
        return pools[kind](LAST, name=POOLS[kind], dtype=self.dtype)(x)

    def hidden(self, x: Any, layer: Linear, seed: int) -> Any:
        """Apply a hidden linear layer, its activation and its dropout."""
        name = linear_name(layer.name)
        dense = layers.Dense(layer.out_features, use_bias=layer.bias, name=name, dtype=self.dtype)
        x = apply_new(dense, x)
        if layer.activation is not None:
            bound = 6.0 if layer.activation == "relu6" else None
            x = layers.ReLU(bound, name=linear_output_name(layer), dtype=self.dtype)(x)
        if layer.dropout:
            # With the same seed, all layers would drop the same units.
            seed += 1 + int(layer.name.rpartition(".")[2])
            x = layers.Dropout(layer.dropout, seed=seed, name=f"{name}_dropout", dtype=self.dtype)(
                x
            )
        return x

    def inverted_residual(self, x: Any, block: Block) -> Any:
        """Apply an inverted residual: expansion, depthwise convolution, projection, shortcut."""
        y = x if block.expand is None else self.conv_bn(x, block.expand)
        y = self.conv_bn(self.conv_bn(y, block.depthwise), block.project)
        if not block.residual:
            return y
        x = x if block.shortcut is None else self.conv_bn(x, block.shortcut)
        return layers.Add(name=f"{block_prefix(block.index)}add", dtype=self.dtype)([x, y])


@keras.saving.register_keras_serializable("mobilenetv2")
class UnbiasedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's BatchNormalization with the unbiased variance in ``moving_variance``, as in PyTorch.

    :func:`mobilenetv2.editions.keras.read` reads a ``.keras`` file with this layer. Keras itself
    can read one after this module has been imported.
    """

    def call(self, inputs, training=None, mask=None):  # type: ignore[no-untyped-def]
        """Normalise (batch, ..., channels)."""
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        kept = ops.cast(self.moving_variance, inputs.dtype) * self.momentum
        outputs = super().call(inputs, training=training, mask=mask)
        shape = ops.shape(inputs)
        count = ops.cast(shape[0] * shape[1] * shape[2], inputs.dtype)
        added = ops.cast(self.moving_variance, inputs.dtype) - kept
        self.moving_variance.assign(kept + added * (count / ops.maximum(count - 1, 1)))
        return outputs


def forward_features(network: keras.Model, x: Any) -> Any:
    """Return the last feature map (batch, ..., k) of (batch, height, width, channels), normalised.

    Each call makes a new model. In a loop, make one up to the layer ``out_relu`` instead.
    """
    body = body_of(network)
    return keras.Model(body.input, body.get_layer(activation_name("head")).output)(x)


def features_only(network: keras.Model, out_indices: Sequence[int] | None = None) -> keras.Model:
    """Return a backbone that gives a list of feature maps and shares the network's layers.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.features_only`.

    Returns:
        A ``keras.Model`` from images (batch, height, width, channels) to a list of feature maps
        (batch, ..., k). Its ``.feature_info`` is the table of channels and strides.

    Example:
        # needs: keras
        >>> import numpy as np
        >>> from mobilenetv2.editions import keras as edition
        >>> network = edition.build(mn.NetworkSpec(width=0.35, size=64))
        >>> backbone = edition.features_only(network, (3, 4))
        >>> [tuple(found.shape) for found in backbone(np.zeros((1, 64, 64, 3), np.float32))]
        [(1, 4, 4, 32), (1, 2, 2, 112)]
    """
    config = config_of(network)
    spec = config.spec
    info, sources = feature_info(spec, out_indices), intermediate_layers(spec)
    body = body_of(network)
    maps = [body.get_layer(sources[found.module]).output for found in info.chosen]
    backbone = Backbone(body.input, maps, name=f"{network.name}_features")
    backbone.feature_info, backbone.config = info, config
    backbone.transform = ArrayTransform(config.preprocessing)
    return backbone


class Backbone(keras.Model):
    """Functional model that returns a list of feature maps, even of a single one."""

    def call(self, inputs, training=None, mask=None):  # type: ignore[no-untyped-def]
        """Return the feature maps of normalised images (batch, height, width, channels)."""
        maps = super().call(inputs, training=training, mask=mask)
        return maps if isinstance(maps, list) else [maps]


def reset_classifier(
    network: keras.Model, classes: int | Iterable[str] | Labels, seed: int | None = None
) -> keras.Model:
    """Return a new model with the network's layers and a new classifier; hidden layers stay.

    A functional model cannot be changed in place. The network stays as it is and shares its layers
    with the returned model. Compile the returned model before you train it.

    The arguments are those of :meth:`mobilenetv2.editions.edition.Edition.reset_classifier`.

    Example:
        # needs: keras
        >>> from mobilenetv2.editions import keras as edition
        >>> network = edition.build(mn.NetworkSpec(width=0.35, size=64, classes=10))
        >>> edition.reset_classifier(network, ["hat", "shoes"]).output.shape
        (None, 2)
    """
    check_options(seed=seed)
    config = with_classes(config_of(network), Labels.of(classes))
    spec, dtype = config.spec, body_of(network).get_layer(activation_name("head")).dtype
    *hidden, last = resolve(spec).linears
    if dense := linear_layers(network, config_of(network).spec):
        x = dense["classifier"].input
    else:
        make, x = Layers(spec.numerics, dtype), network.output
        x = make.pool(x, spec.classifier.pooling) if len(x.shape) == 4 else x
        if spec.dropout:
            x = layers.Dropout(spec.dropout, seed=seed or 0, name="dropout", dtype=dtype)(x)
        for layer in hidden:
            x = make.hidden(x, layer, seed or 0)
    classifier = layers.Dense(last.out_features, use_bias=last.bias, name=CLASSIFIER, dtype=dtype)
    x = apply_new(classifier, x)
    # Not ``network.input``: a Sequential has none until it is called as a layer.
    model = keras.Model(network.inputs[0], x, name=network.name)
    _finish(model, config)
    shapes = parameter_shapes(spec)
    fresh = {name: shape for name, shape in shapes.items() if name.startswith("classifier.")}
    if not dense:
        fresh = {name: shape for name, shape in shapes.items() if is_classifier(name)}
    assign(model, initialise(fresh, "torchvision", seed or 0))
    return model


def predictor(
    network: keras.Model, device: str = "cpu", outputs: Literal["logits", "features"] = "logits"
) -> Callable[[NDArray], NDArray]:
    """Return a function from uint8 images to outputs.

    Raises:
        MobileNetV2Error: ``device`` is not 'cpu', since Keras's backend chooses the device itself;
            or the network has no such output.
    """
    if device != "cpu":
        raise MobileNetV2Error(
            f"{argument('device', device)}: Keras's backend chooses its device by itself; "
            f"leave {argument('device')} out"
        )
    pool = POOLS[config_of(network).spec.classifier.pooling]
    end = _layer(network, CLASSIFIER if outputs == "logits" else pool)
    model = keras.Model(network.input, end.output)

    def predict(pictures: NDArray) -> NDArray:
        x = normalise(pictures, config_of(network).preprocessing).astype(end.dtype)
        return np.asarray(model.predict_on_batch(x), np.float32)

    return predict


def intermediates(network: keras.Model, x: NDArray) -> dict[str, NDArray]:
    """Return the named intermediate tensors of a forward pass.

    Raises:
        MobileNetV2Error: the network has no logits, or takes images of another size.
    """
    expected, given = network.inputs[0].shape[1:], np.shape(x)[1:]
    fits = [side in (None, found) for side, found in zip(expected, given, strict=False)]
    if len(given) != len(expected) or not all(fits):
        raise MobileNetV2Error(
            f"this Keras model takes images of shape {_sides(expected)} (height, width, channels), "
            f"not {_sides(given)}; resize them, or build it at their size"
        )
    sources = intermediate_layers(config_of(network).spec) | {"logits": CLASSIFIER}
    dtype = _layer(network, CLASSIFIER).dtype
    ends = {name: _layer(network, layer).output for name, layer in sources.items()}
    # predict_on_batch would convert float64 to float32 on some backends.
    tensors = keras.Model(network.input, ends)(keras.ops.convert_to_tensor(x, dtype))
    return {name: np.asarray(keras.ops.convert_to_numpy(tensors[name])) for name in ends}


def _sides(shape: Sequence[int | None]) -> str:
    return " x ".join("any" if side is None else str(side) for side in shape)


def _layer(network: keras.Model, name: str) -> keras.Layer:
    """Return a layer by name; raise if the model lacks it or it does not give logits."""
    layer = {layer.name: layer for layer in network.layers}.get(name)
    if layer is None:
        what = "logits" if name == CLASSIFIER else "features"
        raise MobileNetV2Error(
            f"this Keras model has no {what}: it was built without the layer {name!r}; build it "
            "with include_top=True, or call the model itself"
        )
    if name == CLASSIFIER and layer.activation is not keras.activations.linear:
        raise MobileNetV2Error(
            f"this Keras model gives {layer.activation.__name__} instead of logits; build it "
            "without classifier_activation, or call the model itself"
        )
    return layer


def read(path: str | PathLike[str], config: ModelConfig | NetworkSpec | None = None) -> keras.Model:
    """Read a ``.keras`` file that a network of this edition was saved to."""
    where = os.fspath(path)
    _require_plain(Path(where))
    try:
        own = {"UnbiasedBatchNormalization": UnbiasedBatchNormalization}
        network = keras.saving.load_model(where, custom_objects=own, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{where}: Keras cannot read it ({reason})") from None
    if config is not None:
        _finish(network, config if isinstance(config, ModelConfig) else ModelConfig.default(config))
        if not _fits(network):
            raise WeightsError(f"{where}: its network is not that of the given config")
    return network


PLAIN = frozenset({
    ("keras.src.models.functional", "Functional"), ("keras.src.models.sequential", "Sequential"),
    ("keras", "Functional"), ("keras", "Sequential"), ("keras", "DTypePolicy"),
    (None, "__keras_tensor__"), (__name__, UnbiasedBatchNormalization.__name__),
    *(("keras.layers", name) for name in (
        "InputLayer", "ZeroPadding2D", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU",
        "Activation", "Softmax", "Add", "Dropout", "Dense", "Flatten", "Rescaling",
        "GlobalAveragePooling2D", "GlobalMaxPooling2D",
    )),
})  # fmt: skip
"""Module and class of what a saved network consists of; none of it runs what a file says."""
PLAIN_MODULES = frozenset({
    "keras.initializers", "keras.regularizers", "keras.optimizers", "keras.optimizers.schedules",
    "keras.losses", "keras.metrics",
})  # fmt: skip


def _require_plain(path: Path) -> None:
    """Raise WeightsError unless Keras can build a file's model without anything but plain layers.

    Keras imports the modules that a file names, and some of its classes call or unpickle what a
    file holds.
    """

    def check(found: dict[str, Any]) -> dict[str, Any]:
        kind, module = found.get("class_name"), found.get("module")
        named = isinstance(kind, str) and isinstance(module, str | None)
        known = named and (module in PLAIN_MODULES or (module, kind) in PLAIN)
        if kind is not None and not known:
            raise WeightsError(
                f"{path}: has {str(module)[:60]}.{str(kind)[:60]}, which no network of this "
                "package has; import the file with 'mobilenetv2 weights import', which reads "
                "weights only"
            )
        return found

    try:
        with Zip(path) as archive:
            text = archive.content("config.json", LARGEST_JSON)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None
    except (KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: Keras cannot read it ({error})") from None
    parse_json(text, f"{path}: its config", WeightsError, constants=True, hook=check)


def _fits(network: keras.Model) -> bool:
    """Return True if the variables match the config, with or without the classifier."""
    try:
        arrays = dump(network)
    except (KeyError, AttributeError):  # no such layer, or one without a bias
        return False
    shapes = parameter_shapes(config_of(network).spec)
    same = all(array.shape == shapes[name] for name, array in arrays.items())
    return same and len(arrays) == len(network.weights)
