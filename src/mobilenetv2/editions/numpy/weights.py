"""Canonical weights into the NumPy edition and out of it: it keeps them as they are."""

import numpy as np

from mobilenetv2.editions.edition import Dtype
from mobilenetv2.editions.numpy.network import MobileNetV2
from mobilenetv2.model.arrays import Arrays, check


def load(network: MobileNetV2, arrays: Arrays, where: str = "weights") -> None:
    """Copy canonical arrays into the network, in its dtype.

    Raises:
        WeightsError: the arrays are not exactly the network's, with the whole difference.
    """
    check(network.spec, arrays, where)
    network.arrays = {name: np.array(array, network.dtype) for name, array in arrays.items()}


def dump(network: MobileNetV2, dtype: Dtype = "float32") -> Arrays:
    """The network's weights as canonical arrays: copies."""
    return {name: array.astype(dtype) for name, array in network.arrays.items()}
