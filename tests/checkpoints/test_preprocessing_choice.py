"""Who is believed about a network's preprocessing, and the sentence that says so."""

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.description import (
    Description,
    ImportOptions,
    published_preprocessing,
    usual_preprocessing,
)
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.checkpoints.input_range import RANGES
from mobilenetv2.checkpoints.preprocessing_choice import choose_preprocessing, words
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.catalogue import Checkpoint, catalogue
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec
from mobilenetv2.spec.published import PUBLISHED
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
    config = dataclasses.replace(graph, preprocessing=MINE, preprocessing_from="")
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
    usual = published_preprocessing("torchvision", SPEC)
    record, _ = choose(usual=usual, preprocessing="0..1")
    assert record == dataclasses.replace(usual, mean=(0.0,) * 3, std=(255.0,) * 3)
    assert record.fit == "cover"
    assert choose(preprocessing=MINE)[0] == MINE
    assert choose(preprocessing="torchvision")[0] == published_preprocessing("torchvision", SPEC)
    record, _ = choose(Description(preprocessing=MINE), preprocessing="0..1")
    assert record == dataclasses.replace(MINE, mean=(0.0,) * 3, std=(255.0,) * 3)


def test_where_the_option_comes_from_is_said() -> None:
    assert "its publisher" in choose(preprocessing=MINE, preprocessing_from="its publisher")[1]
    assert "it was given" in choose(preprocessing=MINE)[1]


def test_teachable_machines_own_code_takes_the_central_square() -> None:
    head = ClassifierSpec(hidden=(HiddenSpec(100),), bias=False)
    spec = SPEC.replace(width=0.35, classifier=head)
    for said in (Description(), Description(input_range=(-1.0, 1.0))):
        record, why = choose(said, spec=spec)
        assert record == dataclasses.replace(USUAL.largest(), interpolation="lanczos")
        assert "Teachable Machine" in why
    record, _ = choose(spec=spec, resize="stretch")
    assert record.fit == "stretch"
    for other in (spec.replace(width=1.0), spec.replace(classifier=ClassifierSpec())):
        assert choose(spec=other)[0] == USUAL


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


# ---------------------------------------------------------------- whole files

PTQ = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
SCALE = 0.007843137718737125
"""Scale of the published file's input."""


def calibrated(source: Path, path: Path, scale: float) -> Path:
    """Writes the published file as if its input was calibrated to another range."""
    content, old = source.read_bytes(), struct.pack("<f", SCALE)
    assert 1 <= content.count(old) <= 2  # the input's, and that of its copy in integers
    path.write_bytes(content.replace(old, struct.pack("<f", scale)))
    return path


def test_a_published_file_is_known_under_any_name_and_another_one_is_not(
    public_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    source = public_folder("published") / PTQ
    mine = tmp_path / "renamed.tflite"
    mine.write_bytes(source.read_bytes())
    known, _ = read_checkpoint(mine)
    assert known.preprocessing == Preprocessing(mean=(127.0,) * 3, std=(127.5,) * 3)
    assert known.origin is not None and "litert-tf2-1.0-224" in known.origin.preprocessing
    other = tmp_path / PTQ  # the name alone says nothing where a checksum is published
    other.write_bytes(source.read_bytes() + b"\0")
    config, _ = read_checkpoint(other)
    assert config.preprocessing == PUBLISHED["keras"].preprocessing.stretched()
    assert (
        config.origin is not None and "the file's metadata says so" in config.origin.preprocessing
    )


def test_a_file_that_was_calibrated_on_noise_is_asked_about(
    public_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    source = public_folder("published") / PTQ
    path = calibrated(source, tmp_path / "noise.tflite", 0.0418)
    path.write_bytes(path.read_bytes().replace(b"TFLITE_METADATA", b"NOBODYS_METADAT"))
    with pytest.raises(DialectError, match=r"noise\.tflite.*-5\.3.*preprocessing='-1\.\.1'"):
        read_checkpoint(path)
    config, arrays = read_checkpoint(path, ImportOptions(preprocessing="-1..1"))
    assert config.preprocessing == PUBLISHED["keras"].preprocessing.stretched()
    expected = read_checkpoint(source)[1]
    assert all(np.array_equal(arrays[name], array) for name, array in expected.items())


@pytest.mark.slow
def test_keras_files_take_what_their_layers_say(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    given = keras.Input((64, 64, 3))
    for name, front, std in (
        ("plain", (), 127.5),
        ("unit", (keras.layers.Rescaling(1 / 255),), 255.0),
        ("crop", (keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 64, -2)), 64.0),
    ):
        x = given
        for layer in front:
            x = layer(x)
        body = keras.applications.MobileNetV2(
            (64, 64, 3), alpha=0.35, weights=None, include_top=False, pooling="avg"
        )
        model = keras.Model(given, keras.layers.Dense(3)(body(x)))
        model.save(tmp_path / f"{name}.keras")
        config, _ = read_checkpoint(tmp_path / f"{name}.keras")
        assert (config.preprocessing.fit, config.preprocessing.resize) == ("stretch", (64, 64))
        assert config.preprocessing.std == pytest.approx((std,) * 3)
        assert config.origin is not None
        assert ("Rescaling" in config.origin.preprocessing) == bool(front)
