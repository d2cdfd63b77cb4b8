"""The JAX edition, in Flax NNX."""

import jax

from mobilenetv2.editions.edition import Dtype, check_options
from mobilenetv2.editions.jax.network import MobileNetV2 as MobileNetV2
from mobilenetv2.editions.jax.network import dump as dump
from mobilenetv2.editions.jax.network import intermediates as intermediates
from mobilenetv2.editions.jax.network import load as load
from mobilenetv2.editions.jax.network import predictor as predictor
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.model.initialisation import Initialisation
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig


def build(
    config: ModelConfig | NetworkSpec,
    initialisation: Initialisation = "torchvision",
    seed: int | None = None,
    dtype: Dtype = "float32",
) -> MobileNetV2:
    """See :meth:`mobilenetv2.editions.edition.Edition.build`.

    Raises:
        MobileNetV2Error: float64 while JAX has it switched off.
    """
    dtype = check_options(dtype, seed)
    if dtype == "float64" and not jax.config.jax_enable_x64:
        raise MobileNetV2Error(
            "JAX computes in float32 here; for float64 set JAX_ENABLE_X64=1 before it is imported"
        )
    return MobileNetV2(config, initialisation, seed, dtype)
