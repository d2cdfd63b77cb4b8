"""Who takes part."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2 import formats
from mobilenetv2.benchmark.candidate import (
    Candidate,
    candidates_in,
    choose_candidates,
    cross,
    precision_of,
)
from mobilenetv2.errors import ArtifactError, MissingExtra
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


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    def forget(*absent: str) -> None:
        monkeypatch.setattr(formats, "find_spec", lambda name: None if name in absent else object())

    return forget


def names(found: Sequence[Candidate]) -> list[tuple[str, str]]:
    return [(who.runtime, who.precision) for who in found]


def chosen(
    exported: Path | None = None,
    runtimes: list[str] | None = None,
    precisions: list[str] | None = None,
    int8: bool = False,
) -> list[Candidate]:
    return choose_candidates(exported, runtimes, precisions, None, int8)


def test_what_is_not_installed_is_named_with_the_line_that_installs_it(
    without: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    without("ncnn")
    found = names(chosen(precisions=["float32", "int8"]))
    assert ("openvino", "float32") in found and ("openvino", "int8") in found
    assert ("ncnn", "float32") not in found and ("onnxruntime", "int8") in found
    notes = capsys.readouterr().err
    assert (
        "note: ncnn is left out, for want of ncnn; pip install 'mobilenetv2[export]' brings it"
        in notes
    )
    with pytest.raises(MissingExtra, match=r"ncnn cannot be measured, for want of ncnn; pip"):
        chosen(runtimes=["onnxruntime", "ncnn"])


def test_int8_takes_part_by_itself_where_there_are_photos(without: Any) -> None:
    without("none")
    assert {precision for _, precision in names(chosen())} == {"float32"}
    assert {precision for _, precision in names(chosen(int8=True))} == {"float32", "int8"}
    found = names(chosen(precisions=["float16"], int8=True))
    assert {precision for _, precision in found} == {"float16"}
