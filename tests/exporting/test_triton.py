"""Models for Triton: its own schema parses the settings, which are those of the ONNX file."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heads import HEADS, with_head

import mobilenetv2 as mn
from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.exporting.job import Options
from mobilenetv2.exporting.triton import LARGEST_BATCH, reload, write_triton
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

SPEC = published("small", width=0.1, classes=3)
CONFIG = ModelConfig(SPEC, Preprocessing.default(SPEC), Labels(("hat", "two\nlines", "鞋")))


def parsed(place: Path) -> Any:
    """Parse ``config.pbtxt`` with the schema of Triton's own client.

    Its module is loaded alone: the package around it needs grpcio, which nothing else here does.
    """
    client = importlib.util.find_spec("tritonclient")
    if client is None or not client.submodule_search_locations:
        pytest.skip("tritonclient is not installed: the extra 'clients' has it")
    file = Path(client.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec and spec.loader
    schema: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    text_format: Any = pytest.importorskip("google.protobuf.text_format")
    text = (place / "config.pbtxt").read_text("utf-8")
    return text_format.Parse(text, schema.ModelConfig()), schema


def write(folder: Path, config: ModelConfig = CONFIG, **options: Any) -> Path:
    write_triton(config, random_arrays(config.spec), folder / "shoes", Options(**options))
    return folder / "shoes"


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("pictures", [False, True])
def test_the_settings_are_those_of_the_onnx_file(
    tmp_path: Path, precision: Any, pictures: bool
) -> None:
    place = write(tmp_path, precision=precision, pictures=pictures)
    settings, schema = parsed(place)
    assert (settings.name, settings.backend) == ("shoes", "onnxruntime")
    assert settings.max_batch_size == LARGEST_BATCH and settings.HasField("dynamic_batching")
    (given,), (end,) = settings.input, settings.output
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(place / "1" / "model.onnx")
    (taken,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, end.name, end.label_filename) == (taken.name, made.name, "labels.txt")
    assert [list(given.dims), list(end.dims)] == [taken.shape[1:], made.shape[1:]]
    kinds = {"tensor(float)": schema.TYPE_FP32, "tensor(uint8)": schema.TYPE_UINT8}
    assert (given.data_type, end.data_type) == (kinds[taken.type], kinds[made.type])
    assert kinds[taken.type] == (schema.TYPE_UINT8 if pictures else schema.TYPE_FP32)
    x = np.zeros((LARGEST_BATCH, *given.dims), "uint8" if pictures else "float32")
    (found,) = session.run([end.name], {given.name: x})
    assert found.shape == (LARGEST_BATCH, *end.dims)


def test_pictures_of_any_size_have_open_sides(tmp_path: Path) -> None:
    spec = NetworkSpec(width=0.1, size=(48, 64), classes=5)
    settings, _ = parsed(write(tmp_path, ModelConfig.default(spec), any_size=True))
    assert list(settings.input[0].dims) == [3, -1, -1]


@pytest.mark.parametrize("head", HEADS)
def test_there_is_a_label_for_each_output(tmp_path: Path, head: str) -> None:
    config = ModelConfig.default(with_head(head))
    place = write(tmp_path, config)
    settings, _ = parsed(place)
    labels = (place / "labels.txt").read_text("utf-8").splitlines()
    assert list(settings.output[0].dims) == [len(labels)]
    assert labels == list(config.output_names)


def test_a_label_is_one_line(tmp_path: Path) -> None:
    lines = (write(tmp_path) / "labels.txt").read_text("utf-8").splitlines()
    assert lines == ["hat", "two lines", "鞋"]


def test_texts_of_another_model_are_refused(tmp_path: Path) -> None:
    place = write(tmp_path)
    reload(place)
    for name in ("config.pbtxt", "labels.txt"):
        before = (place / name).read_text("utf-8")
        (place / name).write_text(before.replace("hat", "cap").replace("dims", "dims "), "utf-8")
        with pytest.raises(ArtifactError, match=rf"shoes.{name}: not what belongs to shoes"):
            reload(place)
        (place / name).write_text(before, "utf-8")
    place.rename(tmp_path / "boots")
    with pytest.raises(ArtifactError, match=r"boots.config\.pbtxt: not what belongs to boots"):
        reload(tmp_path / "boots")


def test_a_repository_takes_several_models_by_name(tmp_path: Path) -> None:
    for name in ("hats", "coats"):
        store.save(tmp_path / name, CONFIG, random_arrays(SPEC))
        (made,) = mn.export(tmp_path / name, tmp_path / "repository", format="triton")
        assert made.path == tmp_path / "repository" / name
        assert made.verdict is not None and made.verdict.passed
    found = {path.name for path in (tmp_path / "repository").iterdir() if path.is_dir()}
    assert found == {"hats", "coats"}
    with pytest.raises(MobileNetV2Error, match="exists already"):
        mn.export(tmp_path / "hats", tmp_path / "repository", format="triton")
    (tmp_path / "repository" / "hats" / "2").mkdir()  # a version of the user's own
    with pytest.raises(ArtifactError, match=r"hats.2: would be lost"):
        mn.export(tmp_path / "hats", tmp_path / "repository", format="triton", overwrite=True)
    (tmp_path / "repository" / "hats" / "2").rmdir()
    mn.export(tmp_path / "hats", tmp_path / "repository", format="triton", overwrite=True)
