"""Core ML packages against the plain reference, computed by what the saved package says."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.export import coreml
from mobilenetv2.export.job import Options
from mobilenetv2.formats import Precision
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig, Origin

pytest.importorskip("coremltools", reason="coremltools is not installed (extra: export)")
pytestmark = pytest.mark.slow  # its import alone takes seconds

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
    "relu": published("small", numerics=Numerics(activation="relu"), **TINY),
}


def case(spec: NetworkSpec) -> tuple[ModelConfig, NDArray, NDArray]:
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    shape = (3, spec.input_channels, *spec.size)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return ModelConfig.default(spec), x, network(x)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("float16", 1e-2)])
def test_logits_are_those_of_the_plain_reference(
    name: str, precision: Precision, tolerance: float, tmp_path: Path
) -> None:
    config, x, expected = case(SPECS[name])
    path = tmp_path / "m.mlpackage"
    coreml.write(config, random_arrays(config.spec), path, Options(precision))
    engine = coreml.reload(path)
    assert engine.outputs == ("logits",) and not engine.takes_pictures
    found = engine.run(x, "logits")
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= tolerance * max(1.0, np.abs(expected).max())
    assert expected.std() > 0.3
    assert coreml.config_inside(path) == config


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_program_is_what_people_expect(precision: Precision, tmp_path: Path) -> None:
    import coremltools

    spec = NetworkSpec(classes=7, size=(64, 64))
    path = tmp_path / "m.mlpackage"
    config = ModelConfig(
        spec, ModelConfig.default(spec).preprocessing, ModelConfig.default(spec).labels,
        Origin("here", licence="Apache-2.0"),
    )  # fmt: skip
    coreml.write(config, random_arrays(spec), path, Options(precision))
    expected = Counter(conv=52, clip=35, add=10, reduce_mean=1, reshape=1, linear=1)
    if precision == "float16":
        expected["cast"] = 2  # what goes in and what comes out
    assert coreml.reload(path).operators() == expected
    # As others read it: by Apple's own tools, without anything of ours.
    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    description = model.get_spec().description
    (given,), (made,) = description.input, description.output
    assert (given.name, list(given.type.multiArrayType.shape)) == ("input", [1, 3, 64, 64])
    kinds = {end.type.multiArrayType.dataType for end in (given, made)}
    assert made.name == "logits" and kinds == {65568}  # FLOAT32
    assert model.license == "Apache-2.0" and "7 classes" in model.short_description
    assert "mean [123.675" in model.input_description["input"]
    assert json.loads(model.user_defined_metadata["labels"]) == list(config.labels.names)
    weights = sum(array.nbytes for array in random_arrays(spec).values())
    share = 0.5 if precision == "float16" else 1.0
    assert (path / coreml.WEIGHTS).stat().st_size < 1.1 * share * weights


def test_nothing_is_printed(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; import numpy\n"
        "from mobilenetv2.export import coreml\n"
        "from mobilenetv2.export.job import Options\n"
        "from mobilenetv2.spec.published import published\n"
        "from mobilenetv2.spec.records import ModelConfig\n"
        "from mobilenetv2.model.arrays import random_arrays\n"
        "spec = published('small', width=0.1, classes=4)\n"
        "config = ModelConfig.default(spec)\n"
        "coreml.write(config, random_arrays(spec), Path('m.mlpackage'), Options())\n"
        "engine = coreml.reload(Path('m.mlpackage'))\n"
        "engine.run(numpy.zeros((2, 3, *spec.size), numpy.float32), 'logits')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_what_it_cannot_do_is_one_sentence(tmp_path: Path) -> None:
    config, x, _ = case(SPECS["small, grey"])
    path = tmp_path / "m.mlpackage"
    coreml.write(config, random_arrays(config.spec), path, Options())
    engine = coreml.reload(path)
    with pytest.raises(ArtifactError, match=r"m\.mlpackage: it has no features, only logits"):
        engine.run(x, "features")
    with pytest.raises(ArtifactError, match=r"m\.mlpackage: it takes \[1, .*\], not \[1, "):
        engine.run(x[:, :, :20], "logits")
    with pytest.raises(ArtifactError, match=r"none\.mlpackage: not a Core ML package"):
        coreml.reload(tmp_path / "none.mlpackage")
    for part in (coreml.MODEL, coreml.WEIGHTS):
        bad = tmp_path / f"{part.name}-bad.mlpackage"
        shutil.copytree(path, bad)
        damaged = bytearray((bad / part).read_bytes())
        damaged[len(damaged) // 2] ^= 1
        (bad / part).write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"bad\.mlpackage: it was changed or damaged"):
            coreml.reload(bad)
