"""torch.export's files against the plain reference, and what is inside them."""

import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting import pt2
from mobilenetv2.exporting.job import Options
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
}


def case(spec: NetworkSpec) -> tuple[ModelConfig, NDArray, NDArray, NDArray]:
    """The config, pictures, the same normalised, and the reference's logits."""
    config = ModelConfig.default(spec)
    shape = (3, *spec.size, spec.input_channels)
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    x = engine_input(pictures, config.preprocessing)
    return config, pictures, x, network(x)


def test_any_number_of_pictures(tmp_path: Path) -> None:
    config, _, x, expected = case(SPECS["small, grey"])
    pt2.write_pt2(config, random_arrays(config.spec), tmp_path / "m.pt2", Options())
    engine = pt2.reload(tmp_path / "m.pt2")
    for count in (3, 1):
        np.testing.assert_allclose(engine.run(x[:count], "logits"), expected[:count], atol=1e-4)


def test_the_graph_is_what_people_expect_and_the_config_is_inside(tmp_path: Path) -> None:
    spec = NetworkSpec(classes=7, size=(64, 64))
    config = ModelConfig.default(spec)
    pt2.write_pt2(config, random_arrays(spec), tmp_path / "m.pt2", Options())
    assert pt2.config_inside(tmp_path / "m.pt2") == config
    calls = [n for n in torch.export.load(tmp_path / "m.pt2").graph.nodes if n.op != "placeholder"]
    assert Counter(str(n.target) for n in calls if n.op == "call_function") == {
        "aten.conv2d.default": 52, "aten.hardtanh.default": 35, "aten.add.Tensor": 10,
        "aten.adaptive_avg_pool2d.default": 1, "aten.flatten.using_ints": 1,
        "aten.linear.default": 1,
    }  # fmt: skip
    weights = sum(array.nbytes for array in random_arrays(spec).values())
    assert (tmp_path / "m.pt2").stat().st_size < 1.1 * weights


def test_threads_are_the_engines_own(tmp_path: Path) -> None:
    config, _, x, expected = case(SPECS["small, grey"])
    pt2.write_pt2(config, random_arrays(config.spec), tmp_path / "m.pt2", Options())
    before = torch.get_num_threads()
    engine = pt2.reload(tmp_path / "m.pt2", before + 1)
    np.testing.assert_allclose(engine.run(x, "logits"), expected, atol=1e-4)
    assert torch.get_num_threads() == before


def test_rounded_filters_keep_their_sums() -> None:
    spec = SPECS["same, odd"]
    folded = fold(spec, random_arrays(spec))
    for name, (weight, _) in folded.items():
        found = pt2.carried(weight)
        made = torch.from_numpy(found)
        assert made.shape == weight.shape
        assert torch.equal(made, made.bfloat16().float())
        step = 2 * torch.finfo(torch.bfloat16).eps * np.abs(weight).max()
        assert np.abs(found - weight).max() <= step
        if name.endswith("depthwise"):
            nearest = torch.from_numpy(weight).bfloat16().float().numpy()
            before, after = (np.abs((w - weight).sum((2, 3))).mean() for w in (nearest, found))
            assert after < 0.2 * before


@pytest.mark.slow
def test_it_runs_without_this_package(tmp_path: Path) -> None:
    config, _, x, expected = case(SPECS["small, grey"])
    pt2.write_pt2(config, random_arrays(config.spec), tmp_path / "m.pt2", Options())
    np.save(tmp_path / "x.npy", x)
    program = (
        "import json, sys, numpy, torch\n"
        "program = torch.export.load('m.pt2').module()\n"
        "logits = program(torch.from_numpy(numpy.load('x.npy')))\n"
        "assert not any(name.startswith('mobilenetv2') for name in sys.modules)\n"
        "print(json.dumps(logits.tolist()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True
    )
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-4)


def test_what_it_cannot_do_is_one_sentence(tmp_path: Path) -> None:
    config, _, x, _ = case(SPECS["small, grey"])
    path = tmp_path / "m.pt2"
    pt2.write_pt2(config, random_arrays(config.spec), path, Options())
    engine = pt2.reload(path)
    with pytest.raises(ArtifactError, match=r"m\.pt2: PyTorch cannot run it"):
        engine.run(x[:, :, :20], "logits")
    (tmp_path / "bad.pt2").write_bytes(b"no zip")
    with pytest.raises(ArtifactError, match=r"bad\.pt2: damaged zip file"):
        pt2.reload(tmp_path / "bad.pt2")
    damaged = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        weight = next(n for n in archive.infolist() if n.filename.endswith("weight_5"))
    damaged[weight.header_offset + 200] ^= 1
    (tmp_path / "bad.pt2").write_bytes(damaged)
    with pytest.raises(ArtifactError, match=r"bad\.pt2: damaged zip file"):
        pt2.reload(tmp_path / "bad.pt2")
    with zipfile.ZipFile(tmp_path / "other.pt2", "w") as archive:
        archive.writestr("other/models/model.json", "{}")
    with pytest.raises(ArtifactError, match=r"other\.pt2: it has no preprocessing"):
        pt2.config_inside(tmp_path / "other.pt2")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
def test_a_full_disk_is_an_error_that_can_be_caught() -> None:
    spec = SPECS["small, grey"]
    config = ModelConfig.default(spec)
    with pytest.raises(OSError, match="No space left"):
        pt2.write_pt2(config, random_arrays(spec), Path("/dev/full"), Options())
