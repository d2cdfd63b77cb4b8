"""Files that are there whole and verified, or not at all."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.exporter import dialects_of
from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting import direct, job
from mobilenetv2.exporting.job import (
    Options,
    Outcome,
    Request,
    find_formats,
    make_file,
    require_honoured,
)
from mobilenetv2.exporting.verify import Comparison, Exporter, Reference, requests
from mobilenetv2.files import sha256_of_file
from mobilenetv2.formats import FORMATS
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
CONFIG = ModelConfig.default(SPEC)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(CONFIG, random_arrays(SPEC), sample_pictures(CONFIG.preprocessing))


def export(reference: Reference, wanted: Request) -> Outcome[Comparison]:
    return make_file(Exporter(reference), wanted)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_comparison_lies_beside_the_file(reference: Reference, tmp_path: Path) -> None:
    out = tmp_path / "new" / "m.onnx"
    (wanted,) = requests([], [Options()], out)
    found = export(reference, wanted)
    assert found.error == "" and found.verdict and found.verdict.passed
    assert names(out.parent) == ["m.onnx", "m.onnx.comparison.json"]
    assert found.size == out.stat().st_size
    record = json.loads((out.parent / "m.onnx.comparison.json").read_text())
    assert record["sha256"] == sha256_of_file(out) and record["passed"] is True
    assert record["versions"]["onnxruntime"] and record["photos"] == 4


def test_a_file_that_is_another_network_is_not_kept(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m.onnx"
    out.write_bytes(b"the old one")
    write = direct.write_onnx

    def wrong(config: ModelConfig, arrays: Any, path: Path, options: Options) -> None:
        write(config, arrays | {"classifier.bias": arrays["classifier.bias"] + 1e-2}, path, options)

    monkeypatch.setattr(direct, "write_onnx", wrong)
    found = export(reference, Request(FORMATS["onnx"], Options(), out))
    assert "differ from the reference by 0.01" in found.error
    assert names(tmp_path) == ["m.onnx"] and out.read_bytes() == b"the old one"


@pytest.mark.parametrize("pictures", [False, True])
def test_a_file_for_any_size_is_compared_at_another_one(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: bool
) -> None:
    wanted = Request(
        FORMATS["onnx"], Options(any_size=True, pictures=pictures), tmp_path / "m.onnx"
    )
    assert export(reference, wanted).error == ""
    write = direct.write_onnx

    def one_size(config: ModelConfig, arrays: Any, path: Path, options: Options) -> None:
        write(config, arrays, path, dataclasses.replace(options, any_size=False))

    monkeypatch.setattr(direct, "write_onnx", one_size)
    assert "ONNX Runtime cannot run it" in export(reference, wanted).error


def test_a_converter_that_fails_leaves_nothing(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(config: ModelConfig, arrays: Any, path: Path, options: Options) -> None:
        path.write_bytes(b"half of it")
        raise ArtifactError("the converter failed")

    monkeypatch.setattr(direct, "write_onnx", failing)
    found = export(reference, Request(FORMATS["onnx"], Options(), tmp_path / "m.onnx"))
    assert found.error == "the converter failed" and names(tmp_path) == []


def test_names_in_a_folder_say_what_is_in_them(tmp_path: Path) -> None:
    options = [Options(), Options("float16", pictures=True)]
    found = requests(["onnx", "openvino"], options, tmp_path / "all")
    assert [request.out.name for request in found] == [
        "model.onnx", "model-float16-pictures.onnx", "model.xml", "model-float16-pictures.xml",
    ]  # fmt: skip
    (one,) = requests(["litert"], [Options()], tmp_path / "shoes.tflite")
    assert one.out == tmp_path / "shoes.tflite"
    (one,) = requests([], [Options()], tmp_path / "shoes.ncnn.param")
    assert one.format.name == "ncnn" and one.out.name == "shoes.ncnn.param"


def test_a_file_without_a_format_is_asked_about(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"m\.dat: no format has this ending"):
        requests([], [Options()], tmp_path / "m.dat")
    with pytest.raises(ArtifactError, match="format keras has no option pictures"):
        requests(["keras"], [Options(pictures=True)], tmp_path)


def test_a_files_name_is_not_made_a_folder(tmp_path: Path) -> None:
    two = [Options(), Options("float16")]
    with pytest.raises(ArtifactError, match=r"m\.onnx: \.onnx is .* there are 2; give a folder"):
        requests([], two, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"\.onnx is the ending .* not of openvino"):
        requests(["openvino"], [Options()], tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="not of savedmodel"):
        requests(["savedmodel"], [Options()], tmp_path / "m.keras")
    (tmp_path / "m.onnx").mkdir()  # a folder is one, whatever it is called
    assert len(requests(["onnx", "litert"], [Options()], tmp_path / "m.onnx")) == 2


def test_a_place_that_cannot_be_written_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match=r"is a file, not a folder.*file'$"):
        job.folder_beside(tmp_path / "file" / "m.onnx").__enter__()
    with pytest.raises(OSError, match=f"{'long' * 60}") as caught:
        job.folder_beside(tmp_path / ("long" * 60)).__enter__()
    assert ".partial-" not in str(caught.value)


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    for content in ("old", "new"):
        made = tmp_path / "work" / "saved"
        made.mkdir(parents=True)
        (made / content).write_text(content)
        job.put_in_place(tmp_path / "work", tmp_path / "saved")
    assert names(tmp_path / "saved") == ["new"] and names(tmp_path) == ["saved", "work"]
    (tmp_path / "file").write_text("x")
    (tmp_path / "work" / "file").mkdir()
    with pytest.raises(NotADirectoryError):
        job.put_in_place(tmp_path / "work", tmp_path / "file")


def test_random_tensors_are_the_same_every_time() -> None:
    photos = sample_pictures(CONFIG.preprocessing, 1)
    one, two = (Reference(CONFIG, random_arrays(SPEC), photos).tensors[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_an_option_that_a_format_has_not_is_named() -> None:
    with pytest.raises(ArtifactError, match="format litert has no bfloat16; it has float32, fl"):
        require_honoured(FORMATS["litert"], Options("bfloat16"))
    with pytest.raises(
        ArtifactError, match="format mnn has no option any_size, which is for onnx, op"
    ):
        require_honoured(FORMATS["mnn"], Options(any_size=True))
    require_honoured(FORMATS["onnx"], Options("float16", True, 4, False, 15))
    for batch in (0, -1):
        with pytest.raises(ArtifactError, match=f"batch {batch} must be at least 1"):
            Options(batch=batch)
    with pytest.raises(ArtifactError, match="format 'onx' is unknown; did you mean 'onnx'"):
        find_formats(["onx"], Path("m.onnx"))
    assert find_formats(["tflite", "litert"], Path("out")) == [FORMATS["litert"]]


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors", "m.h5", "m.bin", "M.PT"])
def test_weights_for_another_library_are_written_by_another_verb(name: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        find_formats([], Path(name))
    (dialect, *_) = dialects_of(Path(name))
    advice = f"'mobilenetv2 weights export MODEL {name} --dialect {dialect}'"
    assert advice in str(caught.value) and "export_checkpoint" in str(caught.value)
