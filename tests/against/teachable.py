"""Exports of Teachable Machine, made as its page makes them, from a model with random weights.

The page trains in TensorFlow.js. It writes ``model.json`` and ``weights.bin`` itself; its servers
convert them with Keras 2 into ``keras_model.h5`` and ``model.savedmodel``. The config has Keras 2's
form in all three.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.hdf5 import legacy_keras_bytes

SIZE = 224
LABELS = ("hat", "red shoes", "t-shirt")


def make_model(classes: int = len(LABELS), seed: int = 0) -> Any:
    """Return Teachable Machine's model: features and head, each in a Sequential model."""
    import keras

    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    shape = (SIZE, SIZE, 3)
    body = keras.applications.MobileNetV2(shape, alpha=0.35, include_top=False, weights=None)
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            count = layer.gamma.shape
            layer.set_weights([
                1 + 0.1 * random.normal(size=count), 0.1 * random.normal(size=count),
                0.1 * random.normal(size=count), 1 + 0.2 * random.random(count),
            ])  # fmt: skip
    model = keras.Model(body.input, body.output, name="model1")
    pool = keras.layers.GlobalAveragePooling2D(name="global_average_pooling2d_GlobalAverage1")
    features = keras.Sequential([keras.Input(shape), model, pool], name="sequential_1")
    head = keras.Sequential(
        [
            keras.Input((1280,)),
            keras.layers.Dense(100, activation="relu", name="dense_Dense1"),
            keras.layers.Dense(classes, activation="softmax", use_bias=False, name="dense_Dense2"),
        ],
        name="sequential_3",
    )
    return keras.Sequential([keras.Input(shape), features, head], name="sequential_4")


def answers(model: Any, pictures: NDArray) -> NDArray:
    """Return the probabilities of uint8 pictures, fed as Teachable Machine does."""
    return np.asarray(model(pictures.astype(np.float32) / 127.5 - 1, training=False))


# ---------------------------------------------------------------- Keras 2's form


def config_of(model: Any) -> dict[str, Any]:
    """Return a model's config as Keras 2 writes it."""
    kind = type(model).__name__
    rows = []
    for layer in model.layers:
        nested = config_of(layer) if hasattr(layer, "layers") else None
        row = nested or {"class_name": type(layer).__name__, "config": _settings(layer)}
        if kind == "Functional":
            history = [x._keras_history.operation.name for x in _inputs(layer)]
            row |= {"name": layer.name, "inbound_nodes": [[[x, 0, 0, {}] for x in history]]}
            row["inbound_nodes"] = row["inbound_nodes"] if history else []
        rows.append(row)
    first = rows[0]["config"]
    if kind == "Sequential" and rows[0]["class_name"] not in ("InputLayer", "Functional"):
        first.setdefault("batch_input_shape", [None, *model.inputs[0].shape[1:]])
    config: dict[str, Any] = {"name": model.name, "layers": rows}
    if kind == "Functional":
        config["input_layers"] = [[model.layers[0].name, 0, 0]]
        config["output_layers"] = [[model.layers[-1].name, 0, 0]]
    return {"class_name": "Model" if kind == "Functional" else kind, "config": config}


def _inputs(layer: Any) -> list[Any]:
    return [] if not layer._inbound_nodes else list(layer._inbound_nodes[0].input_tensors)


def _settings(layer: Any) -> dict[str, Any]:
    """Return a layer's settings as Keras 2 has them: plain values, and 'batch_input_shape'."""
    found: dict[str, Any] = {}
    for name, value in layer.get_config().items():
        if name == "batch_shape":
            found["batch_input_shape"] = list(value)
        elif name == "dtype":
            found["dtype"] = "float32"
        elif isinstance(value, dict):
            found[name] = {"class_name": value.get("class_name"), "config": value.get("config")}
        else:
            found[name] = value
    return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]


def weights_of(model: Any) -> Iterator[tuple[str, str, NDArray]]:
    """Yield (outermost layer, name of the variable, array), those that are trained first."""
    for top in model.layers:
        inner = [layer for layer in top._flatten_layers() if not hasattr(layer, "layers")]
        for trained in (True, False):
            for layer in inner:
                for variable in layer.weights:
                    if variable.trainable == trained:
                        word = variable.name
                        if type(layer).__name__ == "DepthwiseConv2D":
                            word = f"depthwise_{word}"
                        yield top.name, f"{layer.name}/{word}", np.asarray(variable)


# ---------------------------------------------------------------- the exports


def write_web(model: Any, folder: Path, stored: str = "float32") -> Path:
    """Write ``model.json``, ``weights.bin`` and ``metadata.json``; return the folder.

    Args:
        stored: type of the stored values, 'float32', or quantised ones: 'float16', 'uint8' or
            'uint16'.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed, data = [], b""
    for _, name, array in weights_of(model):
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        values: NDArray = array
        if stored == "float16":
            values = array.astype(np.float16)
            entry["quantization"] = {"dtype": stored, "original_dtype": "float32"}
        elif stored != "float32":
            steps = np.iinfo(stored).max
            least, span = float(array.min()), float(array.max() - array.min())
            scale = span / steps or 1.0
            values = np.round((array - least) / scale).astype(stored)
            entry["quantization"] = {
                "dtype": stored, "min": least, "scale": scale, "original_dtype": "float32"
            }  # fmt: skip
        listed.append(entry)
        data += values.tobytes()
    topology = config_of(model) | {
        "keras_version": "tfjs-layers 1.3.1",
        "backend": "tensor_flow.js",
    }
    said = {
        "modelTopology": topology, "format": "layers-model",
        "generatedBy": "TensorFlow.js tfjs-layers v1.3.1", "convertedBy": None,
        "weightsManifest": [{"paths": ["./weights.bin"], "weights": listed}],
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(said), "utf-8")
    (folder / "weights.bin").write_bytes(data)
    metadata = {
        "tfjsVersion": "1.3.1", "tmVersion": "2.4.7", "packageName": "@teachablemachine/image",
        "modelName": "tm-my-image-model", "labels": list(LABELS), "imageSize": SIZE,
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(metadata), "utf-8")
    return folder


def write_labels(folder: Path) -> None:
    """Write ``labels.txt``: '0 hat' and so on."""
    lines = [f"{index} {name}\n" for index, name in enumerate(LABELS)]
    (folder / "labels.txt").write_text("".join(lines), "utf-8")


def write_h5(model: Any, folder: Path) -> Path:
    """Write ``keras_model.h5`` and ``labels.txt``; return the file."""
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[str, list[tuple[str, NDArray]]] = {}
    for top, name, array in weights_of(model):
        groups.setdefault(top, []).append((f"{name}:0", array))
    weights = folder / "weights.h5"
    weights.write_bytes(legacy_keras_bytes([*groups.items()]))
    path = folder / "keras_model.h5"
    with h5py.File(weights) as source, h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        for name in source:
            source.copy(name, group)
        for name, value in source.attrs.items():
            group.attrs[name] = value
        file.attrs["keras_version"], file.attrs["backend"] = "2.4.0", "tensorflow"
        file.attrs["model_config"] = json.dumps(config_of(model))
    weights.unlink()
    write_labels(folder)
    return path


def write_savedmodel(model: Any, folder: Path, separate: bool = True) -> Path:
    """Write ``model.savedmodel`` and ``labels.txt``; return the SavedModel's folder.

    Args:
        separate: keep the config in ``keras_metadata.pb``; False writes it into ``saved_model.pb``,
            as TensorFlow did before 2.5.
    """
    import tensorflow as tf

    class Layer(tf.Module):  # type: ignore[misc]
        """A layer with its variables."""

    root, layers = tf.Module(), dict[str, Any]()
    for _, name, array in weights_of(model):
        owner, _, word = name.partition("/")
        layer = layers.setdefault(owner, Layer())
        setattr(layer, word, tf.Variable(array, name=name))
    for place, layer in enumerate(layers.values()):
        setattr(root, f"layer_with_weights-{place}", layer)
    out = folder / "model.savedmodel"
    tf.saved_model.save(root, str(out))
    metadata = json.dumps(config_of(model) | {"name": model.name, "trainable": True}).encode()
    identifier = b"_tf_keras_sequential"
    if separate:
        node = _field(3, b"root") + _field(4, identifier) + _field(5, metadata)
        (out / "keras_metadata.pb").write_bytes(_field(1, node))
    else:
        node = _field(4, _field(1, identifier) + _field(3, metadata))
        graph = _field(2, _field(7, _field(1, node)))
        with (out / "saved_model.pb").open("ab") as file:
            file.write(graph)
    write_labels(folder)
    return out


def _field(number: int, value: bytes) -> bytes:
    """Return a field of a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return struct.pack(f"{len(parts) + 1}B", *parts, value)
