"""Networks of the Keras edition back from ``.keras`` files."""

import os
import zipfile
from os import PathLike
from pathlib import Path

import keras

from mobilenetv2.editions.keras.batchnorm import UnbiasedBatchNormalization
from mobilenetv2.editions.keras.weights import dump
from mobilenetv2.errors import WeightsError
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

OWN = {"UnbiasedBatchNormalization": UnbiasedBatchNormalization}


def read(path: str | PathLike[str], config: ModelConfig | NetworkSpec | None = None) -> keras.Model:
    """See :func:`mobilenetv2.editions.keras.read`."""
    where = os.fspath(path)
    if not Path(where).is_file():
        raise WeightsError(f"{where}: no such file")
    try:
        network = keras.saving.load_model(where, custom_objects=OWN, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{where}: Keras cannot read it ({reason})") from None
    if config is not None:
        network.config = config if isinstance(config, ModelConfig) else ModelConfig.default(config)
        if not _fits(network):
            raise WeightsError(f"{where}: not the network of the config that was given")
    return network


def _fits(network: keras.Model) -> bool:
    """Whether the model's variables are those of its config, the classifier perhaps left out."""
    try:
        found = dump(network)
    except (KeyError, AttributeError):  # no such layer, or one without a bias
        return False
    shapes = parameter_shapes(network.config.spec)
    same = all(array.shape == shapes[name] for name, array in found.items())
    return same and len(found) == len(network.weights)
