"""Who takes part."""

import json
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.benchmark.candidate import Candidate, candidates_in, cross, precision_of
from mobilenetv2.errors import ArtifactError
from mobilenetv2.files import sha256_of_file
from mobilenetv2.formats import RUNTIMES


def test_runtimes_are_crossed_with_the_precisions_that_they_have() -> None:
    found = cross(["onnxruntime", "ncnn", "keras"], ["float32", "float16", "int8"])
    assert [(who.runtime, who.precision) for who in found] == [
        ("onnxruntime", "float32"), ("ncnn", "float32"), ("keras", "float32"),
        ("onnxruntime", "float16"), ("ncnn", "float16"), ("onnxruntime", "int8"),
    ]  # fmt: skip
    with pytest.raises(ArtifactError, match=r"int8: ncnn, keras has none; onnxruntime, openvino"):
        cross(["ncnn", "keras"], ["int8"])


def test_files_of_a_folder_run_in_every_runtime_that_takes_them(tmp_path: Path) -> None:
    for name in ("b.onnx", "a.tflite", "a.tflite.comparison.json", "notes.txt", ".partial-x.onnx"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "folder.onnx").mkdir()
    found = candidates_in(tmp_path, list(RUNTIMES))
    assert [(who.runtime, who.path and who.path.name) for who in found] == [
        ("litert", "a.tflite"), ("onnxruntime", "b.onnx"), ("openvino", "b.onnx")
    ]  # fmt: skip
    assert [who.runtime for who in candidates_in(tmp_path, ["openvino"])] == ["openvino"]
    with pytest.raises(ArtifactError, match=r"no exported file of mnn is in it; their names end"):
        candidates_in(tmp_path, ["mnn"])
    with pytest.raises(ArtifactError, match="no such folder"):
        candidates_in(tmp_path / "none", ["mnn"])


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"precision": "int8"}, "int8"),
        ({"precision": "float16"}, "float16"),
        ({"precision": "<b>"}, "?"),
        ({"precision": ["int8"]}, "?"),
        ({"precision": "int8", "sha256": "0" * 64}, "?"),  # of another file
        ([], "?"),
        (None, "?"),
    ],
)
def test_a_files_precision_is_what_its_own_record_says(
    tmp_path: Path, record: Any, expected: str
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"network")
    if isinstance(record, dict):
        record = {"sha256": sha256_of_file(path), **record}
    if record is not None:
        (tmp_path / "m.onnx.comparison.json").write_text(json.dumps(record))
    assert precision_of(path) == expected


def test_a_name_says_which_row_it_is() -> None:
    assert Candidate("litert", "litert", "int8").name == "litert int8"
    assert Candidate("litert", "litert", "?", Path("a/b.tflite")).name == "litert b.tflite"
