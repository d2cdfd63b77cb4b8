"""int8 files that are judged before they are there."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.errors import ArtifactError
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.exporting.job import make_files
from mobilenetv2.formats import FORMATS, OF_INT8
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model import store
from mobilenetv2.model.folding import fold
from mobilenetv2.quantization import calibration_set, job, post_training
from mobilenetv2.quantization.job import Judge, Judgement
from mobilenetv2.quantization.scheme import Scheme, load_scheme, save_scheme
from mobilenetv2.runtime.engines.engine import Engine, Output
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Preprocessing

FACTS = {"calibrated_on": "shapes"}


@pytest.fixture(scope="module")
def made(model: Path, photos: Path) -> job.Quantiser:
    config, arrays = store.load(model)
    found = calibration_set.choose(open_dataset(photos), config.preprocessing, 12)
    outputs = match(found.judged.classes, config.labels, "photos")
    judge = Judge(found.judged, outputs, config.preprocessing, create_engine(load_artifact(model)))
    scheme = post_training.quantise(config, arrays, found.pictures)
    return job.Quantiser(scheme, fold(config.spec, arrays), found.pictures, judge, FACTS)


def test_a_file_that_answers_alike_is_kept_with_its_judgement(
    made: job.Quantiser, tmp_path: Path
) -> None:
    # A random network's answers are close calls, so it may lose; chance would be a third.
    forced = dataclasses.replace(made, force=True)
    (found,) = make_files(forced, job.requests([], tmp_path / "m.onnx"))
    assert found.error == "" and found.verdict and found.verdict.agreement > 0.6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.comparison.json"]
    record = json.loads((tmp_path / "m.onnx.comparison.json").read_text())
    assert record["precision"] == "int8" and record["calibrated_on"] == "shapes"
    assert record["agreement"] == found.verdict.agreement
    # It is a model like any other, and smaller than a third of the float one.
    assert load_artifact(tmp_path / "m.onnx").config == made.scheme.config


def test_one_that_loses_too_much_is_not_kept_unless_forced(
    made: job.Quantiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The judge's own reference is right everywhere, so that what is lost is what changed.
    judge = made.judge
    monkeypatch.setattr(judge, "truth", judge.expected.argmax(1))
    weight, bias = made.scheme.folded["classifier"]
    folded = made.scheme.folded | {"classifier": (-weight, -bias)}
    made = dataclasses.replace(made, scheme=dataclasses.replace(made.scheme, folded=folded))
    (found,) = make_files(made, job.requests([], tmp_path / "m.onnx"))
    assert "points of top-1 accuracy and at most 2.0 are allowed" in found.error
    assert list(tmp_path.iterdir()) == []
    forced = dataclasses.replace(made, force=True)
    (found,) = make_files(forced, job.requests([], tmp_path / "m.onnx"))
    assert found.error == "" and (tmp_path / "m.onnx").is_file()
    assert json.loads((tmp_path / "m.onnx.comparison.json").read_text())["passed"] is False


@pytest.mark.parametrize("name", OF_INT8)
def test_every_format_that_has_int8_is_written(
    name: str, made: job.Quantiser, tmp_path: Path
) -> None:
    for package in FORMATS[name].packages:
        pytest.importorskip(package)
    out = tmp_path / f"m{FORMATS[name].suffix}"
    job.write_int8(name, made.scheme, out)
    assert load_artifact(out).format == name


def test_a_format_without_int8_is_refused(made: job.Quantiser, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="mnn has no int8; choose onnx, "):
        job.write_int8("mnn", made.scheme, tmp_path / "m.mnn")
    assert list(tmp_path.iterdir()) == []


def test_names_of_files(tmp_path: Path) -> None:
    (one,) = job.requests(["onnx"], tmp_path / "m.onnx")
    assert (one.format.name, one.out, one.label) == ("onnx", tmp_path / "m.onnx", "onnx int8")
    two = job.requests(["onnx", "openvino"], tmp_path)
    assert [each.out.name for each in two] == ["model-int8.onnx", "model-int8.xml"]
    with pytest.raises(ArtifactError, match="mnn has no int8; choose onnx, openvino, litert"):
        job.requests([], tmp_path / "m.mnn")
    with pytest.raises(ArtifactError, match="there are 2; give a folder"):
        job.requests(["onnx", "litert"], tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="nncf is for the format openvino only"):
        job.requests(["onnx"], tmp_path / "m.onnx", nncf=True)


def test_int8_weights_are_in_the_file(made: job.Quantiser, tmp_path: Path) -> None:
    import onnx

    list(make_files(dataclasses.replace(made, force=True), job.requests([], tmp_path / "m.onnx")))
    constants = onnx.load_from_string((tmp_path / "m.onnx").read_bytes()).graph.initializer
    weights = [t for t in constants if t.name.endswith(".weight.integers")]
    assert len(weights) == len(made.scheme.folded)
    assert {t.data_type for t in weights} == {onnx.TensorProto.INT8}
    assert np.prod(weights[-1].dims) == made.scheme.folded["classifier"][0].size


@pytest.mark.parametrize("bits", [7, 8])
def test_a_scheme_comes_back_as_it_was(made: job.Quantiser, tmp_path: Path, bits: int) -> None:
    given = dataclasses.replace(made.scheme, weight_bits=bits, per_channel=bits == 8)
    save_scheme(given, tmp_path / "s.npz")
    found = load_scheme(tmp_path / "s.npz", given.config)
    assert list(found.folded) == list(given.folded)  # in the order in which they run
    for field in dataclasses.fields(Scheme):
        if field.name != "folded":
            assert getattr(found, field.name) == getattr(given, field.name), field.name
    assert write_onnx(found.quantised()) == write_onnx(given.quantised())


class Table(Engine):
    """Answers in turn what it was given."""

    outputs: tuple[str, ...] = ("logits",)
    takes_pictures = True

    def __init__(self, answers: list[int]) -> None:
        self.answers = iter(answers)

    def run(self, x: NDArray, output: Output) -> NDArray:
        return np.eye(3, dtype=np.float32)[[next(self.answers) for _ in x]]


def test_right_same_and_lost_are_counted(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(32, 32)))
    outputs = [2, 0, 1]  # class of the folder -> output
    truth = [outputs[photo.label] for photo in split.photos]
    before = list(truth)
    before[0] = (before[0] + 1) % 3
    after = list(before)
    after[0] = truth[0]  # a photo won
    for lost in (5, 6, 7):
        after[lost] = (after[lost] + 1) % 3
    judge = Judge(split, outputs, record, Table(before))
    found = judge.compare(Table(after), "int8")
    assert (found.photos, found.float_right, found.right, found.both) == (36, 35, 33, 32)
    assert found.same == 32
    assert found.drop == pytest.approx(100 * 2 / 36) and not found.passed
    assert found.difference == pytest.approx(4 * 2 / (36 * 3))
    record_ = found.to_dict()
    assert record_["agreement_interval"] == list(wilson(32, 36))


def test_the_answer_of_one_logit_is_the_side_of_0_on_which_it_lies(photos: Path) -> None:
    split = open_dataset(photos).splits["all"]
    record = Preprocessing.default(NetworkSpec(size=(32, 32)))
    truth = [min(photo.label, 1) for photo in split.photos]

    class Single(Table):
        def run(self, x: NDArray, output: Output) -> NDArray:
            return super().run(x, output)[:, 1:2] - 0.5

    judge = Judge(split, [0, 1, 1], record, Single(truth), "logit")
    found = judge.compare(Single([1 - one for one in truth]), "int8")
    assert (found.float_right, found.right, found.same) == (36, 0, 0)


@pytest.mark.parametrize(("right", "passed"), [(98, True), (97, False), (100, True)])
def test_two_points_may_be_lost(right: int, passed: bool) -> None:
    assert Judgement(100, right, 100, right, 90, 0.0).passed is passed


def test_the_drop_has_a_paired_interval() -> None:
    # By hand: 5.5 lost, 1.5 won of 102 after half a photo more for each.
    low, high = Judgement(100, 86, 90, 85, 90, 0.0).drop_interval
    assert (low, high) == pytest.approx((-1.1, 8.95), abs=0.02)
    low, high = Judgement(1000, 900, 900, 900, 1000, 0.0).drop_interval
    assert low == -high and 0.1 < high < 0.25
