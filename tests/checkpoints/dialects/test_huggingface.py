"""Hugging Face's config files: any value is either what belongs there or a clear error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.dialects.huggingface import (
    DIALECT,
    approximated,
    compose,
    describe,
    prefixed,
)
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import PUBLISHED, published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

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


def some(names: tuple[str, ...]) -> Any:
    return st.dictionaries(st.sampled_from(names), JSON, max_size=4)


@given(config=some(HUGGING_FACE), preprocessor=some(PREPROCESSOR))
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
                     dropout=0.3, numerics=DIALECT.numerics)  # fmt: skip
    config = ModelConfig(spec, record, Labels.numbered(5))
    found = describe(*compose(config))
    assert found.spec == config.spec and found.labels == config.labels
    assert found.preprocessing == config.preprocessing


def test_a_resize_that_its_files_cannot_say() -> None:
    assert not approximated(PUBLISHED["huggingface"].preprocessing)
    assert approximated(PUBLISHED["tf-slim"].preprocessing)  # a central part
    assert approximated(Preprocessing((64, 96), (80, 120), "cover"))
    assert not approximated(Preprocessing((64, 96), (80, 120), "stretch"))


def test_a_model_saved_without_its_classifier_has_no_prefix() -> None:
    spec = published("huggingface", width=0.35)
    foreign = DIALECT.encode(spec, random_arrays(spec))
    bare = {name.removeprefix("mobilenet_v2."): array for name, array in foreign.items()}
    del bare["classifier.weight"], bare["classifier.bias"]
    assert prefixed(bare).keys() | {"classifier.weight", "classifier.bias"} == foreign.keys()
    assert prefixed(foreign) == foreign


@pytest.mark.parametrize("code", [5, -1, "bilinear"])
def test_an_unknown_resampling_is_refused(code: Any) -> None:
    with pytest.raises(DialectError, match=r"config\.json"):
        describe({}, {"resample": code})
