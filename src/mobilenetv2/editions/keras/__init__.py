"""The Keras 3 edition, on TensorFlow, JAX or PyTorch.

Keras has one backend in a process, chosen before it is imported. So nothing here imports Keras
before :func:`build` knows which one is wanted.
"""

from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.editions.keras_backend import Backend, choose
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import Initialisation
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

if TYPE_CHECKING:
    import keras


def build(
    config: ModelConfig | NetworkSpec,
    initialisation: Initialisation = "torchvision",
    seed: int | None = None,
    dtype: Dtype = "float32",
    backend: Backend | None = None,
    **options: Any,
) -> "keras.Model":
    """See :meth:`mobilenetv2.editions.edition.Edition.build`.

    Args:
        backend: 'tensorflow', 'jax' or 'torch'; None takes ``KERAS_BACKEND``, Keras's own
            configuration, or what is installed, in this order.
        options: of :func:`mobilenetv2.editions.keras.network.MobileNetV2`.

    Raises:
        MissingExtra: Keras or the backend is not installed.
        MobileNetV2Error: Keras already runs on another backend in this process.
    """
    choose(backend)
    from mobilenetv2.editions.keras.network import MobileNetV2

    return MobileNetV2(config, initialisation, seed, dtype, **options)


def read(
    path: str | PathLike[str],
    config: ModelConfig | NetworkSpec | None = None,
    backend: Backend | None = None,
) -> "keras.Model":
    """A ``.keras`` file of this edition, in any process: Keras alone lacks one of its layers.

    Only of this edition: read a stranger's file with ``mobilenetv2 weights import``.

    Args:
        path: what ``network.save("network.keras")`` wrote.
        config: of the network that was saved, for its ``.config``: Keras keeps no such thing.
            Without it the model answers and trains, but cannot be saved as a model folder.
        backend: as in :func:`build`.

    Raises:
        WeightsError: no such file, no Keras model, or one that is not the config's network.
    """
    choose(backend)
    from mobilenetv2.editions.keras.inference import read

    return read(path, config)


def load(network: "keras.Model", arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into the network, in place; its dtype stays.

    Raises:
        WeightsError: the arrays are not exactly the network's, with the whole difference.
    """
    from mobilenetv2.editions.keras.weights import load

    load(network, arrays, where)


def dump(network: "keras.Model", dtype: Dtype = "float32") -> Arrays:
    """The network's weights as canonical arrays: copies."""
    from mobilenetv2.editions.keras.weights import dump

    return dump(network, dtype)


def predictor(
    network: "keras.Model",
    device: str = "cpu",
    outputs: Literal["logits", "features"] = "logits",
) -> Callable[[NDArray], NDArray]:
    """A function from uint8 (batch, height, width, channels) to float32 (batch, outputs).

    Raises:
        MobileNetV2Error: another device than the one that the backend has chosen.
    """
    from mobilenetv2.editions.keras.inference import predictor

    return predictor(network, device, outputs)


def intermediates(network: "keras.Model", x: NDArray) -> dict[str, NDArray]:
    """Every tensor of :func:`spec.names.intermediate_names`, in evaluation mode, in order.

    Args:
        x: float (batch, height, width, channels), normalised.
    """
    from mobilenetv2.editions.keras.inference import intermediates

    return intermediates(network, x)
