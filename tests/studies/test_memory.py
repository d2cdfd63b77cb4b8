"""Study `memory`: its findings on planted times, and its cases."""

from pathlib import Path

import pytest
from PIL import Image

from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.count import split_memory
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.studies import memory
from mobilenetv2.studies.memory import ENGINES, SPLITS, STUDY
from mobilenetv2.studies.split_block import ALL, slice_count
from mobilenetv2.studies.study import Case, Factor, Options, Row, Table


def planted(slowdown: dict[tuple[str, Factor], tuple[float, ...]], slack: float = 0.0) -> Table:
    """The table of a network whose times are known and whose memory is the formula's."""
    rows = []
    blocks = resolve(NetworkSpec()).blocks
    for factors in STUDY.grid(Options()):
        engine, split = str(factors["engine"]), factors["split"]
        usual = (1.1, 1.12, 1.08) if split != ALL else (9.0, 9.5, 8.5)
        for seed, ratio in enumerate(slowdown.get((engine, split), usual)):
            measures = {"whole milliseconds": 2.0, "milliseconds": 2 * ratio}
            if engine == "numpy":
                block = blocks[int(factors["block"])]
                needed = split_memory(block, slice_count(block.inner_channels, split))
                measures |= {
                    "ends": 4 * needed.ends, "slice": 4 * needed.slice,
                    "measured": 4 * needed.total * (1 + slack),
                }  # fmt: skip
            rows += [Row(Case(factors, seed), name, value) for name, value in measures.items()]
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
@pytest.mark.parametrize("engine", ENGINES)
def test_a_quick_case_has_every_measure(engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed (extra: torch)")
    options = Options(quick=True)
    first, second = (
        STUDY.measure(Case({"engine": engine, "split": 5, "block": 2}, seed), options)
        for seed in (0, 1)
    )
    assert first.values == second.values
    for found in (first, second):
        assert found.timed["difference"] < 1e-5
        assert min(found.timed["milliseconds"], found.timed["whole milliseconds"]) > 0
        if engine == "numpy":
            computed = found.values["ends"] + found.values["slice"]
            assert computed <= found.timed["measured"] < computed + 200_000
    memory.blocks_of.cache_clear()


def test_the_grid_has_every_library_split_and_block() -> None:
    found = {tuple(factors.values()) for factors in STUDY.grid(Options())}
    expected = {(engine, split, block) for engine in ENGINES for split in SPLITS
                for block in range(17)}  # fmt: skip
    assert found == expected
    assert len(STUDY.grid(Options(quick=True))) < len(found)
