"""The PyTorch edition: statistics, dropout, memory layouts, compilation; test_contract has more."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from short import short

from mobilenetv2.editions import numpy as reference
from mobilenetv2.editions.torch import MobileNetV2, dump, load
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import PUBLISHED, published

TOLERANCE = 1e-9
"""Relative to the largest value, in float64: rounding, and nothing else."""
TINY = {"width": 0.1, "size": (40, 33), "classes": 5, "head_channels": 24}
SPECS = {
    "defaults": NetworkSpec(**TINY),  # type: ignore[arg-type]
    "same": NetworkSpec(numerics=Numerics("same", 1e-3), **TINY),  # type: ignore[arg-type]
    "relu": NetworkSpec(numerics=Numerics(activation="relu"), **TINY),  # type: ignore[arg-type]
    "no shortcut": NetworkSpec(shortcut="none", **TINY),  # type: ignore[arg-type]
    "grey": NetworkSpec(input_channels=1, **TINY),  # type: ignore[arg-type]
    "article-torch": published("article-torch", **TINY),
    "article-keras": published("article-keras", **TINY),
    "small": published("small", size=32, width=0.2, classes=5),
}


def build(spec: NetworkSpec, seed: int = 0) -> tuple[MobileNetV2, Arrays]:
    network, arrays = MobileNetV2(spec), random_arrays(spec, seed)
    load(network, arrays)
    return network.eval(), arrays


def pictures(spec: NetworkSpec, count: int = 2) -> NDArray:
    shape = (count, spec.input_channels, *spec.size)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def plain(x: NDArray, spec: NetworkSpec, arrays: Arrays) -> dict[str, NDArray]:
    """Every intermediate by name, from the NumPy edition in float64."""
    network = reference.MobileNetV2(spec, dtype=np.float64)
    reference.load(network, arrays)
    return network.intermediates(x)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_parameters_are_the_canonical_ones(name: str) -> None:
    spec = published(name, width=0.35)
    with torch.device("meta"):
        network = MobileNetV2(spec)
    shapes = [tuple(p.shape) for p in network.state_dict().values() if p.ndim]
    assert shapes == list(parameter_shapes(spec).values())


def test_the_running_statistics_move_as_the_owners_convention_says() -> None:
    x = torch.from_numpy(pictures(SPECS["defaults"]))
    for numerics, share in (
        (Numerics(momentum=0.25, momentum_of="new"), 0.25),
        (Numerics(momentum=0.75, momentum_of="old"), 0.25),
        (Numerics("same", 1e-3, 0.997, "old"), 0.003),
    ):
        network, arrays = build(SPECS["defaults"].replace(numerics=numerics))
        network.train()
        batch = network.stem.conv(
            x if numerics.padding == "symmetric" else torch.nn.functional.pad(x, (1, 1, 0, 1))
        ).mean((0, 2, 3))
        network(x)
        expected = (1 - share) * arrays["stem.bn.mean"] + share * batch.detach().numpy()
        np.testing.assert_allclose(dump(network)["stem.bn.mean"], expected, atol=1e-5)


@pytest.mark.parametrize("rule", ["unbiased", "biased"])
def test_the_running_variance_is_corrected_or_not_as_the_numerics_say(rule: Any) -> None:
    spec = SPECS["defaults"].replace(numerics=Numerics(momentum=0.25, running_variance=rule))
    network, arrays = build(spec)
    network.double().train()
    x = torch.from_numpy(pictures(spec)).double()
    batch = network.stem.conv(x).detach().numpy().var((0, 2, 3), ddof=rule == "unbiased")
    plain_output = network.stem(x)
    expected = 0.75 * arrays["stem.bn.variance"].astype(np.float64) + 0.25 * batch
    found = network.stem.bn.running_var
    assert found is not None
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    # The output in training is normalised by the biased variance in both cases.
    other, _ = build(SPECS["defaults"])
    torch.testing.assert_close(plain_output, other.double().train().stem(x))


def test_dropout_is_the_specs_and_only_in_training() -> None:
    spec = SPECS["defaults"].replace(dropout=0.5)
    network, _ = build(spec)
    x = torch.from_numpy(pictures(spec))
    assert torch.equal(network(x), network(x))
    assert network.dropout.p == 0.5
    seen: list[Any] = []
    network.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.dropout.train()  # everything else stays in evaluation mode
    network(x)
    features = network.pooled_features(x)
    kept = seen[0] != 0
    assert 0.2 < kept.float().mean() < 0.8
    torch.testing.assert_close(seen[0][kept], 2 * features[kept])


@pytest.mark.parametrize("name", ["defaults", "same", "article-torch"])
def test_channels_last_gives_the_same_numbers_and_stays(name: str) -> None:
    network, _ = build(SPECS[name])
    network.double()
    x = torch.from_numpy(pictures(SPECS[name])).double()
    with torch.no_grad():
        expected = network.intermediates(x)
        network.place(torch.device("cpu"))
        found = network.intermediates(x.contiguous(memory_format=torch.channels_last))
    for key, value in found.items():
        scale = max(1, expected[key].abs().max().item())
        torch.testing.assert_close(value, expected[key], rtol=0, atol=TOLERANCE * scale)
        if value.ndim == 4:
            assert value.is_contiguous(memory_format=torch.channels_last), key


@pytest.mark.slow  # a trace by PyTorch's compiler takes many seconds
@pytest.mark.parametrize("name", ["same", "defaults", "article-torch"])
def test_it_compiles_without_a_graph_break(name: str) -> None:
    spec = short(SPECS[name])
    network, _ = build(spec)
    x = torch.from_numpy(pictures(spec))
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), network(x), rtol=1e-5, atol=1e-5)
    network.train()
    loss = torch.compile(network, fullgraph=True, backend="aot_eager")(x).square().sum()
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    "name",
    ["same", *(pytest.param(n, marks=pytest.mark.slow) for n in ("defaults", "article-torch"))],
)
def test_it_exports_for_every_batch_size(name: str) -> None:
    spec = short(SPECS[name])
    network, _ = build(spec)
    x = torch.from_numpy(pictures(spec, 3))
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(network, (x[:2],), dynamic_shapes=({0: batch},)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x), network(x), rtol=1e-5, atol=1e-5)


def test_a_new_network_starts_as_its_initialisation_says() -> None:
    spec = SPECS["article-torch"]
    torch.manual_seed(5)
    network = MobileNetV2(spec, "paper")
    torch.manual_seed(5)
    seed = int(torch.randint(2**31, ()))
    expected = initialise(parameter_shapes(spec), "paper", seed)
    found = dump(network)
    assert all(np.array_equal(found[name], array) for name, array in expected.items())
    seeded = dump(MobileNetV2(spec, "paper", seed=seed))
    assert all(np.array_equal(seeded[name], array) for name, array in found.items())


def test_biased_statistics_do_not_disturb_the_gradient() -> None:
    """Autograd keeps the running statistics; moving them in place after it would be an error."""
    found = []
    rules: tuple[Any, ...] = ("unbiased", "biased")
    for rule in rules:
        numerics = Numerics(running_variance=rule)
        network, _ = build(SPECS["defaults"].replace(numerics=numerics, dropout=0.0))
        network.double().train()
        network(torch.from_numpy(pictures(SPECS["defaults"])).double()).square().sum().backward()
        found.append(network.stem.conv.weight.grad)
    assert found[0] is not None
    torch.testing.assert_close(found[0], found[1])


def test_the_networks_dtype_stays_when_weights_are_loaded() -> None:
    spec = SPECS["defaults"]
    network = MobileNetV2(spec).to(torch.bfloat16)
    load(network, random_arrays(spec))
    assert network.stem.conv.weight.dtype == torch.bfloat16
    assert dump(network)["head.conv.weight"].dtype == np.float32
