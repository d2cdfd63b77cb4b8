"""The study of width and resolution, and TF-slim's table of 22 checkpoints."""

from collections.abc import Mapping
from math import log2
from pathlib import Path

import pytest
from synthetic_table import drawn, synthetic, verdicts

from mobilenetv2.spec.catalogue import catalogue
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.studies.study import Case, Factor, Options
from mobilenetv2.studies.width_and_size import (
    MILLIONS,
    STUDY,
    departures,
    gains,
    grid,
    network,
    published_rows,
    without_batch_norm,
)


def test_widths_and_sizes_are_crossed() -> None:
    cases = grid(Options())
    assert len(cases) == 12
    assert {network(Case(case)).size for case in cases} == {(32, 32), (40, 40), (48, 48)}
    assert len({network(Case(case)).width for case in cases}) == 4
    assert len(grid(Options(quick=True))) == 4


TABLE = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
"""Table 2 of the paper: t, c, n and s."""


def plainly_counted(width: float, size: int) -> tuple[int, int, int]:
    """Return multiply-adds, parameters, and parameters without BatchNorm, from the paper's table.

    Nothing of the package is used, and 1,001 classes are counted, as TF-slim has them.
    """

    def scaled(channels: int) -> int:
        exact = channels * width
        rounded = max(8, int(exact + 4) // 8 * 8)
        return rounded + 8 * (rounded < 0.9 * exact)

    work = weights = norms = 0

    def convolve(ins: int, outs: int, kernel: int, side: int, groups: int = 1) -> None:
        nonlocal work, weights, norms
        weights += ins // groups * outs * kernel**2
        work += ins // groups * outs * kernel**2 * side**2
        norms += 2 * outs

    side, channels = -(-size // 2), scaled(32)
    convolve(3, channels, 3, side)
    for expansion, outs, repeats, stride in TABLE:
        for number in range(repeats):
            inner = expansion * channels
            if expansion > 1:
                convolve(channels, inner, 1, side)
            side = -(-side // stride) if number == 0 else side
            convolve(inner, inner, 3, side, inner)
            channels = scaled(outs)
            convolve(inner, channels, 1, side)
    head = 1280 if width <= 1 else scaled(1280)
    convolve(channels, head, 1, side)
    return work + head * 1001, weights + norms + head * 1001 + 1001, weights + head * 1001 + 1001


EXACT: dict[float, tuple[int, dict[int, int]]] = {
    1.4: (6_110_569, {224: 582_197_616}),
    1.3: (5_388_457, {224: 509_376_224}),
    1.0: (3_506_153, {
        224: 300_775_552, 192: 221_317_888, 160: 154_084_480, 128: 99_075_328,
        96: 56_290_432,
    }),
    0.75: (2_637_705, {
        224: 209_071_072, 192: 153_943_168, 160: 107_296_480, 128: 69_131_008,
        96: 39_446_752,
    }),
    0.5: (1_969_961, {
        224: 97_133_120, 192: 71_703_040, 160: 50_185_280, 128: 32_579_840,
        96: 18_886_720,
    }),
    0.35: (1_678_409, {
        224: 59_287_088, 192: 43_897_792, 160: 30_876_080, 128: 20_221_952,
        96: 11_935_408,
    }),
}  # fmt: skip
"""Width -> parameters, and input size -> multiply-adds, as :func:`plainly_counted` gives them."""


def test_the_22_rows_are_those_of_a_plain_count() -> None:
    rows = [(width, size) for width, (_, costs) in EXACT.items() for size in costs]
    assert len(rows) == 22
    for width, size in rows:
        work, trained, _ = plainly_counted(width, size)
        assert (trained, work) == (EXACT[width][0], EXACT[width][1][size])
    found = {(width, size): work for width, size, _, work in published_rows()}
    assert found == {(width, size): EXACT[width][1][size] for width, size in rows}
    for entry in catalogue().values():
        if entry.dialect == "tf-slim" and entry.spec is not None:
            counted = (parameters(entry.spec), without_batch_norm(entry.spec))
            assert counted == plainly_counted(entry.width, entry.size)[1:], entry.name


def test_all_22_published_rows_are_exact() -> None:
    """Cut to whole millions of multiply-adds; parameters without BatchNorm, in hundredths."""
    slim = [entry for entry in catalogue().values() if entry.dialect == "tf-slim"]
    assert len(slim) == len(published_rows()) == 22
    for entry in slim:
        assert entry.spec is not None and entry.spec.classes == 1001
        size_millions, sizes = MILLIONS[entry.width]
        assert multiply_adds(entry.spec) // 10**6 == sizes[entry.size], entry.name
        assert without_batch_norm(entry.spec) // 10**4 == round(100 * size_millions), entry.name
        # With BatchNorm, every row would be larger than what is published.
        assert parameters(entry.spec) // 10**4 > round(100 * size_millions), entry.name
    assert departures() == []
    assert {(width, size) for width, size, *_ in published_rows()} == {
        (width, size) for width, (_, sizes) in MILLIONS.items() for size in sizes
    }


def test_a_row_that_differs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MILLIONS, 1.4, (6.11, {224: 583}))
    assert departures() == [
        "width 1.4: 6,062,633 parameters, published 6.11M",
        "width 1.4 at 224: 582,197,616 multiply-adds, published 583M",
    ]


def test_gains_are_the_slopes_of_a_plane() -> None:
    rows = [
        (width, size, 0.03 * log2(width * width) + 0.05 * log2(size * size), width**2 * size**2)
        for width in (0.25, 0.5, 1.0) for size in (32, 64)
    ]  # fmt: skip
    assert gains(rows) == pytest.approx((3, 5))


def test_planted_effects_are_found_and_null_ones_are_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")

    def effect(by_width: float, by_size: float, factors: Mapping[str, Factor]) -> float:
        width, size = float(factors["width"]), float(factors["size"])
        cost = multiply_adds(network(Case({"width": width, "size": 48})))
        return by_width * log2(cost / 1e6) + by_size * log2(size**2 / 32**2)

    alike = synthetic(STUDY, network, lambda factors: effect(0.04, 0.04, factors))
    findings = list(STUDY.judge(alike))
    assert verdicts(findings) == ["held"] * 4
    assert findings[1].estimate == pytest.approx(4, abs=0.3)
    assert findings[2].estimate == pytest.approx(4, abs=0.5)
    drawn(STUDY, alike, tmp_path / "picture.png")
    unlike = list(STUDY.judge(synthetic(STUDY, network, lambda f: effect(0.02, 0.06, f))))
    assert verdicts(unlike) == ["did not hold", "held", "held", "held"]
    assert unlike[0].estimate == pytest.approx(4, abs=0.5)


def test_null_effects_are_rarely_found() -> None:
    """An interval of 95% misses zero above in one of forty tables."""
    held = []
    for start in range(0, 60, 5):
        options = Options(seeds=5, first_seed=start)
        null = verdicts(list(STUDY.judge(synthetic(STUDY, network, lambda factors: 0.0, options))))
        held += [verdict == "held" for verdict in null[1:3]]
        assert null[3] == "held"  # the published counts, which no accuracy changes
    assert sum(held) <= 3
