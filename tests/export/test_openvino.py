"""OpenVINO files: the graph that is expected, and the answers of the plain reference."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import SpecError, require
from mobilenetv2.export.job import Options
from mobilenetv2.export.openvino import reload, write
from mobilenetv2.export.verify import Reference
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig

pytest.importorskip("openvino", reason="openvino is not installed (extra: openvino)")

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": NetworkSpec(size=(48, 64), **TINY),
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
}
OPTIONS = [
    Options(), Options("float16"), Options(pictures=True), Options("float16", pictures=True),
    Options(batch=2),
]  # fmt: skip
FULL = {"Convolution": 35, "GroupConvolution": 17, "Clamp": 35, "ReduceMean": 1, "MatMul": 1}
ADDITIONS = 52 + 1 + 10
"""Of biases, and of shortcuts."""


def photos(spec: NetworkSpec, count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, *spec.size, spec.input_channels), np.uint8)


def operators(path: Path) -> Counter[str]:
    openvino: Any = require("openvino")
    model = openvino.Core().read_model(path)
    unseen = {"Parameter", "Result", "Constant"}
    return Counter(op.get_type_name() for op in model.get_ops() if op.get_type_name() not in unseen)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_answers_as_the_plain_reference(tmp_path: Path, name: str, options: Options) -> None:
    spec = SPECS[name]
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    write(config, arrays, tmp_path / "m.xml", options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bin", "m.xml"]
    engine = reload(tmp_path / "m.xml", 1)
    assert (engine.outputs, engine.takes_pictures) == (("logits",), options.pictures)
    compared = Reference(config, arrays, photos(spec, 3)).compare(engine, options.precision)
    assert compared.passed and compared.deviation > 0.5, compared


@pytest.mark.slow
def test_the_operators_of_the_whole_network(tmp_path: Path) -> None:
    spec = NetworkSpec()
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    path = tmp_path / "m.xml"
    write(config, arrays, path, Options())
    whole = path.with_suffix(".bin").stat().st_size
    found = operators(path)
    assert found.pop("Reshape") == 1
    assert found == FULL | {"Add": ADDITIONS}
    compared = Reference(config, arrays, photos(spec, 2)).compare(reload(path), "float32")
    assert compared.passed, compared
    # Pictures: turned and made floats once; the mean is added, 1 / std is in the first weights.
    write(config, arrays, path, Options(pictures=True))
    found = operators(path)
    assert found.pop("Reshape") == 1
    assert found == FULL | {"Add": ADDITIONS + 1, "Transpose": 1, "Convert": 1}
    write(config, arrays, path, Options("float16"))
    assert path.with_suffix(".bin").stat().st_size < 0.51 * whole
    assert set(operators(path)) == {*FULL, "Add", "Reshape", "Convert"}


def test_any_size(tmp_path: Path) -> None:
    spec = SPECS["symmetric"]
    write(
        ModelConfig.default(spec), random_arrays(spec), tmp_path / "m.xml", Options(any_size=True)
    )
    engine = reload(tmp_path / "m.xml")
    reference = plain.build(spec, dtype="float64")
    plain.load(reference, random_arrays(spec))
    for size in ((48, 64), (65, 33), (32, 96)):
        x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
        expected = plain.intermediates(reference, x)["logits"]
        found = engine.run(x.transpose(0, 3, 1, 2), "logits")
        assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    other = SPECS["same, odd"]
    config = ModelConfig.default(other)
    with pytest.raises(SpecError, match="'same' padding depends on the picture's size"):
        write(config, random_arrays(other), tmp_path / "n.xml", Options(any_size=True))


def test_the_same_network_gives_the_same_file(tmp_path: Path) -> None:
    config = ModelConfig.default(SPECS["symmetric"])
    for options in (Options(), Options("float16", pictures=True)):
        for name in "ab":
            write(config, random_arrays(config.spec), tmp_path / f"{name}.xml", options)
        for suffix in (".xml", ".bin"):
            first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
            assert first == second


def test_other_tools_find_what_they_look_for(tmp_path: Path) -> None:
    spec = SPECS["symmetric"]
    names = ("hot dog", "t-shirt", "Ä\tb", "", "x")
    config = ModelConfig(spec, ModelConfig.default(spec).preprocessing, Labels(names))
    openvino: Any = require("openvino")

    def info(options: Options) -> dict[str, str]:
        write(config, random_arrays(spec), tmp_path / "m.xml", options)
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
