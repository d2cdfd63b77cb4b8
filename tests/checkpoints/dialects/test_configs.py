"""Strangers' config files: any value is either what belongs there or a clear error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.dialects.configs import (
    HUGGING_FACE,
    approximated,
    compose,
    describe,
    describe_timm,
    field,
    numbers,
    sides,
)
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.spec.published import PUBLISHED, published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 400) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TIMM_FIELDS = ("input_size", "crop_pct", "interpolation", "mean", "std", "label_names")


@given(config=st.dictionaries(st.sampled_from(TIMM_FIELDS), JSON, max_size=4))
def test_any_timm_config(config: dict[str, Any]) -> None:
    try:
        found = describe_timm({"architecture": "mobilenetv2_100", "pretrained_cfg": config})
    except (DialectError, SpecError) as error:
        assert str(error)
    else:
        assert found.spec is None and found.preprocessing is not None


def test_labels_and_licence_of_a_fine_tuned_network() -> None:
    found = describe_timm({
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
        describe_timm(whole)


HUGGING_FACE_FIELDS = (
    "output_stride", "expand_ratio", "min_depth", "depth_divisible_by", "tf_padding",
    "classifier_dropout_prob", "layer_norm_eps", "hidden_act", "depth_multiplier", "image_size",
    "first_layer_is_expansion", "finegrained_output", "id2label", "license",
)  # fmt: skip
PREPROCESSOR = (
    "do_resize", "size", "do_center_crop", "crop_size", "rescale_factor", "do_rescale",
    "do_normalize", "image_mean", "image_std", "resample",
)  # fmt: skip


def some(names: tuple[str, ...]) -> Any:
    return st.dictionaries(st.sampled_from(names), JSON, max_size=4)


@given(config=some(HUGGING_FACE_FIELDS), preprocessor=some(PREPROCESSOR))
def test_any_hugging_face_config(config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
    try:
        found = describe(config, preprocessor)
    except (DialectError, SpecError) as error:
        assert str(error)
    else:
        assert found.spec is not None and found.preprocessing is not None
        assert found.spec.size == found.preprocessing.size


@pytest.mark.parametrize(
    "record",
    [Preprocessing((96, 96), (128, 128)), Preprocessing((96, 128), (100, 130), "stretch")],
)
def test_what_is_composed_is_described_again(record: Preprocessing) -> None:
    spec = published("huggingface", width=0.35, size=record.size, classes=5, background=None,
                     dropout=0.3, numerics=HUGGING_FACE.numerics)  # fmt: skip
    config = ModelConfig(spec, record, Labels.numbered(5))
    found = describe(*compose(config))
    assert found.spec == config.spec and found.labels == config.labels
    assert found.preprocessing == config.preprocessing


def test_a_resize_that_its_files_cannot_say() -> None:
    assert not approximated(PUBLISHED["huggingface"].preprocessing)
    assert approximated(PUBLISHED["tf-slim"].preprocessing)  # a central part
    assert approximated(Preprocessing((64, 96), (80, 120), "cover"))
    assert not approximated(Preprocessing((64, 96), (80, 120), "stretch"))


@pytest.mark.parametrize("code", [5, -1, "bilinear"])
def test_an_unknown_resampling_is_refused(code: Any) -> None:
    with pytest.raises(DialectError, match=r"config\.json"):
        describe({}, {"resample": code})


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
