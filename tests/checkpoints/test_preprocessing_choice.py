"""Who is believed about a network's preprocessing, and the sentence that says so."""

import dataclasses
from typing import Any

import pytest

from mobilenetv2.checkpoints.description import (
    Description,
    ImportOptions,
    published_preprocessing,
    usual_preprocessing,
)
from mobilenetv2.checkpoints.input_range import RANGES
from mobilenetv2.checkpoints.preprocessing_choice import choose_preprocessing, words
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.catalogue import Checkpoint, catalogue
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing

SPEC = NetworkSpec(classes=3, size=(160, 160))
USUAL = usual_preprocessing("keras", SPEC)
MINE = Preprocessing((160, 160), (200, 200), mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
ROUND = ((10.0,) * 3, (20.0,) * 3)


def choose(
    said: Description | None = None, known: Checkpoint | None = None, dialect: str = "keras",
    spec: NetworkSpec = SPEC, usual: Preprocessing = USUAL, **options: Any,
) -> tuple[Preprocessing, str]:  # fmt: skip
    return choose_preprocessing(
        said or Description(), usual, dialect, spec, ImportOptions(**options), known
    )


def test_a_file_that_says_nothing_gets_the_usual_range_and_no_crop() -> None:
    record, why = choose()
    assert (record.mean, record.std) == ((127.5,) * 3, (127.5,) * 3)
    assert (record.fit, record.resize, record.central_fraction) == ("stretch", (160, 160), 1.0)
    for part in ("-1..1", "red first", "stretched", "without a crop", "says nothing", "Keras"):
        assert part in why
    assert why.endswith(".") and why.count(".") == 3  # one sentence, and the dots of -1..1


def test_state_dicts_keep_their_publishers_crop() -> None:
    usual = usual_preprocessing("torchvision", SPEC)
    record, why = choose(dialect="torchvision", usual=usual)
    assert record == published_preprocessing("torchvision", SPEC) and record.fit == "cover"
    assert "cropped" in why and "1.14" in why


def test_the_order_of_who_is_believed() -> None:
    calibrated = Description(input_range=(0.0, 1.0))
    record, why = choose(calibrated)
    assert record.std == (255.0,) * 3 and "calibrated to 0..1" in why
    graph = dataclasses.replace(calibrated, normalisation=ROUND, preprocessing_from="the layer r")
    record, why = choose(graph)
    assert (record.mean, record.std) == ROUND and "the layer r" in why
    known = catalogue()["keras-1.0-224"]
    spec = NetworkSpec(size=(224, 224), classes=1000)
    record, why = choose(graph, known, spec=spec)
    assert record == known.published_preprocessing() and "keras-1.0-224" in why
    config = dataclasses.replace(graph, preprocessing=MINE)
    assert choose(config, known, spec=spec) == (MINE.at((224, 224)), "")
    config = dataclasses.replace(config, normalisation=None)
    record, why = choose(config, known, spec=spec, preprocessing=Preprocessing())
    assert record == Preprocessing() and "it was given" in why


def test_our_own_configs_sentence_is_kept() -> None:
    assert choose(Description(preprocessing=MINE, assumed="So it was."))[1] == "So it was."


@pytest.mark.parametrize(
    ("name", "dialect"),
    [("torchvision-v2", "torchvision"), ("timm-100", "timm"), ("tf-slim-1.0-224", "tf-slim")],
)
def test_a_known_file_has_its_publishers_record(name: str, dialect: str) -> None:
    known = catalogue()[name]
    spec = NetworkSpec(classes=known.classes or 1000, size=(224, 224))
    record, why = choose(None, known, dialect, spec)
    assert record == known.published_preprocessing() and name in why


def test_a_known_name_with_another_network_inside_is_not_known() -> None:
    known = catalogue()["keras-1.0-224"]
    assert choose(known=known) == choose()  # three classes
    assert choose(known=known, dialect="onnx", spec=NetworkSpec(size=(160, 160)))[0] == USUAL


def test_a_published_quantised_file_keeps_its_pixels_and_its_crop() -> None:
    known = catalogue()["litert-1.0-224"]
    spec = NetworkSpec(classes=1001, size=(224, 224))
    usual = usual_preprocessing("keras", spec)
    for ends, mean, std in (
        ((-1.0, 0.9921875), 128.0, 128.0),
        ((-127 * 0.007843137718737125, 128 * 0.007843137718737125), 127.0, 127.5),
    ):
        record, _ = choose(Description(input_range=ends), known, "litert", spec, usual)
        assert (record.mean, record.std) == ((mean,) * 3, (std,) * 3)
        assert (record.resize, record.fit) == ((256, 256), "cover")


def test_a_range_of_noise_is_asked_about_unless_the_user_says_it() -> None:
    noise = Description(input_range=(-5.4, 5.25))
    with pytest.raises(DialectError, match=r"-5\.4\.\.5\.25.*preprocessing"):
        choose(noise)
    record, why = choose(noise, preprocessing="-1..1")
    assert record == USUAL and "-1..1 was given" in why


def test_a_given_range_keeps_the_resize_and_a_given_record_brings_its_own() -> None:
    record, _ = choose(usual=published_preprocessing("torchvision", SPEC), preprocessing="0..1")
    assert (record.resize, record.std) == ((183, 183), (255.0,) * 3)
    assert choose(preprocessing=MINE)[0] == MINE
    assert choose(preprocessing="torchvision")[0] == published_preprocessing("torchvision", SPEC)
    record, _ = choose(Description(preprocessing=MINE), preprocessing="0..1")
    assert record == dataclasses.replace(MINE, mean=(0.0,) * 3, std=(255.0,) * 3)


def test_where_the_option_comes_from_is_said() -> None:
    assert "its publisher" in choose(preprocessing=MINE, preprocessing_from="its publisher")[1]
    assert "it was given" in choose(preprocessing=MINE)[1]


@pytest.mark.parametrize("given", ["0..255", "-1..1"])
def test_scaling_inside_and_a_given_range_agree_or_are_refused(given: str) -> None:
    inside = Description(normalisation=RANGES["-1..1"], preprocessing_from="the Rescaling layer r")
    record, _ = choose(inside, preprocessing=given)
    assert record == USUAL
    for other in ("0..1", "torchvision"):
        with pytest.raises(DialectError) as caught:
            choose(inside, preprocessing=other)
        for part in ("the Rescaling layer r", "-1..1", "0..255", "leave it out"):
            assert part in str(caught.value)


@pytest.mark.parametrize(
    ("how", "resize", "fit"), [("stretch", (160, 160), "stretch"), ("cover", (160, 160), "cover")]
)
def test_a_given_resize_replaces_any_other(how: Any, resize: tuple[int, int], fit: str) -> None:
    for said in (Description(), Description(preprocessing=MINE, assumed="So it was.")):
        record, why = choose(said, resize=how)
        assert (record.resize, record.fit) == (resize, fit)
        assert f"the resize {how} was given" in why
    assert choose(Description(preprocessing=MINE), resize=how)[0].mean == MINE.mean


def test_words_hold_at_every_size() -> None:
    for record in (Preprocessing(), MINE, USUAL, Preprocessing().largest()):
        assert words(record) == words(record.at((112, 112)))
    assert "1.14 times" in words(Preprocessing()) and "centre cropped" in words(Preprocessing())
    slim = published_preprocessing("tf-slim", SPEC)
    assert "87.5%" in words(slim) and "stretched" in words(slim)
    assert "grey" in words(published_preprocessing("keras", SPEC.replace(input_channels=1)))


def test_grey_networks_get_the_range_of_one_channel() -> None:
    spec = SPEC.replace(input_channels=1)
    usual = usual_preprocessing("keras", spec)
    assert choose(Description(input_range=(0, 1)), spec=spec, usual=usual)[0].std == (255.0,)
    assert choose(spec=spec, usual=usual, preprocessing="imagenet")[0].channels == 1
