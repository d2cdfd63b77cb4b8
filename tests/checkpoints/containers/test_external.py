"""Constants in files beside an ONNX file: by name, inside its folder, and no more than declared."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mobilenetv2.checkpoints.containers.external import ExternalData
from mobilenetv2.checkpoints.containers.onnx import parse_onnx, read_onnx
from mobilenetv2.errors import WeightsError

WEIGHT = np.arange(36, dtype=np.float32).reshape(4, 1, 3, 3)


def written(path: Path, **said: Any) -> Path:
    """A graph whose weight is in another file, as ``said``."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=4)
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHT.shape)
    weight.data_location = TensorProto.EXTERNAL
    for key, value in said.items():
        weight.external_data.add(key=key, value=str(value))
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], [weight]))
    path.write_bytes(model.SerializeToString())
    return path


def test_what_onnx_itself_writes_beside_is_read(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], group=4)]
    bias = np.arange(4, dtype=np.float16)
    constants = [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(bias, "b")]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], constants))
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.onnx.data",
              size_threshold=0)  # fmt: skip
    graph = read_onnx(tmp_path / "net.onnx")
    np.testing.assert_array_equal(graph.constants["w"], WEIGHT, strict=True)
    np.testing.assert_array_equal(graph.constants["b"], bias.astype(np.float32), strict=True)


def test_an_offset_and_a_folder_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"1234" + WEIGHT.tobytes())
    path = written(tmp_path / "net.onnx", location="data/w.bin", offset=4, length=WEIGHT.nbytes)
    np.testing.assert_array_equal(read_onnx(path).constants["w"], WEIGHT)
    with pytest.raises(WeightsError, match="'w' is in another file"):
        parse_onnx(path.read_bytes())  # without a folder nothing is opened


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"location": "/etc/passwd"}, "not in this file's folder"),
        ({"location": "../w.bin"}, "not in this file's folder"),
        ({"location": "a/../../w.bin"}, "not in this file's folder"),
        ({"location": r"..\w.bin"}, "not in this file's folder"),
        ({"location": r"C:\w.bin"}, "not in this file's folder"),
        ({"location": "link.bin"}, "a link to another folder"),
        ({"location": ""}, "not in this file's folder"),
        ({}, "not in this file's folder"),
        ({"location": "absent.bin"}, "'absent.bin', which is not there; put it beside"),
        ({"location": "short.bin"}, "short.bin, .* has 100 bytes where 144 are needed"),
        ({"location": "whole.bin", "offset": 1}, "145 are needed"),
        ({"location": "whole.bin", "offset": 2**70}, "damaged"),
        ({"location": "whole.bin", "offset": -1}, "damaged"),
        ({"location": "whole.bin", "length": 10}, "has 10 bytes in whole.bin"),
    ],
)
def test_what_lies_elsewhere_or_is_too_short_is_refused(
    said: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for place in (tmp_path / "w.bin", folder / "whole.bin"):
        place.write_bytes(WEIGHT.tobytes())
    (folder / "short.bin").write_bytes(bytes(100))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    path = written(folder / "net.onnx", **said)
    with pytest.raises(WeightsError, match=rf"net\.onnx: .*{message}"):
        read_onnx(path)


def test_many_constants_cannot_read_one_file_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(1000))
    beside = ExternalData(tmp_path)
    for _ in range(2):
        assert beside.read("w", [("location", "w.bin")], 1000) == bytes(1000)
    with pytest.raises(WeightsError, match="declared larger than the file"):
        beside.read("w", [("location", "w.bin")], 1)
