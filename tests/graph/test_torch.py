"""The folded PyTorch network against the plain reference, and what converters are given."""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from graph_forms import graph_of
from torch import nn

from mobilenetv2.editions import numpy as plain
from mobilenetv2.graph.torch import GraphModule, module_name
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": NetworkSpec(size=(48, 64), **TINY),
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "same, odd columns": NetworkSpec(size=(48, 65), numerics=Numerics("same", 1e-3), **TINY),
    "grey": NetworkSpec(size=(40, 33), input_channels=1, **TINY),
    "relu6 projections": NetworkSpec(size=(40, 33), projection="relu6", **TINY),
    "no shortcut": NetworkSpec(size=(40, 33), shortcut="none", **TINY),
    "article": published("article-torch", size=64, **TINY),
    "small": published("small", **TINY),
}


def made(
    spec: NetworkSpec, pictures: bool = False, dtype: torch.dtype = torch.float32
) -> GraphModule:
    graph = graph_of(spec)
    return GraphModule(graph.with_normalisation() if pictures else graph, dtype)


def expected(spec: NetworkSpec, x: Any) -> Any:
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    return network(x)


@pytest.mark.parametrize("name", SPECS)
def test_logits_are_those_of_the_plain_reference(name: str) -> None:
    spec = SPECS[name]
    x = np.random.default_rng(0).normal(size=(3, spec.input_channels, *spec.size))
    wanted = expected(spec, x.astype(np.float32))
    found = made(spec)(torch.tensor(x, dtype=torch.float32)).numpy()
    assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())
    assert wanted.std() > 0.3


@pytest.mark.parametrize("name", ["same, odd", "grey"])
def test_with_normalisation_inside_the_numbers_are_bit_for_bit_those_of_images(name: str) -> None:
    spec = SPECS[name]
    shape = (2, *spec.size, spec.input_channels)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    x = engine_input(pictures, ModelConfig.default(spec).preprocessing)
    seen: list[torch.Tensor] = []
    network = made(spec, pictures=True)
    first = next(module for name, module in network.named_modules() if name.startswith("stem"))
    first.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    inside = network(torch.from_numpy(pictures))
    assert torch.equal(seen[0], torch.from_numpy(x))
    # The memory's order differs, and with it that of a convolution's sums.
    torch.testing.assert_close(inside, made(spec)(torch.from_numpy(x)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-2), (torch.bfloat16, 1e-1)])
def test_half_precision_takes_and_gives_float32(dtype: torch.dtype, tolerance: float) -> None:
    spec = SPECS["same, odd"]
    shape = (2, *spec.size, 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    wanted = expected(spec, engine_input(pictures, ModelConfig.default(spec).preprocessing))
    network = made(spec, pictures=True, dtype=dtype)
    found = network(torch.from_numpy(pictures))
    assert found.dtype == torch.float32 and network.mean.dtype == torch.float32
    assert {parameter.dtype for parameter in network.parameters()} == {dtype}
    difference = np.abs(found.numpy() - wanted).max()
    assert 1e-6 < difference <= tolerance * max(1.0, np.abs(wanted).max())


def test_the_modules_are_what_people_expect() -> None:
    network = made(NetworkSpec(classes=5, size=(64, 64)))
    kinds = Counter(type(module) for module in network.modules())
    assert kinds == {
        GraphModule: 1, nn.Conv2d: 52, nn.ReLU6: 35, nn.AdaptiveAvgPool2d: 1, nn.Flatten: 1,
        nn.Linear: 1,
    }  # fmt: skip
    same = made(NetworkSpec(classes=5, size=(64, 64), numerics=Numerics("same", 1e-3)))
    assert sum(isinstance(module, nn.ZeroPad2d) for module in same.modules()) == 5


def test_no_module_is_named_by_digits_alone() -> None:
    names = [name for name, _ in made(SPECS["article"]).named_modules() if name]
    assert "block3_expand" in names and module_name("blocks.3.expand") == "block3_expand"
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
