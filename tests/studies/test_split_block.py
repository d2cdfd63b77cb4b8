"""A block in slices, against the NumPy edition's, and its memory against the formula."""

import numpy as np
import pytest

from mobilenetv2.editions import numpy as edition
from mobilenetv2.model.folding import fold
from mobilenetv2.spec.blocks import Block, resolve
from mobilenetv2.spec.count import split_memory
from mobilenetv2.spec.network import NetworkSpec, Numerics, StageSpec
from mobilenetv2.studies import split_block
from mobilenetv2.studies.split_block import ALL, run_in_slices
from mobilenetv2.studies.study import Factor

STAGES = (
    StageSpec(1, 16, 1, 1), StageSpec(6, 24, 2, 2), StageSpec(3, 24, 1, 1), StageSpec(5, 32, 1, 2),
)  # fmt: skip
"""No expansion; stride 2 and 1; a shortcut."""


def blocks(spec: NetworkSpec) -> list[tuple[Block, split_block.Layers, np.ndarray, np.ndarray]]:
    """Each block of a network with random BatchNorm, with its input and output in the edition."""
    network, generator = edition.build(spec, seed=3), np.random.default_rng(4)
    for name, array in network.arrays.items():
        if ".bn." in name:
            low = 0.5 if name.endswith(("scale", "variance")) else -1
            network.arrays[name] = generator.uniform(low, 1.5, array.shape).astype(np.float32)
    image = generator.standard_normal((1, 3, *spec.size)).astype(np.float32)
    tensors, folded = network.intermediates(image), fold(spec, network.arrays)
    return [
        (
            block, split_block.layers_of(spec, folded, block),
            tensors[f"blocks.{block.index - 1}" if block.index else "stem"][0],
            tensors[f"blocks.{block.index}"][0],
        )
        for block in resolve(spec).blocks
    ]  # fmt: skip


SPECS = [
    NetworkSpec(size=(48, 40), stages=STAGES),
    NetworkSpec(size=(45, 40), stages=STAGES, numerics=Numerics("same", activation="relu")),
    NetworkSpec(size=(48, 48), stages=STAGES, expand="always", shortcut="none"),
]


@pytest.mark.parametrize("spec", SPECS, ids=["symmetric", "same, odd, relu", "always"])
@pytest.mark.parametrize("split", [1, 2, 5, 7, 10_000, ALL])
def test_a_block_in_slices_is_the_editions_block(spec: NetworkSpec, split: Factor) -> None:
    for block, layers, x, expected in blocks(spec):
        before = x.copy()
        found = run_in_slices(layers, x, split)
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max(), block.index
        assert (x == before).all()


@pytest.mark.parametrize("spec", SPECS, ids=["symmetric", "same, odd, relu", "always"])
def test_pytorchs_operators_compute_the_same(spec: NetworkSpec) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed (extra: torch)")
    for _, layers, x, expected in blocks(spec):
        for split in (1, 5, ALL):
            found = split_block.torch_runner(layers, split)(x)
            assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


def test_slices_cover_every_channel_once_and_are_nearly_equal() -> None:
    for channels, split in ((96, 5), (144, 7), (6, 10), (33, ALL)):
        parts = split_block.slices(channels, split)
        covered = [index for part in parts for index in range(part.start, part.stop)]
        assert covered == list(range(channels))
        lengths = {part.stop - part.start for part in parts}
        assert max(lengths) - min(lengths) <= 1
    assert len(split_block.slices(96, 5)) == 5
    assert len(split_block.slices(33, ALL)) == split_block.slice_count(33, ALL) == 33


def test_the_largest_slice_is_that_of_the_formula() -> None:
    for block in resolve(NetworkSpec()).blocks:
        for split in (1, 2, 5, 7, block.inner_channels, 10_000):
            parts = split_block.slices(block.inner_channels, split)
            largest = max(part.stop - part.start for part in parts)
            sizes = [block.depthwise.in_size] if block.expand else []
            values = largest * sum(h * w for h, w in [*sizes, block.depthwise.out_size])
            assert split_memory(block, split).slice == values


def test_the_measured_memory_is_the_computed_one() -> None:
    spec = NetworkSpec(size=(96, 96), stages=(StageSpec(1, 16, 1, 1), StageSpec(6, 24, 2, 2)))
    spent = 100_000  # for NumPy's buffers and the scratch arrays
    for block, layers, x, _ in blocks(spec):
        for split in (1, 2, 6):
            needed = 4 * split_memory(block, split).total
            measured = split_block.measured_bytes(layers, x, split)
            assert needed <= measured < needed + spent
    # The wide tensor alone, 96 x 48 x 48 in float32, is more than everything in six slices.
    assert split_block.measured_bytes(*_second(spec), 6) < 4 * 96 * 48 * 48


def _second(spec: NetworkSpec) -> tuple[split_block.Layers, np.ndarray]:
    _, layers, x, _ = blocks(spec)[1]
    return layers, x
