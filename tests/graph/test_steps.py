"""Steps of a file are held against those that are expected, in any order of the branches."""

import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.steps import Step, held_against_config, require_equal

IMAGE = Step("Input", (), {})
LEFT, RIGHT = Step("Conv", (0,), {"stride": 1}), Step("Conv", (0,), {"stride": 2})
FOUND = [IMAGE, LEFT, RIGHT, Step("Add", (1, 2), {})]


def test_the_order_of_two_branches_does_not_matter() -> None:
    require_equal(FOUND, FOUND)
    require_equal([IMAGE, RIGHT, LEFT, Step("Add", (2, 1), {})], FOUND)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([IMAGE, RIGHT, LEFT, Step("Add", (1, 2), {})], "not Conv with stride 1"),
        ([IMAGE, LEFT, RIGHT, Step("Add", (1, 1), {})], "operator"),
        ([IMAGE, LEFT, RIGHT, Step("Sub", (1, 2), {})], "not Add of 1, 2"),
        ([IMAGE, LEFT, Step("Conv", (0,), {"stride": 2**31 - 1}), FOUND[3]], "stride 2"),
        ([IMAGE, LEFT, Step("Conv", (0,), {"stride": 2, "more": 1}), FOUND[3]], "more None"),
        ([IMAGE, LEFT, Step("Conv", (0,), {}), FOUND[3]], "stride 2"),
        ([IMAGE, Step("Conv", (2,), {"stride": 1}), RIGHT, FOUND[3]], "before its inputs"),
        ([IMAGE, Step("Conv", (-1,), {"stride": 1}), RIGHT, FOUND[3]], "before its inputs"),
        (FOUND[:3], "3 operators instead of 4"),
        ([], "0 operators"),
        ([IMAGE, LEFT, RIGHT, Step("Conv", (1,), {"stride": 2})], "operator"),
    ],
)
def test_every_difference_is_refused(found: list[Step], reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        require_equal(found, FOUND)


def test_the_error_names_the_file() -> None:
    with (
        pytest.raises(ArtifactError, match=r"^m\.mnn: .*another network .*\(no\).*export it again"),
        held_against_config("m.mnn"),
    ):
        raise ArtifactError("no")
