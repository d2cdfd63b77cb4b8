"""Tables of names turned into one foreign name a tensor, and values of strangers' config files."""

import pytest

from mobilenetv2.checkpoints.dialects.dialect import (
    describe_config,
    field,
    keys,
    numbers,
    published_preprocessing,
    sides,
)
from mobilenetv2.checkpoints.dialects.tables import TORCHVISION
from mobilenetv2.checkpoints.dialects.timm import DIALECT as TIMM
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig, Origin


def test_a_part_that_an_implementation_lacks_has_a_name_that_no_file_has() -> None:
    spec = published("article-torch", width=0.35)
    missing = [k for k in TORCHVISION.keys(spec) if k.foreign.startswith("no ")]
    assert {key.canonical.split(".")[2] for key in missing} == {"expand", "shortcut"}


def test_deeper_networks_are_counted_on() -> None:
    spec = published("timm-120d")
    last = {key.canonical: key.foreign for key in keys(TORCHVISION.table, TORCHVISION.words, spec)}
    assert last["head.conv.weight"] == "features.27.0.weight"
    places = {key.canonical: key.foreign for key in TIMM.keys(spec)}
    assert places["blocks.25.project.conv.weight"] == "blocks.6.0.conv_pwl.weight"


def test_a_config_of_ours_says_everything() -> None:
    config = ModelConfig.default(published("small"))
    assert describe_config(config).licence is None
    found = describe_config(ModelConfig(
        config.spec, config.preprocessing, config.labels, Origin("here", licence="MIT"), {"a": 1.0}
    ))  # fmt: skip
    assert (found.spec, found.preprocessing, found.labels, found.licence, found.metrics) == (
        config.spec, config.preprocessing, config.labels, "MIT", {"a": 1.0},
    )  # fmt: skip


def test_what_was_published_is_given_for_other_sizes_and_channels() -> None:
    assert published_preprocessing("tf-slim", published("tf-slim", size=96)).resize == (96, 96)
    grey = published_preprocessing("timm", published("timm", input_channels=1))
    assert grey.mean == pytest.approx((114.495,)) and grey.channels == 1


def test_a_field_has_its_type_or_its_default() -> None:
    assert field({"a": 3}, "a", int, 0) == 3 and field({"a": None}, "a", int, 7) == 7
    assert field({"a": 3}, "a", float, 0.0) == 3
    for value, kind in (("3", int), (True, float), (1.5, int), ([], dict)):
        with pytest.raises(DialectError, match=r"a = .* is not of the type"):
            field({"a": value}, "a", kind, None)


def test_sides_are_one_number_or_two() -> None:
    assert sides(96, "size") == (96, 96)
    assert sides([64, 128], "size") == sides({"height": 64, "width": 128}, "size") == (64, 128)
    for value in ("96", [96], [1, 2, 3], {"shortest_edge": 3}, [96.0, 96.0], None, [True, False]):
        with pytest.raises(DialectError, match="neither a side nor a height and a width"):
            sides(value, "size")


def test_numbers_are_one_or_one_a_channel() -> None:
    assert numbers(0.5, "mean") == (0.5,) and numbers([1, 0.5], "mean") == (1.0, 0.5)
    for value in ("0.5", None, ["a"], {"r": 1}):
        with pytest.raises(DialectError, match=r"mean = .* is not a list of numbers"):
            numbers(value, "mean")
