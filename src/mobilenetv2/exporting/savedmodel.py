"""Writer of TensorFlow SavedModel: the network in TensorFlow's operations, BatchNorm folded.

It does not use the Keras edition, which keeps BatchNorm, needs Keras on TensorFlow in this process,
and writes what it traces from the Python code of layers.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ArtifactError, argument, require
from mobilenetv2.exporting.direct import graph_of
from mobilenetv2.exporting.job import Options
from mobilenetv2.graph.tensorflow import GraphFunction
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.process import errors_only, suppress_native_output
from mobilenetv2.runtime.engines.engine import Engine, Output, cannot_run
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import first_line

CONFIG = Path("assets.extra") / "mobilenetv2.json"
"""Path of the config in the folder, where TensorFlow allows files of other programs."""
SIGNATURE, INPUT, OUTPUT = "serving_default", "input", "logits"
QUIET = "TF_CPP_MIN_LOG_LEVEL"


def write_savedmodel(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write a folder with one signature, 'serving_default', from ``input`` to ``logits``.

    ``input`` is float32 (batch, height, width, channels), normalised, as usual in TensorFlow; with
    ``options.pictures`` it is uint8. The config is in 'assets.extra/mobilenetv2.json'.
    """
    with tensorflow() as tf:
        network = GraphFunction(tf, graph_of(config, arrays, options))
        module = tf.Module()
        module.weights = network.variables  # what is written is what hangs on the module
        shape = (options.batch, *config.spec.size, config.spec.input_channels)
        kind = tf.uint8 if options.pictures else tf.float32
        module.serve = tf.function(
            lambda x: {OUTPUT: network(x)}, input_signature=[tf.TensorSpec(shape, kind, INPUT)]
        )
        tf.saved_model.save(module, str(out), signatures={SIGNATURE: module.serve})
    (out / CONFIG).parent.mkdir()
    (out / CONFIG).write_text(config.to_json(), "utf-8")


def reload(out: Path, threads: int | None = None) -> Engine:
    """Return the engine of a file of this package in TensorFlow; foreign files may run any code."""
    with tensorflow() as tf:
        limit_threads(tf, threads)
        try:
            loaded = tf.saved_model.load(str(out))
            signature = loaded.signatures[SIGNATURE]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise cannot_run(str(out), "TensorFlow", first_line(error)) from None
    return SavedModel(tf, loaded, signature, str(out))


class SavedModel(Engine):
    """Engine of a program that TensorFlow runs."""

    def __init__(self, tf: Any, loaded: Any, signature: Any, where: str) -> None:
        super().__init__(where)
        self.tf, self.signature = tf, signature
        self.loaded = loaded  # its variables live as long as this
        (self.given,) = signature.structured_input_signature[1].values()
        self.takes_pictures = bool(self.given.dtype == tf.uint8)
        self.batch = self.given.shape[0]

    def compute(self, x: NDArray, output: Output) -> NDArray:
        """Return one output for a batch of the graph's size."""
        x = x if self.takes_pictures else x.transpose(0, 2, 3, 1)
        if not self.given.shape.is_compatible_with(x.shape):
            raise ArtifactError(
                f"{self.where}: a SavedModel for {self.given.shape} cannot take {x.shape}"
            )
        found = self.signature(**{INPUT: self.tf.constant(x, self.given.dtype)})
        return np.asarray(found[OUTPUT].numpy(), np.float32)


@contextmanager
def tensorflow() -> Iterator[Any]:
    """Yield TensorFlow, which in the block prints errors only."""
    os.environ.setdefault(QUIET, "3")
    with suppress_native_output():  # its native part greets all the same
        tf: Any = require("tensorflow")
    with errors_only("tensorflow"):  # no temporary places, and no advice on tracing
        yield tf


def limit_threads(tf: Any, threads: int | None) -> None:
    """Limit TensorFlow's threads per operator, for the whole process.

    Raises:
        ArtifactError: TensorFlow has already computed with another number.
    """
    if threads is None:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        raise ArtifactError(
            f"{argument('threads', threads)}: TensorFlow runs in this process with another number "
            "already; start a new one"
        ) from None
