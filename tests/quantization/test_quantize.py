"""Quantisation from Python: files with their judgement, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.errors import ArtifactError, DataError
from mobilenetv2.exporting.job import NotKept, Outcome
from mobilenetv2.formats import OF_INT8, Int8Format
from mobilenetv2.networks.folders import load
from mobilenetv2.quantization import job
from mobilenetv2.quantization.job import Judgement
from mobilenetv2.quantization.quantize import quantize


def test_each_file_comes_with_its_judgement(model: Path, photos: Path, tmp_path: Path) -> None:
    seen: list[Outcome[Judgement]] = []
    (made,) = quantize(
        model, tmp_path / "int8.onnx", data=photos, calibration_photos=12, force=True,
        on_outcome=seen.append,
    )  # fmt: skip
    assert seen == [made] and made.size == (tmp_path / "int8.onnx").stat().st_size
    assert (made.format, made.precision) == ("onnx", "int8")
    assert made.verdict and made.verdict.photos == 24 and made.verdict.agreement > 0.6
    low, high = made.verdict.drop_interval
    assert low <= made.verdict.drop <= high
    row = made.to_dict()
    assert row["model"] == str(model) and row["calibrated_on"].startswith("12 photos of")
    assert row["judged_on"] == f"{photos} (validation)" and "mse" in row["method"]


@pytest.mark.slow
def test_a_network_is_what_its_folder_is(model: Path, photos: Path, tmp_path: Path) -> None:
    network = load(model)
    (one,) = quantize(model, tmp_path / "folder.onnx", data=photos, force=True)
    (two,) = quantize(network, tmp_path / "network.onnx", data=photos, force=True)
    assert one.verdict == two.verdict and two.facts["model"] == "MobileNetV2"


def test_a_file_that_loses_too_much_raises_unless_forced(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "MOST_LOST", -101.0)
    with pytest.raises(NotKept, match=r"not kept, since .* keep it with force") as caught:
        quantize(model, tmp_path / "m.onnx", data=photos)
    assert caught.value.outcomes[0].verdict and list(tmp_path.iterdir()) == []
    (kept,) = quantize(model, tmp_path / "m.onnx", data=photos, force=True)
    assert kept.path.is_file()


@pytest.mark.slow
def test_the_layers_that_suffer_are_drawn_also_where_no_file_is_kept(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    monkeypatch.setattr(job, "MOST_LOST", -101.0)
    with pytest.raises(NotKept):
        quantize(model, tmp_path / "m.onnx", data=photos, sensitivity=True)
    assert (tmp_path / "sensitivity.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "mnn"}, "mnn has no int8; choose onnx"),
        ({"method": "mes"}, "method 'mes' is unknown; did you mean 'mse'"),
        ({"method": "nncf"}, "method nncf is for the format openvino only"),
        ({"method": "nncf", "equalise": False}, "does not support equalise"),
        ({"method": "nncf", "train": True}, "does not support train"),
        ({"weight_bits": 4}, "weight_bits 4 must be 7 or 8"),
        ({"epochs": 2}, "epochs needs train; give train"),
        ({"train": True, "epochs": 0}, "epochs 0 must be at least 1"),
    ],
)
def test_options_that_do_not_go_together(
    model: Path, photos: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        quantize(model, tmp_path / "m.onnx", data=photos, **options)
    assert list(tmp_path.iterdir()) == []


def test_photos_that_are_missing(
    model: Path, photos: Path, tmp_path: Path, photo_folder: Callable[[Path, int], Path]
) -> None:
    other = photo_folder(tmp_path / "other", 13)
    with pytest.raises(DataError, match="all its photos are used for the measurement"):
        quantize(model, tmp_path / "m.onnx", data=photos, calibration=photos)
    with pytest.raises(DataError, match="train needs a training split"):
        quantize(model, tmp_path / "m.onnx", data=photos, calibration=other, train=True)


def test_the_names_of_the_formats_are_the_tables() -> None:
    assert Int8Format.__args__ == OF_INT8  # type: ignore[attr-defined]
