"""Classifiers on the body of the Keras edition: its own, or one that a user built on it."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import keras
from keras import layers

from mobilenetv2.editions.heads import (
    Activation,
    ActivationPart,
    DropoutPart,
    Head,
    LinearPart,
    OtherPart,
    OutputPart,
    Part,
    describe_head,
    dropouts,
    head_config,
    undescribed,
)
from mobilenetv2.editions.keras.names import (
    activation_name,
    convolution_name,
    linear_name,
)
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, Outputs, Pooling
from mobilenetv2.spec.records import ModelConfig

CONFIG = "network_config"
"""Attribute of the first convolution, which all models that are built on the body share."""
MEAN, MAX = layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D


def attach(network: keras.Model, config: ModelConfig) -> None:
    """Attach its config to a network, for models that are built on its layers too."""
    network.config = config
    setattr(body_of(network).get_layer(convolution_name("stem")), CONFIG, config)


def body_of(network: keras.Model) -> keras.Model:
    """Return the model that has the body's layers: the network itself, or a model inside it.

    Raises:
        MobileNetV2Error: the model has no body of this package.
    """
    found = network
    while found is not (inner := _carrier(found)):
        found = inner
    return found


def _carrier(network: keras.Model) -> keras.Model:
    """Return the network if it has the body's layers itself, or else the layer that has them."""
    stem = convolution_name("stem")
    if any(layer.name == stem for layer in network.layers):
        return network
    for layer in network.layers:
        if isinstance(layer, keras.Model) and any(
            inner.name == stem for inner in layer._flatten_layers()
        ):
            return layer
    raise MobileNetV2Error(f"the Keras model {network.name!r} has no MobileNetV2 of this package")


def config_of(network: keras.Model) -> ModelConfig:
    """Return the config of a network, with its present classifier.

    A classifier that a user built on the body has numbered labels. To name them, set a config:
    ``model.config = dataclasses.replace(config_of(model), labels=...)``.

    Raises:
        SpecError: no spec can describe the classifier; the message says why.
        MobileNetV2Error: the model has no config, such as a model that Keras read from a file.
    """
    own = getattr(network, "config", None)
    if isinstance(own, ModelConfig):
        rates = [float(layer.rate) for layer in network.layers if isinstance(layer, layers.Dropout)]
        built = [probability for probability in dropouts(own.spec) if probability]
        if len(rates) != len(built) or rates == built:
            return own
        return head_config(own, describe_top(network, own.spec).spec, named=True)
    config, body = body_config(network), body_of(network)
    head = describe_top(network, config.spec)
    kept = any(layer is head.layers[-1] for layer in body.layers)  # the body's own classifier
    return head_config(config, head.spec, named=kept)


def body_config(network: keras.Model) -> ModelConfig:
    """Return the config that the body of a model was built from.

    Raises:
        MobileNetV2Error: the model has no config, such as a model that Keras read from a file.
    """
    body = body_of(network)
    found = getattr(body, "config", None)
    if not isinstance(found, ModelConfig):
        found = getattr(body.get_layer(convolution_name("stem")), CONFIG, None)
    if not isinstance(found, ModelConfig):
        raise MobileNetV2Error(
            "this Keras model has no config; set its .config to the ModelConfig of the network "
            "that it was made from"
        )
    return found


def linear_layers(network: keras.Model, spec: NetworkSpec) -> dict[str, Any]:
    """Return the classifier's Dense layers by their canonical names; empty without a top.

    Raises:
        SpecError: no spec can describe the classifier.
    """
    names = [linear.name for linear in resolve(spec).linears]
    by_name = {layer.name: layer for layer in network.layers}
    if all(linear_name(name) in by_name for name in names):
        return {name: by_name[linear_name(name)] for name in names}
    if not any(isinstance(layer, layers.Dense) for layer in top_layers(network)):
        return {}
    return dict(zip(names, describe_top(network, spec).layers, strict=True))


def describe_top(network: keras.Model, spec: NetworkSpec) -> Head[Any]:
    """Return the spec with the model's classifier, and the classifier's Dense layers.

    Raises:
        SpecError: no spec can describe the classifier; the message says why.
    """
    found = top_layers(network)
    pooling: Pooling = spec.classifier.pooling
    if found and isinstance(found[0], MEAN | MAX):
        pooling = "average" if isinstance(found[0], MEAN) else "max"
        found = found[1:]
    head = dataclasses.replace(spec.classifier, pooling=pooling)
    return describe_head(list_parts(found), spec.replace(classifier=head))


def top_layers(network: keras.Model) -> list[Any]:
    """Return the layers behind the body's last feature map, in the order in which they run.

    Raises:
        SpecError: the layers are not a chain.
    """
    if not network.built:
        raise MobileNetV2Error(
            f"the Keras model {network.name!r} is not built yet; call it once on images, or let it "
            "begin with keras.Input((height, width, channels))"
        )
    carrier = _carrier(network)
    own = carrier is network
    end = network.get_layer(activation_name("head")) if own else carrier
    found: list[Any] = []
    tensors = list(network.outputs)
    while True:
        if len(tensors) != 1:
            raise undescribed("its layers are not a chain")
        operation, node, _ = tensors[0]._keras_history
        if operation is end:
            return found[::-1] if own else [*top_layers(carrier), *found[::-1]]
        if isinstance(operation, layers.InputLayer):
            raise undescribed("its layers do not start at the body's last feature map")
        found.append(operation)
        tensors = list(operation._inbound_nodes[node].input_tensors)


def list_parts(found: Iterable[Any]) -> Iterator[Part[Any]]:
    """Yield layers as parts of :mod:`mobilenetv2.editions.heads`."""
    for layer in found:
        if isinstance(layer, layers.Dense):
            yield LinearPart(int(layer.kernel.shape[0]), layer.units, layer.use_bias, layer)
            yield from _activation(layer.activation)
        elif isinstance(layer, layers.Dropout):
            yield DropoutPart(float(layer.rate))
        elif isinstance(layer, layers.ReLU):
            bound, plain = layer.max_value, not (layer.negative_slope or layer.threshold)
            names: dict[float | None, Activation] = {None: "relu", 6.0: "relu6"} if plain else {}
            yield ActivationPart(names[bound]) if bound in names else OtherPart("ReLU of its own")
        elif isinstance(layer, layers.Activation):
            yield from _activation(layer.activation)
        elif isinstance(layer, layers.Softmax):
            yield OutputPart("softmax")
        elif isinstance(layer, keras.Model):
            yield from list_parts(layer.layers)
        elif not isinstance(layer, layers.InputLayer | layers.Flatten):
            yield OtherPart(type(layer).__name__)


def _activation(function: Any) -> Iterator[Part[Any]]:
    name = getattr(function, "__name__", type(function).__name__)
    outputs: dict[str, Outputs] = {"softmax": "softmax", "sigmoid": "sigmoid"}
    hidden: dict[str, Activation] = {"relu": "relu", "relu6": "relu6"}
    if name in outputs:
        yield OutputPart(outputs[name])
    elif name in hidden:
        yield ActivationPart(hidden[name])
    elif name != "linear":
        yield OtherPart(f"{name} activation")
