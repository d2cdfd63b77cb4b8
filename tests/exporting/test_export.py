"""Export from Python: one file or several, of a folder or a network, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.errors import ArtifactError, DataError
from mobilenetv2.exporting import verify
from mobilenetv2.exporting.export import export, precisions
from mobilenetv2.exporting.job import NotKept, Outcome
from mobilenetv2.exporting.verify import Comparison
from mobilenetv2.formats import EXPORTED, FORMATS, FormatName
from mobilenetv2.model.outputs import softmax
from mobilenetv2.networks.folders import load
from mobilenetv2.runtime.predictor import load_predictor


def test_the_ending_tells_the_format(model: Path, photos: Path, tmp_path: Path) -> None:
    (made,) = export(model, tmp_path / "shapes.onnx", photos=photos / "ball")
    assert (made.path, made.format, made.precision) == (tmp_path / "shapes.onnx", "onnx", "float32")
    assert made.size == made.path.stat().st_size and made.error == ""
    assert made.verdict and made.verdict.passed and made.verdict.same_top1 == 12
    assert repr(made) == f"<onnx float32 {str(made.path)!r}: {made.size:,} bytes>"
    row = made.to_dict()
    assert row["file"] == str(made.path) and row["bytes"] == made.size and row["photos"] == 12
    assert json.loads(json.dumps(row)) == row


def test_several_files_come_one_by_one(model: Path, tmp_path: Path) -> None:
    seen: list[Outcome[Comparison]] = []
    made = export(
        model,
        tmp_path,
        format="onnx",
        precision=["float16", "float32"],
        on_outcome=seen.append,
    )
    assert made == seen and [one.precision for one in made] == ["float16", "float32"]
    assert sorted(one.path.name for one in made) == ["model-float16.onnx", "model.onnx"]
    assert precisions(["fp16", "float16", "fp32"]) == ["float16", "float32"]  # type: ignore[list-item]


def test_litert_files_give_probabilities_unless_logits_are_asked_for(
    model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (extra: litert)")
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    answers = []
    for name, outputs in (("usual", None), ("logits", "logits"), ("same", "probabilities")):
        (made,) = export(model, tmp_path / f"{name}.tflite", outputs=outputs)  # type: ignore[arg-type]
        assert made.verdict and made.verdict.outputs == (outputs or "probabilities")
        record = json.loads((tmp_path / f"{name}.tflite.comparison.json").read_text("utf-8"))
        assert record["gives"] == record["outputs"] == (outputs or "probabilities")
        answers.append(softmax(load_predictor(tmp_path / f"{name}.tflite")[1](x)))
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], atol=1e-6)
    assert (tmp_path / "usual.tflite").read_bytes() == (tmp_path / "same.tflite").read_bytes()
    (made,) = export(model, tmp_path / "m.onnx", outputs="logits")
    assert made.verdict and made.verdict.outputs == "logits"
    with pytest.raises(ArtifactError, match=r"onnx has no option outputs, .* litert"):
        export(model, tmp_path / "n.onnx", outputs="probabilities")
    with pytest.raises(ArtifactError, match="'votes' are unknown"):
        export(model, tmp_path / "n.tflite", outputs="votes")  # type: ignore[arg-type]


def test_a_file_that_misses_its_tolerance_is_kept_by_a_flag(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "TOLERANCES", {"float32": 1e-30})
    with pytest.raises(NotKept, match="keep_inexact=True keeps it"):
        export(model, tmp_path / "m.onnx")
    (made,) = export(model, tmp_path / "m.onnx", keep_inexact=True)
    assert made.path.is_file() and not made.error and made.verdict and not made.verdict.passed
    record = json.loads((tmp_path / "m.onnx.comparison.json").read_text("utf-8"))
    assert record["passed"] is False


@pytest.mark.parametrize("edition", ["torch", "numpy"])
def test_a_network_is_what_its_folder_is(model: Path, edition: str, tmp_path: Path) -> None:
    network = load(model, edition=edition)
    export(model, tmp_path / "folder.onnx")
    export(network, tmp_path / "network.onnx")
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    one, two = (load_predictor(tmp_path / name)[1](x) for name in ("folder.onnx", "network.onnx"))
    np.testing.assert_array_equal(one, two)


def test_all_formats_are_those_that_are_installed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {name: FORMATS[name] for name in ("onnx", "keras")}
    monkeypatch.setattr(verify, "FORMATS", few)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "onnxruntime" or None)
    (made,) = export(model, tmp_path / "all", format="all")
    assert made.format == "onnx"
    assert "left out, since packages are missing: keras (keras and" in capsys.readouterr().err
    with pytest.raises(ArtifactError, match="no format has all these precisions and options"):
        export(model, tmp_path / "none", format="all", precision="bfloat16")


def test_the_only_file_raises_and_one_of_two_says_why(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotKept, match=r"m\.onnx: opset 9 must be from 13 to 22") as caught:
        export(model, tmp_path / "m.onnx", opset=9)
    (failed,) = caught.value.outcomes
    assert failed.error in repr(failed) and failed.to_dict()["error"] == failed.error
    assert list(tmp_path.iterdir()) == []
    strict = dict.fromkeys(verify.TOLERANCES, 1e-4)  # which float16 is outside of
    monkeypatch.setattr(verify, "TOLERANCES", strict)
    good, bad = export(model, tmp_path, format="onnx", precision=["float32", "float16"])
    assert not good.error and good.path.is_file()
    assert "its logits differ from the reference by" in bad.error and not bad.path.exists()
    assert bad.verdict and bad.verdict.relative > 1e-4 and bad.size == 0


def test_what_is_refused(model: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"format": "onx"}, "format 'onx' is unknown; did you mean 'onnx'"),
        ({"precision": "int8"}, "for precision int8, use 'quantize'"),
        ({"precision": "float8"}, "format onnx has no float8"),
        ({"batch": 0}, "batch 0 must be at least 1"),
    ):
        with pytest.raises(ArtifactError, match=message):
            export(model, tmp_path / "m.onnx", **options)
    with pytest.raises(DataError, match="nowhere: no such photo or folder"):
        export(model, tmp_path / "m.onnx", photos="nowhere")
    (tmp_path / "m.onnx").write_bytes(b"mine")
    with pytest.raises(ArtifactError, match=r"^.*m.onnx: exists already; .* overwrite=True"):
        export(model, tmp_path / "m.onnx")
    (made,) = export(model, tmp_path / "m.onnx", overwrite=True)
    assert made.size > 1000


def test_the_names_of_the_formats_are_the_tables() -> None:
    assert FormatName.__args__ == tuple(EXPORTED)  # type: ignore[attr-defined]
