"""The PyTorch edition."""

from mobilenetv2.editions.edition import Dtype, check_options
from mobilenetv2.editions.torch.network import MobileNetV2 as MobileNetV2
from mobilenetv2.editions.torch.network import dump as dump
from mobilenetv2.editions.torch.network import intermediates as intermediates
from mobilenetv2.editions.torch.network import load as load
from mobilenetv2.editions.torch.network import predictor as predictor
from mobilenetv2.model.initialisation import Initialisation
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig


def build(
    config: ModelConfig | NetworkSpec,
    initialisation: Initialisation = "torchvision",
    seed: int | None = None,
    dtype: Dtype = "float32",
) -> MobileNetV2:
    """See :meth:`mobilenetv2.editions.edition.Edition.build`."""
    dtype = check_options(dtype, seed)
    network = MobileNetV2(config, initialisation, seed)
    return network.double() if dtype == "float64" else network
