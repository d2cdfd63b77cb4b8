"""Networks that a file may hold, in the order in which they are tried."""

import itertools

from mobilenetv2.checkpoints.dialects.candidates import (
    WIDTHS,
    candidates,
    cut,
    has_width,
    same_network,
)
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.published import PUBLISHED, published

TARGET = published("torchvision", classes=7, size=96)


def test_published_widths_come_first_then_multiples_of_a_twentieth() -> None:
    assert WIDTHS.index(0.35) < WIDTHS.index(0.65) < WIDTHS.index(0.64)
    assert WIDTHS.index(1.05) < WIDTHS.index(0.06) and {0.05, 3.0, 1.11} <= set(WIDTHS)


def test_candidates_have_what_no_shape_says() -> None:
    for one in itertools.islice(candidates({}, TARGET, PUBLISHED), 2000):
        assert (one.spec.classes, one.spec.size) == (7, (96, 96))
        assert one.spec.numerics == TARGET.numerics
    assert str(next(candidates({}, TARGET, ["tonylins"]))) == "width 1 in tonylins' rounding"


def test_one_family_at_one_width() -> None:
    found = [*candidates({}, TARGET, ["timm-110d"])]
    assert {one.spec.width for one in found} == {1.1}
    tenth = [*candidates({}, TARGET, ["d-li14"], [0.1])]
    assert {one.spec.divisor for one in tenth} == {4, 8}
    own = {"timm": TARGET.replace(stem_fixed=True)}
    assert next(candidates(own, TARGET, ["timm"])).spec.stem_fixed


def test_a_network_that_ends_behind_some_blocks() -> None:
    whole = cut(TARGET, 17)
    assert whole.head == "none" and whole.stages == TARGET.stages
    part = cut(TARGET, 5)
    assert [stage.repeats for stage in part.stages] == [1, 2, 2]
    assert len(resolve(part).blocks) == 5
    found = next(candidates({}, part, ["torchvision"]))
    assert same_network(found.spec, part) and has_width(part, 1.0)
