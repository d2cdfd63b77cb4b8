"""``--preprocessing NAME|FILE``: each name and kind of file, and what is wrong with others."""

import json
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.checkpoints.input_range import RANGES
from mobilenetv2.checkpoints.preprocessing_option import read_preprocessing
from mobilenetv2.documents import LARGEST_JSON
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.mapping import to_mapping
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import ModelConfig, Preprocessing

RECORD = Preprocessing((96, 96), (110, 110), interpolation="bicubic")


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("name", RANGES)
def test_a_range_stretches(name: str) -> None:
    record = read_preprocessing(name, (96, 128))
    assert (record.size, record.resize, record.fit) == ((96, 128), (96, 128), "stretch")
    assert (record.mean, record.std) == RANGES[name]
    assert read_preprocessing(name, (96, 96), 1).channels == 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_publishers_name_is_its_own_record(name: str) -> None:
    record = read_preprocessing(name, (192, 192))
    assert (record.mean, record.std) == (
        PUBLISHED[name].preprocessing.mean, PUBLISHED[name].preprocessing.std,
    )  # fmt: skip
    if "keras" not in name:
        assert record == PUBLISHED[name].at((192, 192))
    else:  # as Keras' documentation feeds its models
        assert (record.fit, record.resize) == ("stretch", (192, 192))
    assert read_preprocessing(name, (192, 192), 1).channels == 1


def test_the_fields_of_a_record_are_enough(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", to_mapping(RECORD))
    assert read_preprocessing(path, (96, 96)) == RECORD
    assert read_preprocessing(str(path), (192, 192)) == RECORD.at((192, 192))
    short = written(tmp_path / "b.json", {"mean": [0, 0, 0], "std": [255, 255, 255]})
    assert read_preprocessing(short, (64, 64)) == read_preprocessing("0..1", (64, 64))


@pytest.mark.parametrize(
    "content",
    [
        {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        {"mean": [0.5], "std": [0.5]},
        {"mean": [0, 0, 0], "std": [0.5, 0.5, 0.5]},
        {"mean": [0.485, 0.456, 0.406]},
        {"std": [0.229, 0.224, 0.225]},
    ],
    ids=str,
)
def test_numbers_for_values_of_0_to_1_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DialectError, match=r"a\.json: .*values of 0 to 255; multiply by 255"):
        read_preprocessing(written(tmp_path / "a.json", content), (96, 96))


@pytest.mark.parametrize(
    "content",
    [
        {"mean": [0, 0, 0], "std": [1, 1, 1]},
        {"mean": [123.7, 116.3, 103.5], "std": [1, 1, 1]},
        {"std": [1, 1, 1]},
        {"interpolation": "bicubic"},
    ],
    ids=str,
)
def test_numbers_for_pixels_are_taken(tmp_path: Path, content: Any) -> None:
    record = read_preprocessing(written(tmp_path / "a.json", content), (96, 96))
    assert all(list(getattr(record, name)) == value for name, value in content.items()
               if isinstance(value, list))  # fmt: skip


def test_a_model_folder_and_its_config(tmp_path: Path) -> None:
    config = ModelConfig.default(NetworkSpec(classes=2, size=(96, 96)))
    (tmp_path / "config.json").write_text(config.to_json())
    for given in (tmp_path, tmp_path / "config.json"):
        assert read_preprocessing(given, (96, 96)) == config.preprocessing


def test_hugging_faces_and_timms_files(tmp_path: Path) -> None:
    theirs = {
        "do_resize": True, "size": {"shortest_edge": 128}, "do_center_crop": True,
        "crop_size": {"height": 112, "width": 112}, "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3, "rescale_factor": 1 / 255, "resample": 3,
    }  # fmt: skip
    written(tmp_path / "preprocessor_config.json", theirs)
    expected = Preprocessing(
        (112, 112), (128, 128), "cover", 1.0, "bicubic", (127.5,) * 3, (127.5,) * 3
    )
    assert read_preprocessing(tmp_path, (112, 112)) == expected
    unresized = written(tmp_path / "b.json", {**theirs, "do_resize": False})
    assert read_preprocessing(unresized, (112, 112)) == expected.unresized()
    timm = {
        "architecture": "resnet18", "model_args": {"block_args": 1},
        "pretrained_cfg": {
            "input_size": [3, 160, 160], "crop_pct": 0.8, "interpolation": "bilinear",
            "mean": [0.0] * 3, "std": [1.0] * 3,
        },
    }  # fmt: skip
    record = read_preprocessing(written(tmp_path / "timm.json", timm), (160, 160))
    assert (record.resize, record.mean, record.std) == ((200, 200), (0.0,) * 3, (255.0,) * 3)


def test_equal_channels_serve_grey_networks_and_others_are_refused(tmp_path: Path) -> None:
    same = written(tmp_path / "same.json", {"mean": [9.0] * 3, "std": [8.0] * 3})
    assert read_preprocessing(same, (32, 32), 1).mean == (9.0,)
    with pytest.raises(DialectError, match=r"colour\.json.*3 channels.*takes 1"):
        read_preprocessing(written(tmp_path / "colour.json", to_mapping(RECORD)), (96, 96), 1)


@pytest.mark.parametrize(
    ("name", "hint"), [("kerass", "keras"), ("0-1", "0..1"), ("torch-vision", "torchvision")]
)
def test_an_unknown_name_is_told_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(DialectError) as caught:
        read_preprocessing(name, (224, 224))
    assert repr(name) in str(caught.value) and hint in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"architectures": ["X"]}, "no preprocessing"),
        ({"mean": [1], "std": [0]}, "std"),
        ({"mean": "x"}, "mean"),
        ({"mean": [1, 2, 3], "sdt": [1, 2, 3]}, "sdt"),
        ({"preprocessing": 3}, "preprocessing"),
        ({"preprocessing": {"size": [9999, 1]}}, "9999"),
        ({"image_mean": "x"}, "image_mean"),
        ({"do_resize": False, "rescale_factor": 0}, "rescale_factor"),
        ({"mean": [10**400] * 3}, "mean"),
        ({"pretrained_cfg": {"input_size": 3}}, "input_size"),
        ([1], "not a JSON object"),
        ({}, "no preprocessing"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: Any, message: str) -> None:
    path = written(tmp_path / "a.json", content)
    with pytest.raises(DialectError) as caught:
        read_preprocessing(path, (224, 224))
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[" * 100_000, b"pickle"], ids=["none", "bytes", "deep", "text"]
)
def test_what_is_not_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DialectError, match=r"a\.json: not JSON"):
        read_preprocessing(path, (224, 224))


def test_a_folder_without_a_config_and_a_large_file(tmp_path: Path) -> None:
    with pytest.raises(DialectError, match=r"without config\.json or preprocessor_config\.json"):
        read_preprocessing(tmp_path, (224, 224))
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(LARGEST_JSON + 1)
    with pytest.raises(DialectError, match="larger than 16,777,216 bytes"):
        read_preprocessing(tmp_path / "a.json", (224, 224))
