"""Files with which a browser computes a model on its own device."""

from pathlib import Path

import numpy as np

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.graph import FEATURES, MAP
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.foreign import AnyConfig, ForeignConfig
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

GRAPH, HEAD, CONFIG, WEIGHTS = "model.tflite", "head.safetensors", store.CONFIG, store.WEIGHTS
NAMES = (GRAPH, HEAD, CONFIG, WEIGHTS)
"""Names of the files: a LiteRT graph, its classifier for heat maps, and the two files of a model
folder, which a model that was taught in the browser is saved with."""


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
    """Return the content of one of :data:`NAMES`; the graph takes about a second.

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
    """Return the content of one of :data:`NAMES` for a network with canonical arrays."""
    if name == CONFIG:
        return config.to_json().encode()
    if name == GRAPH:
        return device_graph(config, arrays)
    return serialised(arrays if name == WEIGHTS else head(config.spec, arrays))


def device_graph(config: ModelConfig, arrays: Arrays) -> bytes:
    """Return the LiteRT file of a network, its weights in 8 bits.

    It takes ``input`` and gives ``logits``, ``features`` (the classifier's input) and ``map`` (what
    ``features`` were pooled from). It is a quarter as large as the weights in float32.
    """
    return write_litert(lower(config, arrays).with_outputs(FEATURES, MAP), "int8")


def head(spec: NetworkSpec, arrays: Arrays) -> Arrays:
    """Return the arrays of the classifier and its hidden layers."""
    layers = {layer.name for layer in resolve(spec).linears}
    return {name: array for name, array in arrays.items() if name.rpartition(".")[0] in layers}


def serialised(arrays: Arrays) -> bytes:
    """Return arrays as a safetensors file of float32, as a model folder has it."""
    from safetensors.numpy import save

    stored = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    return bytes(save(stored, store.METADATA))
