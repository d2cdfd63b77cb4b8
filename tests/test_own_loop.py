"""A stranger's training loop learns on imported weights: ``benchmarks/own_loop.py`` in small."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import own_loop
import pytest

from mobilenetv2.checkpoints.importer import import_network
from mobilenetv2.model import store

FRAMEWORKS = {"torch": "torch", "keras": "tensorflow", "jax": "optax"}
PUBLISHED = "tf2_mobilenet_v2_1.0_224_ptq.tflite"


@pytest.fixture(scope="session")
def imported(
    public_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Google's LiteRT weights, imported as they are by default."""
    folder = tmp_path_factory.mktemp("imported") / "tf2"
    store.save(folder, *import_network(public_folder("published") / PUBLISHED))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_ten_steps_on_published_weights_that_came_folded(
    framework: str, imported: Path, public_folder: Callable[[str], Path]
) -> None:
    """benchmarks/own-loop.md has the figures of several seeds."""
    public_folder("clothing")  # skips where it is not
    if not importlib.util.find_spec(FRAMEWORKS[framework]):
        pytest.skip(f"{framework} is not installed (extra: {framework})")
    [(before, after)] = own_loop.measure(framework, imported, [1])
    assert after >= 0.75 and after > before + 0.1


def test_the_steps_take_every_photo_before_any_comes_twice() -> None:
    first, second = own_loop.chunks(0), own_loop.chunks(0)
    assert len(first) == own_loop.STEPS
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    epoch = sorted(index for chunk in first[:3] for index in chunk.tolist())
    assert epoch == [*range(2 * own_loop.PHOTOS)]
