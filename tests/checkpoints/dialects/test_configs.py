"""Hugging Face's config files: any value is what belongs there, a note or a clear error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.dialects.configs import (
    HUGGING_FACE,
    approximated,
    compose,
    describe,
)
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.spec.published import PUBLISHED, published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 400) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
HUGGING_FACE_FIELDS = (
    "output_stride", "expand_ratio", "min_depth", "depth_divisible_by", "tf_padding",
    "classifier_dropout_prob", "layer_norm_eps", "hidden_act", "depth_multiplier", "image_size",
    "first_layer_is_expansion", "finegrained_output", "id2label", "license", "problem_type",
    "architectures", "model_type", "num_channels", "label2id",
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
    assert not approximated(Preprocessing().unresized())


@pytest.mark.parametrize("code", [5, -1, "bilinear"])
def test_an_unknown_resampling_is_refused(code: Any) -> None:
    with pytest.raises(DialectError, match=r"config\.json"):
        describe({}, {"resample": code})


@pytest.mark.parametrize(
    ("config", "photos", "message"),
    [
        ({"architectures": ["MobileNetV2ForSemanticSegmentation"]}, {}, "for segmentation"),
        ({"model_type": "mobilenet_v1"}, {}, "model_type = 'mobilenet_v1'"),
        ({"problem_type": "regression"}, {}, "regression"),
        ({}, {"do_flip_channel_order": True}, "blue comes first"),
        ({}, {"do_pad": True}, "do_pad is on"),
        ({}, {"size": {"shortest_edge": 256, "longest_edge": 300}}, "size has 'longest_edge'"),
        ({}, {"rescale_factor": 0}, "rescale_factor = 0.0 must be above 0"),
        ({}, {"rescale_factor": -1}, "rescale_factor = -1.0 must be above 0"),
        ({}, {"image_mean": [10**400] * 3}, r"image_mean = \[1000"),
        ({"layer_norm_eps": 10**400}, {}, "layer_norm_eps = 1000"),
        ({"layer_norm_eps": float("nan")}, {}, "layer_norm_eps = nan"),
    ],
)
def test_what_changes_the_answers_and_is_not_read_is_refused(
    config: dict[str, Any], photos: dict[str, Any], message: str
) -> None:
    with pytest.raises(DialectError, match=message):
        describe(config, photos)


def test_a_whole_number_is_the_shorter_side_or_a_square() -> None:
    photos = {"size": 64, "crop_size": 64}
    for square, fit in ((True, "stretch"), (False, "cover"), (None, "cover")):
        record = describe({}, {**photos, "default_to_square": square}).preprocessing
        assert record is not None and (record.resize, record.fit) == ((64, 64), fit)
    off = describe({}, {"do_pad": False, "size": {"shortest_edge": 256, "longest_edge": None}})
    assert off.note == "" and off.preprocessing is not None
    assert describe({}, {"do_rescale": False, "rescale_factor": 0}).preprocessing is not None


def test_names_that_occur_twice_are_not_used() -> None:
    found = describe({"id2label": {"0": "cat", "1": "dog", "2": "cat"}}, None)
    assert found.labels is None and found.classes == 3 and "twice: 'cat'" in found.note


def test_a_key_of_which_nothing_is_known_is_named() -> None:
    found = describe({"transformers_version": "5", "new_thing": 3}, {"crop_pct": 0.9})
    assert "config.json: 'new_thing'" in found.note and "'crop_pct'" in found.note
    assert describe({"model_type": "mobilenet_v2"}, {"image_processor_type": "x"}).note == ""
    contradicted = describe({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}, None)
    assert "contradicts" in contradicted.note


def test_several_labels_at_once_are_sigmoids() -> None:
    found = describe({"problem_type": "multi_label_classification"}, None)
    assert found.spec is not None and found.spec.classifier.outputs == "sigmoid"
