"""Config files of strangers: any value is either what belongs there or a clear error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.dialects import huggingface_config, timm_config
from mobilenetv2.checkpoints.dialects.description import Description, field, numbers, sides
from mobilenetv2.errors import DialectError, SpecError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 400) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
HUGGING_FACE = (
    "output_stride", "expand_ratio", "min_depth", "depth_divisible_by", "tf_padding",
    "classifier_dropout_prob", "layer_norm_eps", "hidden_act", "depth_multiplier", "image_size",
    "first_layer_is_expansion", "finegrained_output", "id2label", "license",
)  # fmt: skip
PREPROCESSOR = (
    "do_resize", "size", "do_center_crop", "crop_size", "rescale_factor", "do_rescale",
    "do_normalize", "image_mean", "image_std", "resample",
)  # fmt: skip
TIMM = ("input_size", "crop_pct", "interpolation", "mean", "std", "label_names")


def some(names: tuple[str, ...]) -> Any:
    return st.dictionaries(st.sampled_from(names), JSON, max_size=4)


@given(config=some(HUGGING_FACE), preprocessor=some(PREPROCESSOR))
def test_any_hugging_face_config(config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
    try:
        found = huggingface_config.describe(config, preprocessor)
    except (DialectError, SpecError) as error:
        assert str(error)
    else:
        assert found.spec is not None and found.preprocessing is not None
        assert found.spec.size == found.preprocessing.size


@given(config=some(TIMM))
def test_any_timm_config(config: dict[str, Any]) -> None:
    try:
        found = timm_config.describe({"architecture": "mobilenetv2_100", "pretrained_cfg": config})
    except (DialectError, SpecError) as error:
        assert str(error)
    else:
        assert isinstance(found, Description) and found.preprocessing is not None


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
