"""Search of the catalogue: by name, and what is said when there is none."""

import pytest

from mobilenetv2.errors import WeightsError
from mobilenetv2.hub.catalogue import ORDERS, catalogue, find, list_checkpoints


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"'timm-1000' is not in .* did you mean 'timm-100'\?"):
        find("timm-1000")
    with pytest.raises(WeightsError, match=r"'keras-1.0-225'.*did you mean 'keras-1.0-224'\?"):
        find("keras-1.0-225")


def test_a_list_holds_what_was_asked_for_in_order() -> None:
    for order in ORDERS:
        assert {entry.name for entry in list_checkpoints(sort=order)} == set(catalogue())
    found = list_checkpoints("torchvision", sort="top1")
    assert [entry.name for entry in found] == ["torchvision-v2", "torchvision-v1"]
    for arguments in (("torch", None), ("timm", 0.99)):
        with pytest.raises(WeightsError, match="none published"):
            list_checkpoints(*arguments)
