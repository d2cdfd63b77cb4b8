"""What the comparisons with other projects' own models share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions import torch as edition
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import NetworkSpec


@pytest.fixture(scope="session")
def ours() -> Callable[[NetworkSpec, Arrays, NDArray], list[dict[str, NDArray]]]:
    """(spec, weights, pictures (batch, height, width, channels)) -> intermediates of two editions.

    PyTorch's in float32 and the plain reference's in float64.
    """

    def run(spec: NetworkSpec, arrays: Arrays, x: NDArray) -> list[dict[str, NDArray]]:
        network, reference = edition.build(spec), plain.build(spec, dtype=np.float64)
        edition.load(network, arrays)
        plain.load(reference, arrays)
        return [edition.intermediates(network, x), plain.intermediates(reference, x)]

    return run


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Within the project's tolerance, and on logits that vary enough to be worth comparing."""

    def check(found: NDArray, expected: NDArray, logits: bool = True) -> None:
        assert found.shape == expected.shape
        if logits:
            assert 0.5 < expected.std() < 20
        scale = max(1.0, float(np.abs(expected).max()))
        assert np.abs(found - expected).max() <= 1e-4 * scale

    return check


@pytest.fixture(scope="session")
def pictures() -> Callable[[tuple[int, int]], Any]:
    """Noise of a size: float32 (2, height, width, 3)."""
    return lambda size: np.random.default_rng(5).normal(size=(2, *size, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def randomise() -> Callable[[Any], None]:
    """Fills a PyTorch module with numbers in its own order, far from the identity.

    Kernels keep the signal's scale; of BatchNorm the scales and variances are positive.
    """
    import torch

    def fill(model: Any) -> None:
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    for tensor in (module.weight, module.running_var):
                        assert tensor is not None
                        tensor.uniform_(0.5, 1.5, generator=generator)
                    for tensor in (module.bias, module.running_mean):
                        assert tensor is not None
                        tensor.normal_(0, 0.3, generator=generator)
                elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                    fan_in = module.weight[0].numel()
                    module.weight.normal_(0, (1.4 / fan_in) ** 0.5, generator=generator)
                    if module.bias is not None:
                        module.bias.normal_(0, 0.3, generator=generator)

    return fill
