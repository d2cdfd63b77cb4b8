"""What JAX asks of its edition: jit, grad, devices; test_contract has what all editions keep."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mobilenetv2.editions import jax as edition
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.spec.names import is_statistic
from mobilenetv2.spec.network import NetworkSpec, Numerics

Case = Callable[[NetworkSpec], Any]
SMALL = NetworkSpec(width=0.1, size=(40, 33), classes=5, head_channels=24, dropout=0.0)

SHALLOW = SMALL.replace(stages=SMALL.stages[:2])


@pytest.fixture
def double() -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def built(spec: NetworkSpec, arrays: Any, **options: Any) -> Any:
    network = edition.build(spec, **options)
    edition.load(network, arrays)
    return network


def test_a_second_predictor_is_not_compiled_anew(
    reference: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, _, _ = reference(SHALLOW)
    network = built(SHALLOW, arrays)
    pictures = np.zeros((1, 40, 33, 3), np.uint8)
    traced, features = [], edition.MobileNetV2.pooled_features

    def counted(network: Any, x: Any) -> Any:
        traced.append(1)
        return features(network, x)

    monkeypatch.setattr(edition.MobileNetV2, "pooled_features", counted)
    first, second = (edition.predictor(network, outputs="features")(pictures) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(traced) == 1


@pytest.mark.parametrize("rule", ["unbiased", "biased"])
def test_the_running_statistics_move_as_the_numerics_say(rule: Any, double: None) -> None:
    spec = SHALLOW.replace(numerics=Numerics(momentum=0.25, running_variance=rule))
    network = edition.build(spec, seed=1, dtype="float64")
    before = edition.dump(network)
    x = jnp.asarray(np.random.default_rng(2).normal(size=(4, 40, 33, 3)))

    @nnx.jit
    def train(network: Any, x: Any) -> Any:
        return network(x)

    network.train()
    train(network, x)
    batch = np.asarray(
        jax.lax.conv_general_dilated(
            x, network.stem.kernel[...], (2, 2), [(1, 1)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    )  # fmt: skip
    moved = np.asarray(network.stem.bn.mean[...]), np.asarray(network.stem.bn.variance[...])
    mean, variance = batch.mean((0, 1, 2)), batch.var((0, 1, 2), ddof=rule == "unbiased")
    np.testing.assert_allclose(moved[0], 0.25 * mean, atol=1e-12)
    np.testing.assert_allclose(moved[1], 0.75 + 0.25 * variance, rtol=1e-12)
    network.eval()
    train(network, x)
    np.testing.assert_array_equal(moved[0], network.stem.bn.mean[...])
    after = edition.dump(network)
    assert all(np.array_equal(after[n], a) == (not is_statistic(n)) for n, a in before.items())


DEVICES = """
import jax, jax.numpy as jnp, numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from mobilenetv2.editions import jax as edition
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec
assert len(jax.devices()) == 4, jax.devices()
spec = NetworkSpec(
    width=0.1, size=(40, 33), classes=5, head_channels=24, dropout=0.0, stages=PAPER_STAGES[:2]
)
x = np.random.default_rng(0).normal(size=(8, 40, 33, 3))
labels = np.arange(8) % 5

@nnx.jit
def step(network, x, labels):
    def loss(network):
        scores = jax.nn.log_softmax(network(x))
        return -jnp.take_along_axis(scores, labels[:, None], 1).mean()
    value, gradients = nnx.value_and_grad(loss)(network)
    nnx.update(network, jax.tree.map(
        lambda p, g: p - 0.1 * g, nnx.state(network, nnx.Param), gradients))
    return value

results = []
for count in (1, 4):
    network = edition.build(spec, seed=1, dtype="float64")
    network.train()
    mesh = Mesh(np.array(jax.devices()[:count]), ("batch",))
    graph, state = nnx.split(network)
    nnx.update(network, jax.device_put(state, NamedSharding(mesh, P())))
    split = [jax.device_put(a, NamedSharding(mesh, P("batch"))) for a in (x, labels)]
    assert len(split[0].sharding.device_set) == count
    losses = [float(step(network, *split)) for _ in range(3)]
    assert len(network.stem.kernel[...].sharding.device_set) == count
    results.append((losses, edition.dump(network, "float64")))
(one, alone), (four, together) = results
assert one[2] < one[0]
np.testing.assert_allclose(four, one, rtol=1e-9)
for name in alone:
    np.testing.assert_allclose(together[name], alone[name], rtol=1e-9, atol=1e-12, err_msg=name)
print("equal")
"""


@pytest.mark.slow
def test_training_on_four_devices_gives_what_one_gives() -> None:
    """Data-parallel over a mesh: the batch is split, BatchNorm sees all of it."""
    run = subprocess.run(
        [sys.executable, "-c", DEVICES], capture_output=True, text=True, check=False,
        env={**os.environ, "JAX_ENABLE_X64": "1",
             "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "equal"


def test_float64_is_refused_where_jax_has_it_off() -> None:
    with pytest.raises(MobileNetV2Error, match="set JAX_ENABLE_X64=1 before"):
        edition.build(SMALL, dtype="float64")
