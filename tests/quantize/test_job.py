"""int8 files that are judged before they are there."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.evaluate.matching import match
from mobilenetv2.model import store
from mobilenetv2.model.folding import fold
from mobilenetv2.quantize import calibration_set, job, post_training
from mobilenetv2.quantize import onnx as writer
from mobilenetv2.quantize.judgement import Judge
from mobilenetv2.quantize.scheme import Scheme
from mobilenetv2.runtime.artifact import load
from mobilenetv2.runtime.engine import start

FACTS = {"calibrated_on": "shapes"}


@pytest.fixture(scope="module")
def made(model: Path, photos: Path) -> job.Job:
    config, arrays = store.load(model)
    found = calibration_set.choose(open_dataset(photos), config.preprocessing, 12)
    outputs = match(found.judged.classes, config.labels, "photos")
    judge = Judge(found.judged, outputs, config.preprocessing, start(load(model)))
    scheme = post_training.quantise(config, arrays, found.pictures)
    return job.Job(scheme, fold(config.spec, arrays), found.pictures, judge, FACTS)


def test_a_file_that_answers_alike_is_kept_with_its_judgement(
    made: job.Job, tmp_path: Path
) -> None:
    # A random network's answers are close calls, so it may lose; chance would be a third.
    forced = dataclasses.replace(made, force=True)
    (found,) = job.run(forced, {"onnx": tmp_path / "m.onnx"})
    assert found.error == "" and found.judgement and found.judgement.agreement > 0.6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.comparison.json"]
    record = json.loads((tmp_path / "m.onnx.comparison.json").read_text())
    assert record["precision"] == "int8" and record["calibrated_on"] == "shapes"
    assert record["agreement"] == found.judgement.agreement
    # It is a model like any other, and smaller than a third of the float one.
    assert load(tmp_path / "m.onnx").config == made.scheme.config


def test_one_that_loses_too_much_is_not_kept_unless_forced(
    made: job.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The judge's own reference is right everywhere, so that what is lost is what changed.
    judge = made.judge
    monkeypatch.setattr(judge, "truth", judge.expected.argmax(1))
    write = writer.write

    def wrong(scheme: Any) -> bytes:
        weight, bias = scheme.folded["classifier"]
        folded = scheme.folded | {"classifier": (-weight, -bias)}
        return write(type(scheme)(scheme.config, folded, scheme.ranges))

    monkeypatch.setattr(writer, "write", wrong)
    (found,) = job.run(made, {"onnx": tmp_path / "m.onnx"})
    assert "points of top-1 where at most 2.0 are allowed, so it was not kept" in found.error
    assert list(tmp_path.iterdir()) == []
    forced = dataclasses.replace(made, force=True)
    (found,) = job.run(forced, {"onnx": tmp_path / "m.onnx"})
    assert found.error == "" and (tmp_path / "m.onnx").is_file()
    assert json.loads((tmp_path / "m.onnx.comparison.json").read_text())["passed"] is False


def test_names_of_files(tmp_path: Path) -> None:
    assert job.places(["onnx"], tmp_path / "m.onnx") == {"onnx": tmp_path / "m.onnx"}
    assert job.places(["onnx", "openvino"], tmp_path) == {
        "onnx": tmp_path / "model-int8.onnx", "openvino": tmp_path / "model-int8.xml",
    }  # fmt: skip


def test_int8_weights_are_in_the_file(made: job.Job, tmp_path: Path) -> None:
    import onnx

    list(job.run(dataclasses.replace(made, force=True), {"onnx": tmp_path / "m.onnx"}))
    constants = onnx.load_from_string((tmp_path / "m.onnx").read_bytes()).graph.initializer
    weights = [t for t in constants if t.name.endswith(".weight.integers")]
    assert len(weights) == len(made.scheme.folded)
    assert {t.data_type for t in weights} == {onnx.TensorProto.INT8}
    assert np.prod(weights[-1].dims) == made.scheme.folded["classifier"][0].size


@pytest.mark.parametrize("bits", [7, 8])
def test_a_scheme_comes_back_as_it_was(made: job.Job, tmp_path: Path, bits: int) -> None:
    given = dataclasses.replace(made.scheme, weight_bits=bits, per_channel=bits == 8)
    job.save_scheme(given, tmp_path / "s.npz")
    found = job.load_scheme(tmp_path / "s.npz", given.config)
    assert list(found.folded) == list(given.folded)  # in the order in which they run
    for field in dataclasses.fields(Scheme):
        if field.name != "folded":
            assert getattr(found, field.name) == getattr(given, field.name), field.name
    assert writer.write(found) == writer.write(given)
