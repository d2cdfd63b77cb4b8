"""Files with which a browser computes a model on its own device."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.graph import FEATURES, MAP
from mobilenetv2.graph.litert import Storage, write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.float16 import nearest
from mobilenetv2.model.int8 import channel_integers
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.runtime.predictor import build_artifact, create_engine
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.foreign import AnyConfig, ForeignConfig
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

GRAPH, HEAD, CONFIG, WEIGHTS = "model.tflite", "head.safetensors", store.CONFIG, store.WEIGHTS
NAMES = (GRAPH, HEAD, CONFIG, WEIGHTS)
"""Names of the files: a LiteRT graph, its classifier for heat maps, and the two files of a model
folder, which a model that was taught in the browser is saved with."""
LARGEST = 0.15
"""Largest difference of a probability by weights of 8 bits, times the largest probability. On drawn
images of no clear class it was 0.12 for the embedded network, whose photos keep their answers."""


def why_not(place: Path, config: AnyConfig) -> str:
    """Return why a model cannot run in a browser, in one sentence; '' if it can.

    Args:
        place: the model folder or exported file.
        config: its config.
    """
    if isinstance(config, ForeignConfig):
        return (
            f"{place.name} is a file of another program, which only the server runs; import its "
            "weights with 'mobilenetv2 weights import' to run them in the browser"
        )
    if place.is_dir():
        return ""
    return (
        f"{place.name} is an exported file, which only the server runs; serve the model folder "
        "that it was made of to run it in the browser"
    )


def device_file(place: Path, name: str) -> bytes:
    """Return the content of one of :data:`NAMES`; the graph and the weights take about two seconds.

    Args:
        place: the model folder.
        name: name of the file.

    Raises:
        ArtifactError: there is no such file.
        WeightsError: it is not a model folder, or it is damaged.
    """
    if name not in NAMES:
        raise ArtifactError(f"{name}: no such file of a model; known are: {', '.join(NAMES)}")
    if name == CONFIG:
        return store.load_config(place).to_json().encode()
    return content(name, *store.load(place))


def content(name: str, config: ModelConfig, arrays: Arrays) -> bytes:
    """Return the content of one of :data:`NAMES` for a network with canonical arrays.

    The weights are those that the graph computes with, so that a classifier which was taught on its
    features gives the same answers with them.
    """
    if name == CONFIG:
        return config.to_json().encode()
    if name == HEAD:
        return serialised(head(config.spec, arrays))
    rounded = rounded_arrays(arrays, in_8_bits)
    storage: Storage = "int8"
    if not rounds_well(config, arrays):
        storage, rounded = "float16", rounded_arrays(arrays, nearest)
    return serialised(rounded) if name == WEIGHTS else device_graph(config, arrays, storage)


def device_graph(config: ModelConfig, arrays: Arrays, storage: Storage = "int8") -> bytes:
    """Return the LiteRT file of a network.

    It takes ``input`` and gives ``logits``, ``features`` (the classifier's input) and ``map`` (what
    ``features`` were pooled from).

    Args:
        config: config of the network.
        arrays: its canonical arrays.
        storage: type in which the weights are stored, as in :func:`write_litert`. Default: 'int8',
            a quarter of the bytes of float32.
    """
    return write_litert(lower(config, arrays).with_outputs(FEATURES, MAP), storage)


def rounds_well(config: ModelConfig, arrays: Arrays) -> bool:
    """Return True if the answers hardly change by weights of 8 bits; those of few networks do.

    Some that were trained for a few steps only have layers whose weights differ by orders of
    magnitude in one channel.
    """
    rounded = {name: in_8_bits(one) if one.ndim > 1 else one for name, one in arrays.items()}
    x = engine_input(sample_pictures(config.preprocessing), config.preprocessing)
    before, after = (
        probabilities(
            create_engine(build_artifact(config, each, Path(GRAPH)), threads=1).run(x, "logits"),
            config.spec.classifier.outputs,
        )
        for each in (arrays, rounded)
    )
    return bool(np.abs(after - before).max() <= LARGEST * before.max())


def rounded_arrays(arrays: Arrays, rounding: Callable[[NDArray], NDArray]) -> Arrays:
    """Return canonical arrays with the convolutions rounded as the graph's are."""
    return {name: rounding(array) if array.ndim == 4 else array for name, array in arrays.items()}


def in_8_bits(weight: NDArray) -> NDArray:
    """Return a weight's values after rounding to 8 bits, float32."""
    integers, scales = channel_integers(weight)
    values: NDArray = integers.astype(np.float32) * scales.reshape(-1, *[1] * (weight.ndim - 1))
    return values


def head(spec: NetworkSpec, arrays: Arrays) -> Arrays:
    """Return the arrays of the classifier and its hidden layers."""
    layers = {layer.name for layer in resolve(spec).linears}
    return {name: array for name, array in arrays.items() if name.rpartition(".")[0] in layers}


def serialised(arrays: Arrays) -> bytes:
    """Return arrays as a safetensors file of float32, as a model folder has it."""
    from safetensors.numpy import save

    stored = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    return bytes(save(stored, store.METADATA))
