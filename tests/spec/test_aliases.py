"""The names that people know: each stands for a network that is published, and is unambiguous."""

import re

import pytest

from mobilenetv2.spec.aliases import Alias, aliases
from mobilenetv2.spec.published import PUBLISHED, published

TIMM = {
    "035": 0.35, "050": 0.5, "075": 0.75, "100": 1.0, "110d": 1.1, "120d": 1.2, "140": 1.4,
}  # fmt: skip


@pytest.mark.parametrize("alias", aliases().values(), ids=lambda alias: alias.name)
def test_every_alias_is_a_published_network(alias: Alias) -> None:
    spec = published(alias.name)
    assert (spec.width, spec.size) == (alias.width, (alias.size, alias.size))
    assert spec == published(alias.family, width=alias.width, size=alias.size)
    assert alias.name not in PUBLISHED


def test_torchvisions_keras_and_timms_names_are_their_networks() -> None:
    assert published("mobilenet_v2") == published("torchvision")
    assert published("MobileNetV2", width=0.35, size=96) == published("keras", width=0.35, size=96)
    for ending, width in TIMM.items():
        spec = published(f"mobilenetv2_{ending}")
        assert spec.width == width and spec.numerics == published("timm").numerics
        deeper = ending.endswith("d")
        assert (spec.stages != published("timm").stages) == deeper


def test_the_publishers_whole_lists_are_there() -> None:
    names = aliases().keys()
    assert {f"mobilenetv2_{ending}" for ending in TIMM} <= names
    assert len([name for name in names if re.fullmatch(r"mobilenet_v2_[\d.]+_\d+", name)]) == 22
    assert len([name for name in names if name.startswith("google/")]) == 4


def test_changes_are_made_to_what_the_name_stands_for() -> None:
    spec = published("mobilenetv2_140", size=160, classes=7)
    assert (spec.width, spec.size, spec.classes) == (1.4, (160, 160), 7)
    assert published("mobilenet_v2_1.0_224", classes=7).background is None
