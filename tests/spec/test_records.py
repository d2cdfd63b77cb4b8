"""Preprocessing, labels and the whole config."""

import json
from typing import Any

import numpy as np
import pytest

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec
from mobilenetv2.spec.published import PUBLISHED, published
from mobilenetv2.spec.records import (
    Labels,
    ModelConfig,
    Origin,
    Preprocessing,
    imagenet_classes,
)


def config(**changes: Any) -> ModelConfig:
    values: dict[str, Any] = {
        "spec": NetworkSpec(classes=2), "preprocessing": Preprocessing(),
        "labels": Labels(("a", "b")),
    }  # fmt: skip
    return ModelConfig(**{**values, **changes})


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_config_survives_json(name: str) -> None:
    row = PUBLISHED[name]
    before = ModelConfig(
        row.spec, row.preprocessing, Labels.numbered(row.spec.classes, row.spec.background),
        Origin("file", "00", "litert", "MIT", True, "ü"), {"validation.top1": 0.5},
    )  # fmt: skip
    assert ModelConfig.from_mapping(json.loads(before.to_json()), "x") == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": Labels(("a",))}, "1 labels for 2 classes"),
        ({"preprocessing": Preprocessing(mean=(0.0,), std=(1.0,))}, "gives 1 channels"),
        ({"preprocessing": Preprocessing((96, 96), (96, 96))}, r"gives \(96, 96\) pixels"),
        ({"format_version": 2}, "format_version 2 is not 1"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        config(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (0, 224)}, "must be .height, width. in pixels"),
        ({"resize": (200, 256)}, "too small to crop"),
        ({"fit": "fill"}, "fit: expected one of 'cover', 'stretch', 'none', found 'fill'"),
        ({"interpolation": "cubic"}, "interpolation: expected one of 'nearest'"),
        ({"size": (224, 8193)}, r"size \(224, 8193\)"),
        ({"central_fraction": 0.0}, "central_fraction 0.0"),
        ({"central_fraction": 1.5}, "central_fraction 1.5"),
        ({"mean": (1.0, 2.0), "std": (1.0, 2.0)}, "1 or 3 values"),
        ({"std": (1.0, 0.0, 1.0)}, "above 0"),
    ],
)
def test_impossible_preprocessing_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Preprocessing(**changes)


def test_another_size_keeps_the_margin() -> None:
    assert Preprocessing().at((112, 336)).resize == (128, 384)
    assert Preprocessing().at((224, 224)) == Preprocessing()
    # timm's own rule: floor(size / 0.875), not the nearest
    assert Preprocessing().at((160, 256)).resize == (182, 292)


def test_small_networks_see_the_whole_picture_and_grey_ones_one_channel() -> None:
    assert Preprocessing.default(NetworkSpec(size=(32, 48))).resize == (32, 48)
    assert Preprocessing.default(NetworkSpec()).resize == (256, 256)
    assert Preprocessing.default(NetworkSpec(input_channels=1)).channels == 1


def test_the_imagenet_table_is_whole() -> None:
    names, ids = imagenet_classes()
    assert len(names) == len(ids) == len(set(ids)) == 1000
    assert (names[0], ids[0]) == ("tench", "n01440764")
    assert not any("_" in name for name in names)
    assert list(ids) == sorted(ids)  # ImageNet orders its classes by WordNet id


def test_the_background_shifts_imagenets_labels_by_one_or_not() -> None:
    first, last = Labels.imagenet("first"), Labels.imagenet("last")
    assert (first.names[0], first.names[1], first.background) == ("background", "tench", 0)
    assert (last.names[0], last.names[1000], last.background) == ("tench", "background", 1000)
    assert first.wordnet[0] is None and last.wordnet[1000] is None


def test_folders_of_imagenets_ids_have_its_names() -> None:
    names, ids = imagenet_classes()
    found = Labels.of_folders(ids)
    assert (found.names, found.wordnet, found.background) == (names, ids, None)
    assert Labels.of_folders(ids[:10]) == Labels(ids[:10])
    assert Labels.of_folders(("hat", "shoes")) == Labels(("hat", "shoes"))


def test_labels_that_cannot_be_are_named() -> None:
    with pytest.raises(SpecError, match="2 names but 1 WordNet ids"):
        Labels(("a", "b"), ("n1",))
    with pytest.raises(SpecError, match="background index 2 is outside"):
        Labels(("a", "b"), background=2)


def test_a_background_index_counts_from_zero_and_labels_have_a_length() -> None:
    assert len(Labels.imagenet("first")) == 1001
    assert len(Labels.imagenet()) == 1000
    assert Labels.numbered(2).names == ("class 0", "class 1")
    with pytest.raises(SpecError, match="background index -1 is outside"):
        Labels(("a", "b"), background=-1)


def test_a_config_of_which_nothing_is_known_fits_its_spec() -> None:
    spec = NetworkSpec(size=(97, 160), classes=3, input_channels=1)
    made = ModelConfig.default(spec)
    assert (made.spec, made.preprocessing.size, len(made.labels)) == (spec, (97, 160), 3)
    assert made.to_json().endswith("}\n")
    assert '"note": "ü"' in config(origin=Origin("file", note="ü")).to_json()


def test_one_logit_speaks_for_the_second_class() -> None:
    one = NetworkSpec(classes=2, classifier=ClassifierSpec(outputs="logit"))
    assert ModelConfig.default(one).output_names == ("class 1",)
    assert ModelConfig.default(NetworkSpec(classes=2)).output_names == ("class 0", "class 1")


def test_what_does_not_fit_in_a_file_is_named_with_its_place() -> None:
    mapping = json.loads(config().to_json())
    mapping["preprocessing"]["fitt"] = "cover"
    with pytest.raises(SpecError, match=r"c\.json, preprocessing: unknown key 'fitt'; did you"):
        ModelConfig.from_mapping(mapping, "c.json")
    with pytest.raises(SpecError, match=r"c\.json: the key 'spec' is missing"):
        ModelConfig.from_mapping({}, "c.json")


def test_labels_and_spec_agree_about_the_background() -> None:
    row = PUBLISHED["tf-slim"]
    with pytest.raises(SpecError, match="background"):
        ModelConfig(row.spec, row.preprocessing, Labels.imagenet("last"))


@pytest.mark.parametrize("changes", [{"mean": (float("nan"),) * 3}, {"std": (float("inf"),) * 3}])
def test_statistics_that_are_not_finite_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(changes))):
        Preprocessing(**changes)


def test_one_number_is_a_square_in_a_whole_config_too() -> None:
    mapping = json.loads(config().to_json())
    mapping["spec"]["size"] = 224
    assert ModelConfig.from_mapping(mapping, "c.json") == config()


@pytest.mark.parametrize("side", [96, 160])
def test_hugging_faces_margin_is_32_pixels_at_every_size(side: int) -> None:
    assert PUBLISHED["huggingface"].at((side, side)).resize == (side + 32, side + 32)


@pytest.mark.parametrize("name", [*PUBLISHED, "small"])
def test_a_config_is_shown_in_two_lines(name: str) -> None:
    spec = published(name)
    labels = Labels.imagenet(spec.background) if spec.classes >= 1000 else Labels.numbered(10)
    origin = Origin("weights.pth", "ab" * 32, name, "Apache-2.0", note="x" * 500)
    family = PUBLISHED.get(name)
    rules = family.preprocessing if family else Preprocessing.default(spec)
    config = ModelConfig(spec, rules, labels, origin, {"test.top1": 0.9, "test.top5": 0.99})
    assert len(repr(config)) < 800 and "\n" not in repr(config)
    assert f"spec={spec!r}, preprocessing={rules!r}, labels={labels!r}" in repr(config)
    assert repr(origin) == (
        f"Origin(source='weights.pth', sha256='abababababab...', dialect={name!r}, "
        "licence='Apache-2.0')"
    )
    assert repr(config).endswith("metrics=<2 figures>)")


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (Labels.imagenet(), "Labels(1000: tench, goldfish, great white shark, ...)"),
        (Labels(("hat", "shoes")), "Labels(2: hat, shoes)"),
        (Labels.imagenet("last"), "Labels(1001: tench, goldfish, great white shark, ...; back"),
        (Labels(("a\nb\x1b[2J" + "c" * 90,)), "Labels(1: a b\ufffd[2J" + "c" * 17 + ")"),
    ],
)
def test_labels_show_their_number_and_the_first_names(labels: Labels, shown: str) -> None:
    assert repr(labels).startswith(shown) and len(repr(labels)) < 110
    assert repr(labels).isprintable()


def test_a_repr_has_what_is_not_usual() -> None:
    assert repr(Preprocessing()) == "Preprocessing(size=(224, 224), resize=(256, 256))"
    assert repr(Preprocessing(fit="stretch")).endswith("resize=(256, 256), fit='stretch')")
    assert repr(Origin("trained here")) == "Origin(source='trained here')"


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (2, ("class 0", "class 1")),
        (["hat", "shoes"], ("hat", "shoes")),
        ((name for name in ("a", "b")), ("a", "b")),
        (Labels(("a",)), ("a",)),
        (np.int32(1), ("class 0",)),
    ],
)
def test_labels_of_a_number_or_of_names(classes: Any, names: tuple[str, ...]) -> None:
    assert Labels.of(classes).names == names


@pytest.mark.parametrize("classes", ["hat", 0, -3, True, None, 2.0, [], [3], [""], {"a": "b"}])
def test_what_gives_no_labels_is_named(classes: Any) -> None:
    with pytest.raises(SpecError, match=r"classes .* must be"):
        Labels.of(classes)


def test_the_place_of_the_background() -> None:
    places = {labels.background_place for labels in map(Labels.imagenet, ("first", "last", None))}
    assert places == {"first", "last", None}
    assert Labels.imagenet("first").background_place == "first"
