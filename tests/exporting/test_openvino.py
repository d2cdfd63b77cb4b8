"""OpenVINO files: the graph that is expected, and what other tools look for."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from heads import with_head

from mobilenetv2.errors import require
from mobilenetv2.exporting.job import Options, reload
from mobilenetv2.exporting.openvino import model_info, write_openvino
from mobilenetv2.exporting.verify import Reference
from mobilenetv2.formats import FORMATS
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig

pytest.importorskip("openvino", reason="openvino is not installed (extra: openvino)")

SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5)
FULL = {"Convolution": 35, "GroupConvolution": 17, "Clamp": 35, "ReduceMean": 1, "MatMul": 1}
ADDITIONS = 52 + 1 + 10
"""Of biases, and of shortcuts."""


def operators(path: Path) -> Counter[str]:
    openvino: Any = require("openvino")
    model = openvino.Core().read_model(path)
    unseen = {"Parameter", "Result", "Constant"}
    return Counter(op.get_type_name() for op in model.get_ops() if op.get_type_name() not in unseen)


@pytest.mark.slow
def test_the_operators_of_the_whole_network(tmp_path: Path) -> None:
    spec = NetworkSpec()
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    path = tmp_path / "m.xml"
    write_openvino(config, arrays, path, Options())
    whole = path.with_suffix(".bin").stat().st_size
    found = operators(path)
    assert found.pop("Reshape") == 1
    assert found == FULL | {"Add": ADDITIONS}
    pictures = sample_pictures(config.preprocessing, 2)
    compared = Reference(config, arrays, pictures).compare(
        reload(FORMATS["openvino"], path), "float32"
    )
    assert compared.passed, compared
    # Pictures: turned and made floats once; the mean is added, 1 / std is in the first weights.
    write_openvino(config, arrays, path, Options(pictures=True))
    found = operators(path)
    assert found.pop("Reshape") == 1
    assert found == FULL | {"Add": ADDITIONS + 1, "Transpose": 1, "Convert": 1}
    write_openvino(config, arrays, path, Options("float16"))
    assert path.with_suffix(".bin").stat().st_size < 0.51 * whole
    assert set(operators(path)) == {*FULL, "Add", "Reshape", "Convert"}


def test_other_tools_find_what_they_look_for(tmp_path: Path) -> None:
    spec = SPEC
    names = ("hot dog", "t-shirt", "Ä\tb", "", "x")
    config = ModelConfig(spec, ModelConfig.default(spec).preprocessing, Labels(names))
    openvino: Any = require("openvino")

    def info(options: Options) -> dict[str, str]:
        write_openvino(config, random_arrays(spec), tmp_path / "m.xml", options)
        model = openvino.Core().read_model(tmp_path / "m.xml")
        assert openvino.layout_helpers.batch_idx(model.input().node.get_layout()) == 0
        found: dict[str, str] = model.get_rt_info("model_info").value
        return found

    record = config.preprocessing
    expected = {
        "model_type": "Classification", "labels": "hot_dog t-shirt Ä_b _ x", "resize_type": "crop",
        "reverse_input_channels": "True",
    }  # fmt: skip
    assert info(Options(pictures=True)) == expected | {"layout": "input:NHWC"}
    found = info(Options())
    for key, values in (("mean_values", record.mean), ("scale_values", record.std)):
        assert tuple(map(float, found.pop(key).split())) == values
    assert found == expected | {"layout": "input:NCHW"}


@pytest.mark.parametrize(
    ("head", "labels"), [("sigmoid", "class_0 class_1 class_2"), ("one logit", "class_1")]
)
def test_sigmoids_are_multi_label_and_each_output_has_one_label(head: str, labels: str) -> None:
    # Model API takes a softmax over the outputs otherwise.
    found = model_info(ModelConfig.default(with_head(head)), "NCHW")
    assert (found["multilabel"], found["labels"]) == ("True", labels)
