"""The JAX edition as a backbone: compiled, and trained through."""

import jax
import jax.numpy as jnp
from flax import nnx

from mobilenetv2.editions import jax as edition
from mobilenetv2.spec.network import NetworkSpec, StageSpec

SPEC = NetworkSpec(width=0.25, size=(32, 32), head_channels=24, stages=(StageSpec(1, 16, 1, 2),))


def test_a_backbone_is_compiled_and_has_gradients() -> None:
    network = edition.build(SPEC, seed=0)
    network.eval()
    backbone = edition.features_only(network)
    x = jnp.ones((1, 32, 32, 3))

    @nnx.jit
    def slopes(backbone: edition.MobileNetV2, x: jax.Array) -> nnx.State:
        return nnx.grad(lambda net: sum(found.sum() for found in net(x)))(backbone)

    found = jax.tree.leaves(slopes(backbone, x))
    assert found and all(bool(jnp.isfinite(leaf).all()) for leaf in found)
    assert [tuple(found.shape) for found in backbone(x)] == [(1, 16, 16, 8), (1, 8, 8, 8)]
