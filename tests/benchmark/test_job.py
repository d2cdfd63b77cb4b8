"""The whole measurement, on tiny networks."""

from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.benchmark import job, memory
from mobilenetv2.benchmark.contestant import Contestant, made, of_file
from mobilenetv2.benchmark.job import Job, expected, run, size
from mobilenetv2.benchmark.results import Row
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.images.normalise import engine_input
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5, numerics=Numerics("same", 1e-3))
CONFIG = ModelConfig.default(SPEC)
PICTURES = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("benchmark") / "model"
    store.save(place, CONFIG, random_arrays(SPEC))
    return place


def asked(folder: Path, *contestants: Contestant, calibrated: bool = False) -> Job:
    return Job(
        folder, CONFIG, contestants, PICTURES, np.zeros(6, np.int64),
        PICTURES[::-1] if calibrated else None, threads=1, batches=(1, 4), seconds=0.05,
    )  # fmt: skip


def test_the_reference_is_the_network_itself(folder: Path) -> None:
    network = plain.build(CONFIG, dtype="float64")
    plain.load(network, random_arrays(SPEC))
    wanted = network(engine_input(PICTURES, CONFIG.preprocessing))
    found = expected(asked(folder))
    np.testing.assert_allclose(found, wanted, atol=1e-4 * max(1.0, np.abs(wanted).max()))


@pytest.mark.slow
def test_float_and_int8_are_measured_side_by_side(folder: Path) -> None:
    contestants = made(["onnxruntime"], ["float32", "int8"])
    exact, int8 = run(asked(folder, *contestants, calibrated=True))
    truth = expected(asked(folder)).argmax(1)
    for row in (exact, int8):
        assert row.error == "" and row.agreement is not None and row.agreement.photos == 6
        assert [speed.batch for speed in row.speeds] == [1, 4]
        assert all(sum(speed.seconds) >= 0.05 and speed.first > 0 for speed in row.speeds)
        assert row.load and row.memory and row.memory_after_load
        assert row.memory >= row.memory_after_load > 10e6
    assert exact.agreement and exact.agreement.same == 6 and exact.agreement.difference < 1e-4
    assert exact.agreement.right == int((truth == 0).sum())
    assert int8.agreement and 0 < int8.agreement.difference < 10
    assert exact.bytes and int8.bytes and int8.bytes < exact.bytes / 1.5


def test_what_fails_has_its_error_in_its_row_and_the_others_go_on(
    folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    gone = Contestant("onnxruntime", "onnx", "?", tmp_path / "gone.onnx")
    good, bad, absent = run(
        asked(folder, *made(["onnxruntime"], ["float32"]), *of_file(broken, ["onnxruntime"]), gone)
    )
    assert good.error == "" and good.agreement is not None
    assert str(broken) in bad.error and bad.agreement is None and not bad.speeds
    assert "gone.onnx" in absent.error


def test_int8_needs_photos_to_calibrate_on(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="int8 needs photos to calibrate on"):
        run(asked(folder, *made(["onnxruntime"], ["int8"])))


def test_nobody_is_started_without_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: job.LEAST_MEMORY - 1)
    (row,) = run(asked(folder, *made(["onnxruntime"], ["float32"])))
    assert "1074 MB of memory are free" in row.error and not row.speeds


def test_an_exported_file_is_its_own_reference(folder: Path, tmp_path: Path) -> None:
    who = made(["onnxruntime"], ["float16"])[0]
    path = job.write(asked(folder), who, tmp_path / "made", {})
    (row,) = run(asked(path, *of_file(path, ["onnxruntime"])))
    assert row.error == "" and row.agreement and row.agreement.difference == 0.0


def test_the_size_is_that_of_all_its_files(tmp_path: Path) -> None:
    for name, count in (("m.xml", 5), ("m.bin", 7), ("n.bin", 100), ("m.onnx", 3)):
        (tmp_path / name).write_bytes(b"x" * count)
    (tmp_path / "f" / "deep").mkdir(parents=True)
    (tmp_path / "f" / "deep" / "w").write_bytes(b"x" * 11)
    (tmp_path / "f" / "g").write_bytes(b"x" * 2)
    assert size(tmp_path / "m.xml", "openvino") == 12
    assert size(tmp_path / "m.onnx", "onnx") == 3
    assert size(tmp_path / "f", "savedmodel") == 13
    (tmp_path / "m.ncnn.param").write_bytes(b"x")
    (tmp_path / "m.ncnn.bin").write_bytes(b"xx")
    assert size(tmp_path / "m.ncnn.param", "ncnn") == 3


def test_a_row_begins_empty() -> None:
    row = Row(Contestant("litert", "litert", "int8"))
    assert row.error == "" and row.agreement is None and row.speed(1) is None
