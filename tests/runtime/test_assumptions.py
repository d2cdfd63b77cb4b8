"""Assumptions about foreign files: in which order they are made, and what is said of them."""

import dataclasses

import pytest

from mobilenetv2.checkpoints.foreign import Facts
from mobilenetv2.errors import ArtifactError
from mobilenetv2.runtime.assumptions import (
    Sample,
    choose_labels,
    choose_outputs,
    choose_preprocessing,
    is_headless,
)
from mobilenetv2.spec.foreign import Given
from mobilenetv2.spec.records import IMAGENET_STD, Labels, Preprocessing

FACTS = Facts("litert", (96, 96), 3, "NHWC", 1, 2, "softmax", "SOFTMAX", from_tensorflow=True)
SIGNED, UNIT, RAW = (127.5,) * 3, (255.0,) * 3, (1.0,) * 3


@pytest.mark.parametrize(
    ("changes", "std", "reason"),
    [
        ({}, SIGNED, "assumed, as most LiteRT files"),
        ({"format": "onnx"}, SIGNED, "assumed, as most networks of TensorFlow"),
        ({"format": "onnx", "from_tensorflow": False}, IMAGENET_STD, "assumed, as most ONNX files"),
        ({"input_type": "uint8"}, RAW, "it takes uint8"),
        ({"input_type": "uint8", "input_range": (-0.992, 1.0)}, SIGNED, "-0.992..1"),
        ({"input_type": "int8", "input_range": (0.0, 0.996)}, UNIT, "0..0.996"),
        ({"input_range": (0.0, 255.0)}, RAW, "0..255"),
        ({"input_range": (-2.1, 2.63)}, IMAGENET_STD, "-2.1..2.63"),
        ({"input_range": (-5.4, 5.3), "scaled": (255.0, ("MUL", "SUB"))}, RAW, "MUL and SUB"),
        ({"largest_filter": 0.01}, RAW, "first filters"),
        ({"largest_filter": 0.7}, SIGNED, "assumed"),
        ({"scaled": (1.0, ("Sub",))}, UNIT, "its graph scales them itself"),
        ({"normalisation": ((1.0,) * 3, (7.0,) * 3), "normalisation_from": "its metadata",
          "scaled": (255.0, ("MUL",))}, (7.0,) * 3, "its metadata"),
    ],
)  # fmt: skip
def test_the_file_decides_before_what_is_usual(
    changes: dict[str, object], std: tuple[float, ...], reason: str
) -> None:
    record, notes = choose_preprocessing(dataclasses.replace(FACTS, **changes), Given(), "net")  # type: ignore[arg-type]
    assert record.std == std and record.fit == "stretch" and record.resize == (96, 96)
    assert reason in " ".join(notes)


def test_a_calibrated_range_that_is_none_asks_for_the_preprocessing() -> None:
    facts = dataclasses.replace(FACTS, input_range=(-5.4, 5.3))
    with pytest.raises(ArtifactError, match=r"^net: .*-5\.4\.\.5\.3.*preprocessing='-1..1'"):
        choose_preprocessing(facts, Given(), "net")
    record, notes = choose_preprocessing(facts, Given(preprocessing="-1..1"), "net")
    assert record.std == SIGNED and "was given" in " ".join(notes)


def test_a_given_preprocessing_keeps_its_crop_unless_a_resize_is_given() -> None:
    record = Preprocessing()
    seen, _ = choose_preprocessing(FACTS, Given(preprocessing=record), "net")
    assert seen == record.at((96, 96)) and seen.resize == (109, 109)
    seen, _ = choose_preprocessing(FACTS, Given(preprocessing=record, resize="stretch"), "net")
    assert (seen.fit, seen.resize) == ("stretch", (96, 96))
    grey = dataclasses.replace(record, mean=(1.0,), std=(1.0,))
    with pytest.raises(ArtifactError, match=r"1 channels.*3"):
        choose_preprocessing(FACTS, Given(preprocessing=grey), "net")


def test_grey_pictures_have_one_value() -> None:
    record, notes = choose_preprocessing(dataclasses.replace(FACTS, channels=1), Given(), "net")
    assert record.channels == 1 and "colours" not in " ".join(notes)


SHARES = Sample(((0.25, 0.75), (0.5, 0.5)))
REAL = Sample(((-1.0, 2.0), (0.1, 0.2)))


@pytest.mark.parametrize(
    ("meaning", "sample", "classes", "found"),
    [
        ("softmax", SHARES, 2, ("softmax", True)),
        ("sigmoid", SHARES, 2, ("sigmoid", True)),
        ("sigmoid", Sample(((0.3,),)), 1, ("logit", True)),
        ("linear", REAL, 2, ("softmax", False)),
        ("linear", SHARES, 2, ("softmax", False)),
        ("linear", Sample(((0.3,),)), 1, ("logit", False)),
        ("unknown", SHARES, 2, ("softmax", True)),
        ("unknown", REAL, 2, ("softmax", False)),
        ("unknown", Sample(((0.3,), (0.4,))), 1, ("logit", True)),
        ("unknown", Sample(((3.0,), (0.4,))), 1, ("logit", False)),
    ],
)
def test_the_outputs_mean_what_the_last_operator_says(
    meaning: str, sample: Sample, classes: int, found: tuple[str, bool]
) -> None:
    outputs, probabilities, note = choose_outputs(meaning, "Last", sample, classes)  # type: ignore[arg-type]
    assert (outputs, probabilities) == found and note


def test_labels_of_the_user_come_before_those_of_the_file() -> None:
    mine, inside, beside = (Labels((f"{n} a", f"{n} b")) for n in ("mine", "inside", "beside"))
    said = dataclasses.replace(FACTS, labels=inside, labels_from="x")
    found = beside, "labels.txt"
    assert choose_labels(said, Given(labels=mine), found, 2, "net")[0] == mine
    assert choose_labels(said, Given(), found, 2, "net")[0] == inside
    labels, note = choose_labels(FACTS, Given(), found, 2, "net")
    assert labels == beside and "labels.txt" in note
    assert choose_labels(FACTS, Given(), None, 2, "net")[0] == Labels.numbered(2)
    labels, note = choose_labels(FACTS, Given(), None, 1000, "net")
    assert labels == Labels.imagenet() and "ImageNet" in note
    with pytest.raises(ArtifactError, match=r"^net: 2 labels .* 3 classes"):
        choose_labels(FACTS, Given(labels=mine), None, 3, "net")


def test_a_bodys_vector_is_told_by_its_end_its_names_and_its_length() -> None:
    assert is_headless("features", 1280, named=False)
    assert not is_headless("features", 1280, named=True)
    assert not is_headless("features", 1000, named=False)  # SqueezeNet
    assert not is_headless("linear", 1280, named=False)
