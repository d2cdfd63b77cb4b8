"""Study `memory`: blocks in slices against whole ones, and memory against its formula."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.editions import numpy as edition
from mobilenetv2.model.folding import fold
from mobilenetv2.spec.blocks import Block, resolve
from mobilenetv2.spec.count import peak_memory
from mobilenetv2.spec.network import NetworkSpec, Numerics, StageSpec
from mobilenetv2.studies import memory
from mobilenetv2.studies.memory import ALL, ENGINES, SPLITS, STUDY, held, run_in_slices
from mobilenetv2.studies.study import Case, Factor, Options, Row, Table

STAGES = (
    StageSpec(1, 16, 1, 1), StageSpec(6, 24, 2, 2), StageSpec(3, 24, 1, 1), StageSpec(5, 32, 1, 2),
)  # fmt: skip
"""No expansion; stride 2 and 1; a shortcut."""


def blocks(spec: NetworkSpec) -> list[tuple[Block, memory.Layers, np.ndarray, np.ndarray]]:
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
            block, memory.layers_of(spec, folded, block),
            tensors[f"blocks.{block.index - 1}" if block.index else "stem"][0],
            tensors[f"blocks.{block.index}"][0],
        )
        for block in resolve(spec).blocks
    ]  # fmt: skip


SPECS = [
    NetworkSpec(size=(48, 40), stages=STAGES),
    NetworkSpec(size=(45, 40), stages=STAGES, numerics=Numerics("same", activation="relu")),
    NetworkSpec(size=48, stages=STAGES, expand="always", shortcut="none"),
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
            found = memory.torch_runner(layers, split)(x)
            assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


def test_slices_cover_every_channel_once_and_are_nearly_equal() -> None:
    for channels, split in ((96, 5), (144, 7), (6, 10), (33, ALL)):
        parts = memory.slices(channels, split)
        covered = [index for part in parts for index in range(part.start, part.stop)]
        assert covered == list(range(channels))
        lengths = {part.stop - part.start for part in parts}
        assert max(lengths) - min(lengths) <= 1
    assert len(memory.slices(96, 5)) == 5
    assert len(memory.slices(33, ALL)) == 33


def test_the_formula_is_the_one_of_describe() -> None:
    for spec in (NetworkSpec(), NetworkSpec(width=0.35, size=96)):
        for split in (1, 2, 5, 1000):
            computed = max(held(block, split).bytes for block in resolve(spec).blocks)
            assert computed == peak_memory(spec, 4, split)


def test_the_measured_memory_is_the_computed_one() -> None:
    spec = NetworkSpec(size=96, stages=(StageSpec(1, 16, 1, 1), StageSpec(6, 24, 2, 2)))
    spent = 100_000  # for NumPy's buffers and the scratch arrays
    for block, layers, x, _ in blocks(spec):
        for split in (1, 2, 6):
            needed = held(block, split).bytes
            measured = memory.measured_bytes(layers, x, split)
            assert needed <= measured < needed + spent
    # The wide tensor alone, 96 x 48 x 48 in float32, is more than everything in six slices.
    assert memory.measured_bytes(*_second(spec), 6) < 4 * 96 * 48 * 48


def _second(spec: NetworkSpec) -> tuple[memory.Layers, np.ndarray]:
    _, layers, x, _ = blocks(spec)[1]
    return layers, x


def planted(slowdown: dict[tuple[str, Factor], tuple[float, ...]], slack: float = 0.0) -> Table:
    """The table of a network whose times are known and whose memory is the formula's."""
    rows = []
    for factors in STUDY.grid(Options()):
        engine, split = str(factors["engine"]), factors["split"]
        usual = (1.1, 1.12, 1.08) if split != ALL else (9.0, 9.5, 8.5)
        for seed, ratio in enumerate(slowdown.get((engine, split), usual)):
            case = Case(factors, seed)
            rows.append(Row(case, "slowdown", ratio))
            for block in resolve(NetworkSpec()).blocks if engine == "numpy" else ():
                name, needed = f"block {block.index}", held(block, split)
                rows += [
                    Row(case, f"{name} ends", 4 * needed.ends),
                    Row(case, f"{name} slice", 4 * needed.slice),
                    Row(case, f"{name} measured", needed.bytes * (1 + slack)),
                ]
    return Table(rows)


def test_the_papers_network_by_the_formula() -> None:
    reduced, dominated, cheap, dear, formula = STUDY.judge(planted({}))
    assert [one.verdict for one in (reduced, dominated, cheap, dear, formula)] == ["held"] * 5
    # Block 1 has 16 x 112 x 112 in, 24 x 56 x 56 out, 96 channels between: 1,781,248 values whole.
    # In five slices block 0 has the most: (32 + 16) x 112 x 112 and 7 of 32 channels.
    assert "7,125 KB whole (block 1)" in reduced.found
    assert "2,760 KB in 5 slices (block 0)" in reduced.found
    assert reduced.estimate == pytest.approx(1 - 2760 / 7125, abs=1e-3)
    assert dominated.estimate == pytest.approx(48 / 49)
    assert formula.estimate == 0
    assert cheap.n == dear.n == 3


def test_what_does_not_hold_is_told() -> None:
    dear_split = planted({("torch", 5): (1.9, 2.0, 2.1)}, slack=0.2)
    _, _, cheap, _, formula = STUDY.judge(dear_split)
    assert cheap.verdict == "did not hold"
    assert "torch in 5" in cheap.found
    assert formula.verdict == "did not hold"
    unclear = planted({("numpy", 2): (0.6, 1.4, 1.8), ("torch", ALL): (0.7, 1.0, 1.2)})
    _, _, cheap, dear, _ = STUDY.judge(unclear)
    assert cheap.verdict == dear.verdict == "cannot be told"
    faster = planted({("numpy", ALL): (0.8, 0.81, 0.82)})
    assert STUDY.judge(faster)[3].verdict == "did not hold"


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    STUDY.draw(planted({}), tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > 1000


@pytest.mark.slow
def test_a_quick_case_has_every_measure() -> None:
    options = Options(quick=True)
    first = STUDY.measure(Case({"engine": "numpy", "split": 5}), options)
    count = len(resolve(memory.spec_of(options)).blocks)
    assert len(first.values) == 2 * count
    assert first.timed["difference"] < 1e-5
    assert first.timed["slowdown"] > 0
    for index in range(count):
        computed = first.values[f"block {index} ends"] + first.values[f"block {index} slice"]
        assert computed <= first.timed[f"block {index} measured"] < computed + 200_000
    second = STUDY.measure(Case({"engine": "numpy", "split": 5}, 1), options)
    assert first.values == second.values


def test_the_grid_has_every_library_and_split() -> None:
    found = [tuple(factors.values()) for factors in STUDY.grid(Options())]
    assert found == [(engine, split) for engine in ENGINES for split in SPLITS]
    assert len(STUDY.grid(Options(quick=True))) < len(found)
