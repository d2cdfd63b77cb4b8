"""The variants that every edition must have, and the plain reference's numbers for them."""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from short import short

from mobilenetv2.editions import numpy as plain
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec, Numerics
from mobilenetv2.spec.published import published

TINY: dict[str, Any] = {"width": 0.1, "size": (40, 33), "classes": 5, "head_channels": 24}
SPECS = {
    "defaults": NetworkSpec(**TINY),
    "same": NetworkSpec(numerics=Numerics("same", 1e-3, running_variance="biased"), **TINY),
    # Few blocks: unbounded, a random network of 17 grows until float32 is no measure.
    "relu": NetworkSpec(stages=PAPER_STAGES[:3], numerics=Numerics(activation="relu"), **TINY),
    "no shortcut": short(NetworkSpec(shortcut="none", **TINY)),
    # More features: of 24, most of which are small, the logits would hardly differ.
    "relu projections": short(NetworkSpec(projection="relu", **{**TINY, "head_channels": 64})),
    "grey": short(NetworkSpec(input_channels=1, **TINY)),
    "article-torch": short(published("article-torch", **TINY)),
    "article-keras": short(published("article-keras", **TINY)),
    "small": short(published("small", size=32, width=0.2, classes=5)),
}


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> NetworkSpec:
    return SPECS[request.param]


@functools.cache
def case(spec: NetworkSpec) -> tuple[Arrays, NDArray, dict[str, NDArray]]:
    arrays = random_arrays(spec)
    shape = (2, *spec.size, spec.input_channels)
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    network = plain.MobileNetV2(spec, dtype=np.float64)
    plain.load(network, arrays)
    return arrays, x, plain.intermediates(network, x)


@pytest.fixture(scope="session")
def reference() -> Callable[[NetworkSpec], tuple[Arrays, NDArray, dict[str, NDArray]]]:
    """Spec -> (random weights, pictures (2, height, width, channels), intermediates, float64)."""
    return case


def pytest_ignore_collect(collection_path: Any) -> bool | None:
    """Without its framework an edition's tests cannot even be imported; the header says so."""
    framework = {
        "keras": "keras", "jax": "flax", "test_keras.py": "keras", "test_keras_backend.py": "keras",
    }.get(collection_path.name)  # fmt: skip
    return True if framework and not importlib.util.find_spec(framework) else None


def pytest_report_header() -> list[str]:
    missing = [name for name in ("keras", "flax") if not importlib.util.find_spec(name)]
    return [f"left out, not installed: the tests of {name}'s edition" for name in missing]
