"""timm's config file: any value is either what belongs there or a clear error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.dialects.timm import describe
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.spec.records import Labels

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 400) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TIMM = ("input_size", "crop_pct", "interpolation", "mean", "std", "label_names")


@given(config=st.dictionaries(st.sampled_from(TIMM), JSON, max_size=4))
def test_any_timm_config(config: dict[str, Any]) -> None:
    try:
        found = describe({"architecture": "mobilenetv2_100", "pretrained_cfg": config})
    except (DialectError, SpecError) as error:
        assert str(error)
    else:
        assert found.spec is None and found.preprocessing is not None


def test_labels_and_licence_of_a_fine_tuned_network() -> None:
    found = describe({
        "architecture": "mobilenetv2_050", "label_names": ["cat", "dog"],
        "pretrained_cfg": {"license": "mit"},
    })  # fmt: skip
    assert (found.labels, found.licence) == (Labels(("cat", "dog")), "mit")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "resnet18"}, "'resnet18' is not a MobileNetV2"),
        ({}, "'' is not a MobileNetV2"),
        ({"input_size": [3, 224]}, r"input_size = \[3, 224\]"),
        ({"crop_pct": 0.0}, "crop_pct 0.0"),
        ({"interpolation": "random"}, "interpolation 'random'"),
    ],
)
def test_another_config_is_refused_with_the_value(config: dict[str, Any], message: str) -> None:
    whole = config if config.keys() <= {"architecture"} else {
        "architecture": "mobilenetv2_100", "pretrained_cfg": config,
    }  # fmt: skip
    with pytest.raises(DialectError, match=message):
        describe(whole)
