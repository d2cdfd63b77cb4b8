"""Study `information`: its measures on embeddings whose losses are known."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.studies import information
from mobilenetv2.studies.information import CHANNELS, COLOURS, SIZES, SPIRAL, STUDY, loss
from mobilenetv2.studies.study import Case, Factor, Options, Row, Table

QUICK = Options(quick=True, seeds=1)
TWO = np.array([[1.0, 0.0], [0.0, 1.0]])


def mirrored(size: int = 2) -> np.ndarray:
    """Every direction and its opposite: ReLU(z) - ReLU(-z) = z, so that nothing is lost."""
    directions = np.random.default_rng(0).standard_normal((size, 2))
    return np.concatenate([directions, -directions])


def expected(size: int, dimensions: int, active: float = 0.5) -> float:
    """Probability that fewer of ``size`` outputs than ``dimensions`` are active."""
    return sum(
        math.comb(size, k) * active**k * (1 - active) ** (size - k) for k in range(dimensions)
    )


@pytest.fixture(scope="module")
def table() -> Table:
    rows = []
    for seed in range(QUICK.seeds):
        for factors in STUDY.grid(QUICK):
            case = Case(factors, seed)
            rows += [
                Row(case, name, value) for name, value in STUDY.measure(case, QUICK).values.items()
            ]
    return Table(rows)


def test_a_linear_embedding_loses_nothing() -> None:
    points = information.spiral()
    for size in (2, 3, 30):
        matrix = information.embedding(np.random.default_rng(size), size, 2)
        found = loss(points, matrix, 3.0, "linear")
        assert found.collapsed == 0
        assert max(found.unread, found.back) < 1e-20


def test_relu_of_every_direction_and_its_opposite_loses_nothing() -> None:
    found = loss(information.spiral(), mirrored(), 1.0, "relu")
    assert (found.collapsed, found.more) == (0, 0)
    assert found.unread < 1e-20
    assert found.back > 0.2  # the pseudoinverse gives half of each point: an error of a quarter


def test_relu_of_the_two_axes_collapses_all_but_one_quadrant() -> None:
    points = np.array([[1.0, 2.0], [-1.0, 2.0], [1.0, -2.0], [-1.0, -2.0]])
    assert information.collapsed(points @ TWO.T, "relu", 2).tolist() == [False, True, True, True]
    returned = np.array([[1.0, 2.0], [0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    assert (information.activate(points @ TWO.T, "relu") == returned).all()
    # Squared distances 0 + 1 + 4 + 5, and a variance of 4 x (1 + 4).
    assert loss(points, TWO, 1.0, "relu").back == pytest.approx(10 / 20)


def test_relu6_collapses_what_exceeds_its_bound_and_only_that() -> None:
    points = np.array([[1.0, 2.0], [7.0, 2.0], [-1.0, 2.0], [2.0, 1.0]])
    assert information.collapsed(points, "relu6", 2).tolist() == [False, True, True, False]
    assert information.collapsed(points, "relu", 2).tolist() == [False, False, True, False]
    assert loss(points, TWO, 1.0, "relu6").more == pytest.approx(1 / 4)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_a_point_has_collapsed_if_another_one_near_it_has_the_same_outputs(activation: str) -> None:
    generator = np.random.default_rng(7)
    for size in (2, 3, 5):
        matrix = 4 * information.embedding(generator, size, 2)
        points = generator.standard_normal((40, 2))
        values = points @ matrix.T
        found = information.collapsed(values, activation, 2)
        angles = np.linspace(0, np.pi, 721)
        near = 1e-6 * np.stack([np.cos(angles), np.sin(angles)], 1)
        changed = information.activate((points[:, None] + near) @ matrix.T, activation)
        change = np.abs(changed - information.activate(values, activation)[:, None]).max(2).min(1)
        # 721 directions come within an angle of 0.0022 of a line along which nothing changes.
        assert (change[found] < 3e-8).all()
        assert (change[~found] > 0).all()


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_share_of_collapsed_points_is_the_binomial_one(size: int) -> None:
    factors: dict[str, Factor] = {"points": SPIRAL, "activation": "relu", "scale": 1, "n": size}
    found = STUDY.measure(Case(factors), QUICK).values
    error = found["collapsed deviation"] / math.sqrt(found["draws"])
    assert found["collapsed"] == pytest.approx(expected(size, 2), abs=max(4 * error, 1e-3))


@pytest.mark.slow
def test_the_same_in_24_dimensions(table: Table) -> None:
    for size in SIZES[CHANNELS]:
        found = information.pooled(
            table, "collapsed", points=CHANNELS, activation="relu", scale=1, n=size
        )
        assert found.value == pytest.approx(expected(size, 24), abs=0.03)
        assert found.interval[0] <= found.value <= found.interval[1]
        assert found.n == information.DRAWS[CHANNELS][1]


def test_a_case_gives_the_same_numbers_again_and_shares_its_matrices() -> None:
    case = Case({"points": SPIRAL, "activation": "relu6", "scale": 10, "n": 3}, 5)
    assert STUDY.measure(case, QUICK) == STUDY.measure(case, QUICK)
    ((_, first),) = information._draws(SPIRAL, 3, 5, 1)
    assert (information._draws(SPIRAL, 3, 5, 2)[0][1] == first).all()
    assert not (information._draws(SPIRAL, 3, 6, 1)[0][1] == first).all()


@pytest.mark.slow
def test_the_findings_of_a_quick_run(table: Table) -> None:
    narrow, wide, linear, bounded, channels = STUDY.judge(table)
    assert [one.verdict for one in (narrow, linear, bounded, channels)] == ["held"] * 4
    assert wide.verdict in ("held", "cannot be told")  # the share is too rare for few matrices
    assert narrow.estimate == pytest.approx(0.5, abs=0.01)
    assert linear.estimate < 1e-20
    for one in (narrow, wide, linear, bounded, channels):
        assert one.interval[0] <= one.estimate <= one.interval[1]


@pytest.mark.slow
def test_a_relu_that_loses_nothing_is_told(table: Table) -> None:
    planted = Table(
        Row(row.case, row.measure, 0.0)
        if row.case.factors["activation"] == "relu" and row.measure.startswith("collapsed")
        else row
        for row in table
    )
    narrow, *_ = STUDY.judge(planted)
    assert narrow.verdict != "held"
    assert narrow.estimate == 0


def test_a_rare_event_that_did_not_occur_has_an_interval() -> None:
    case = Case({"points": SPIRAL, "activation": "relu", "scale": 1, "n": 30})
    values = {"collapsed": 0.0, "collapsed deviation": 0.0, "draws": 100}
    found = information.pooled(
        Table(Row(case, name, value) for name, value in values.items()),
        "collapsed", **case.factors,
    )  # fmt: skip
    assert found.interval == pytest.approx((0, 0.037), abs=1e-3)


@pytest.mark.slow
def test_the_picture_is_drawn(table: Table, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    STUDY.draw(table, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert min(picture.size) > 900
        assert len(picture.convert("RGB").getcolors(2**20) or ()) > len(COLOURS)
