"""Sentences about files that cannot be read, in every place where one is given."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign_networks import Foreign
from onnx import TensorProto, helper

import mobilenetv2 as mn
from mobilenetv2.checkpoints.containers.kinds import sentence
from mobilenetv2.checkpoints.unreadable import complaint, explained
from mobilenetv2.errors import MobileNetV2Error, WeightsError

CASES = {
    "a.onnx": (b"version https://git-lfs.github.com/spec/v1\n", "lfs"),
    "a.tflite": (b"<!DOCTYPE html><html></html>", "page"),
    "a.pth": (b"<!DOCTYPE html><html></html>", "page"),
    "a.h5": (b"", "empty"),
    "a.caffemodel": (b"\x0a\x05", "caffe"),
    "a.mlmodel": (b"\x08\x04", "coreml"),
    "a.pb": (b"\n\x0f", "frozen"),
    "a.gguf": (b"GGUF", "gguf"),
    "model.json": (b'{"format": "graph-model", "modelTopology": {}}', "tfjs-graph"),
    "a.safetensors": (b"\x10\x00\x00\x00\x00\x00\x00\x00{" + bytes(3), "incomplete"),
}


@pytest.mark.parametrize("name", CASES)
def test_imports_and_models_say_the_same(name: str, tmp_path: Path) -> None:
    data, key = CASES[name]
    path = tmp_path / name
    path.write_bytes(data)
    calls: list[Callable[[], object]] = [
        lambda: mn.import_checkpoint(path), lambda: mn.Classifier(path),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(MobileNetV2Error) as caught:
            call()
        assert str(path) in str(caught.value) and sentence(key) in str(caught.value)
        assert "damaged" not in str(caught.value)


def test_a_folder_of_tensorflow_is_said_on_import_and_prediction(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra: keras)")
    (tmp_path / "saved_model.pb").write_bytes(b"\x08")
    for call in (mn.import_checkpoint, mn.Classifier):
        with pytest.raises(MobileNetV2Error) as caught:
            call(tmp_path)
        assert sentence("savedmodel") in str(caught.value)


def test_a_detector_is_said_on_import_and_prediction(tmp_path: Path) -> None:
    def value(name: str, *shape: int) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [helper.make_node("NonMaxSuppression", ["boxes", "scores"], ["found"])], "detector",
        [value("picture", 1, 3, 32, 32)], [value("found", 1, 10, 4)],
    )  # fmt: skip
    path = tmp_path / "yolo.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    for call in (mn.import_checkpoint, mn.Classifier):
        with pytest.raises(MobileNetV2Error, match=r"yolo\.onnx: an object detector"):
            call(path)


def test_what_is_read_or_ours_keeps_its_own_error(tmp_path: Path) -> None:
    error = WeightsError("its own")
    path = Foreign().write(tmp_path / "net.onnx")
    assert complaint(path) is None and explained(path, error) is error
    assert complaint(tmp_path / "none") is None
    (tmp_path / "net.mnn").write_bytes(b"\x20\x00")
    assert complaint(tmp_path / "net.mnn") == sentence("mnn")
    assert explained(tmp_path / "net.mnn", error, exported=True) is error


def test_programs_of_pytorch_are_not_called_damaged(tmp_path: Path) -> None:
    for member, key in (("m/constants.pkl", "torchscript"), ("m/archive_format", "pt2")):
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
            archive.writestr(member, b"\x80\x02}.")
        assert complaint(tmp_path / "a.pt") == sentence(key)
