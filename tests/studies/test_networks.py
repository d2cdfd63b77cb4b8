"""The networks of the studies that train: shapes, and widths for a number of multiply-adds."""

import pytest

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.count import multiply_adds
from mobilenetv2.studies.networks import BASE, CLOSE, SEPARABLE_STAGES, at_cost


def test_the_base_has_the_papers_order_and_ends_with_four_pixels() -> None:
    network = resolve(BASE)
    assert {block.kind for block in network.blocks} == {"inverted"}
    assert [stage.channels for stage in BASE.stages] == [16, 24, 32, 64, 96]  # of Table 2
    assert network.blocks[-1].out_size == (4, 4) and BASE.classes == 10
    assert network.head is not None
    assert network.head.out_channels == 4 * network.blocks[-1].out_channels


def test_the_separable_network_halves_the_resolution_at_the_same_places() -> None:
    separable = resolve(BASE.replace(stages=SEPARABLE_STAGES, head="none"))
    sizes = {block.out_size for block in separable.blocks}
    assert sizes == {block.out_size for block in resolve(BASE).blocks}


@pytest.mark.parametrize("wanted", [2_000_000, 5_000_000])
def test_a_network_at_a_cost_comes_close_to_it(wanted: int) -> None:
    spec = at_cost(BASE, wanted)
    assert multiply_adds(spec) == pytest.approx(wanted, rel=CLOSE)
    assert spec.replace(width=1.0) == BASE


def test_a_cost_that_no_width_meets_is_an_error() -> None:
    with pytest.raises(SpecError, match="off 300,000; use a smaller divisor than 64"):
        at_cost(BASE.replace(divisor=64), 300_000)
