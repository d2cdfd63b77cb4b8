"""Writer of Keras 3's ``.keras`` file: the edition with Keras's own layers, for Keras only."""

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions import keras as edition
from mobilenetv2.editions.keras_backend import choose
from mobilenetv2.errors import ArtifactError, argument
from mobilenetv2.exporting.job import Options
from mobilenetv2.exporting.savedmodel import limit_threads, tensorflow
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.process import errors_only, suppress_native_output
from mobilenetv2.runtime.engines.engine import Engine, Output, cannot_run
from mobilenetv2.runtime.engines.keras import CONFIG
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import first_line

METADATA, NEVER = "metadata.json", "1980-01-01@00:00:00"


def write_keras(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write a trainable model from normalised images to logits.

    The input is (batch, height, width, channels). Its BatchNorms are Keras's own, so that
    ``keras.models.load_model`` does not need this package. The config in the file has the network's
    rule for the running variance.
    """
    with suppress_native_output():  # TensorFlow's greetings
        choose()
    numerics = dataclasses.replace(config.spec.numerics, running_variance="biased")  # Keras's own
    stock = dataclasses.replace(config, spec=config.spec.replace(numerics=numerics))
    network = edition.build(stock)
    edition.load(network, arrays)
    # On every backend saving and loading import TensorFlow, where there is one.
    with suppress_native_output():
        network.save(out)
    out.write_bytes(sealed(_undated(out.read_bytes()), config.to_json()))


def _undated(archive: bytes) -> bytes:
    """Return Keras's archive without the time at which it was written, in entries and metadata."""
    memory = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as given, zipfile.ZipFile(memory, "w") as made:
        for name in sorted(given.namelist()):
            data = given.read(name)
            if name == METADATA:
                data = json.dumps(json.loads(data) | {"date_saved": NEVER}).encode()
            made.writestr(zipfile.ZipInfo(name), data)
    return memory.getvalue()


def sealed(archive: bytes, config: str) -> bytes:
    """Return the archive with the config as another entry, and the seal as its comment."""
    memory = io.BytesIO(archive)
    with zipfile.ZipFile(memory, "a") as opened:
        opened.writestr(zipfile.ZipInfo(CONFIG), config)
        opened.comment = b"0" * seal.DIGITS
    body = memory.getvalue()[: -seal.DIGITS]
    return body + seal.digest(body).encode()


def reload(out: Path, threads: int | None = None) -> Engine:
    """Return the engine of a file of this package in Keras; import foreign files instead."""
    seal.check(out.read_bytes(), str(out))
    with suppress_native_output():
        backend = choose()
    _limit_threads(backend, threads)
    import keras

    try:
        with suppress_native_output():
            model = keras.saving.load_model(out, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise cannot_run(str(out), "Keras", first_line(error)) from None
    return KerasModel(model, str(out))


class KerasModel(Engine):
    """Engine of a model that Keras runs."""

    def __init__(self, model: Any, where: str) -> None:
        super().__init__(where)
        self.model = model
        _, height, width, channels = model.input_shape
        self.shape = (channels, height, width)

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Return one output for a batch of the graph's size."""
        with errors_only("tensorflow"):  # each model is traced, as it has to be
            found = self.model.predict_on_batch(x.transpose(0, 2, 3, 1))
        return np.asarray(found, np.float32)


def _limit_threads(backend: str, threads: int | None) -> None:
    if threads is None:
        return
    if backend == "tensorflow":
        with tensorflow() as tf:
            limit_threads(tf, threads)
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
    else:
        raise ArtifactError(
            f"{argument('threads', threads)}: Keras on {backend} has no number of threads"
        )
