"""``benchmark`` as a command: its table, its JSON, its picture, and how it fails."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mobilenetv2 import formats
from mobilenetv2.benchmarking.benchmark import Benchmark
from mobilenetv2.benchmarking.choices import Candidate
from mobilenetv2.benchmarking.results import Agreement, Row, Speed
from mobilenetv2.cli.benchmark import show
from mobilenetv2.cli.main import main

QUICK = ("--seconds", "0.03", "--threads", "1", "--batch", "1,2", "--runtime", "onnxruntime")


def run(*words: str) -> int:
    return main(["benchmark", *words])


@pytest.mark.slow
def test_float_and_int8_on_data_that_has_no_splits(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    out = tmp_path / "out"
    assert run(str(model), "--data", str(photos), "--output", str(out), *QUICK, "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert [row["precision"] for row in found["rows"]] in (["float32", "int8"], ["int8", "float32"])
    rows = {row["precision"]: row for row in found["rows"]}
    # Half of the photos calibrate, and are not among those that are judged.
    assert found["photos"] == 18 and "18 photos" in found["calibrated_on"]
    assert rows["float32"]["agreement"] == 1.0 and rows["float32"]["max_abs_difference"] < 1e-4
    assert rows["int8"]["agreement"] > 0.5 and rows["int8"]["max_abs_difference"] > 1e-4
    for row in rows.values():
        low, high = row["top1_interval"]
        assert 0 <= low <= row["top1"] <= high <= 1 and row["photos"] == 18
        assert [speed["batch"] for speed in row["speed"]] == [1, 2]
        for speed in row["speed"]:
            assert 0 < speed["median_ms"] <= speed["p95_ms"] and speed["runs"] >= 2
            assert speed["pictures_per_second"] > 0 and "runs_ms" not in speed
        assert row["load_s"] > 0 and row["memory_bytes"] >= row["memory_after_load_bytes"] > 0
    assert found["machine"]["cores"] >= 1 and "flags" in found["machine"]
    assert {"mobilenetv2", "numpy", "onnxruntime"} <= set(found["versions"])
    assert found["threads"] == 1 and found["command"].startswith("mobilenetv2 ") and found["date"]
    saved = json.loads((out / "benchmark.json").read_text())
    assert [len(speed["runs_ms"]) for row in saved["rows"] for speed in row["speed"]] == [
        speed["runs"] for row in found["rows"] for speed in row["speed"]
    ]
    with Image.open(out / "benchmark.png") as drawn:
        assert drawn.width > 500
    assert "writing onnx int8" in shown.err and "benchmark.png" in shown.err


@pytest.mark.slow
def test_without_data_float32_on_pictures_made_here(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(model), *QUICK) == 0
    shown = capsys.readouterr().out
    assert "32 generated images" in shown and "100.0%" in shown and "top-1" not in shown
    rows, _, machine = shown.partition("measured on")
    assert "int8" not in rows and machine  # some processors have an int8 of their own


@pytest.mark.slow
def test_files_that_are_there_take_part_and_a_broken_one_fails_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "files"
    assert (
        main(["export", str(model), str(files), "--format", "onnx", "--precision", "float16"]) == 0
    )
    (files / "broken.onnx").write_bytes(b"no network")
    capsys.readouterr()
    assert run(str(model), "--artifacts", str(files), *QUICK, "--json") == 1
    shown = capsys.readouterr()
    rows = {Path(row["file"] or "made").name: row for row in json.loads(shown.out)["rows"]}
    assert set(rows) == {"made", "model-float16.onnx", "broken.onnx"}
    assert rows["model-float16.onnx"]["precision"] == "float16"  # from the record beside it
    assert rows["model-float16.onnx"]["bytes"] < rows["made"]["bytes"]
    assert "broken.onnx" in rows["broken.onnx"]["error"] and "speed" not in rows["broken.onnx"]
    assert "onnxruntime broken.onnx: " in shown.err and "Traceback" not in shown.err
    assert run(str(model), "--artifacts", str(files), *QUICK) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("broken.onnx" in line and "failed" in line for line in lines)


def test_an_exported_file_alone(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.onnx"
    assert main(["export", str(model), str(file), "--pictures"]) == 0
    capsys.readouterr()
    assert run(str(file), "--data", str(photos), *QUICK, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert row["precision"] == "float32" and row["max_abs_difference"] == 0.0
    assert found["photos"] == 36 and found["calibrated_on"] is None
    assert found["reference"] == f"{file} in its first runtime"
    assert run(str(file), "--precision", "int8", *QUICK) == 2
    assert "give a model folder instead" in capsys.readouterr().err
    assert run(str(file), "--runtime", "litert") == 2
    assert "litert does not run files of this format" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seconds", "0"), "seconds 0 must be above 0 and at most an hour"),
        (("--seconds", "nan"), "seconds nan must be above 0"),
        (("--threads", "0"), "threads 0 must be at least 1"),
        (
            ("--precision", "bfloat16", "--runtime", "ncnn"),
            "precision bfloat16 is not available for ncnn",
        ),
        (("--precision", "int8", "--runtime", "onnxruntime"), "give --calibration, a folder of"),
        (("--artifacts", "nowhere"), "artifacts nowhere: no such folder"),
        (("--data", "nowhere"), "nowhere"),
        (("--batch", "1,0"), "a batch is at least 1"),
    ],
)
def test_mistakes_are_one_sentence(
    model: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = run(str(model), *words)
    except SystemExit as end:  # the parser's own
        status = int(str(end.code))
    errors = capsys.readouterr().err
    assert status == 2 and said in errors and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("mobilenetv2: error: ")


@pytest.mark.slow
def test_every_engine_that_is_installed_agrees(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = [name for name in formats.ENGINES if not formats.RUNTIMES[name].own.missing()]
    words = ["--seconds", "0.02", "--threads", "1", "--batch", "1", "--json"]
    assert run(str(model), *words, "--runtime", ",".join(engines)) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert sorted(row["runtime"] for row in rows) == sorted(engines)
    for row in rows:
        assert row["agreement"] == 1.0 and row["max_abs_difference"] < 1e-4, row["runtime"]


MEASURED = Row(
    Candidate("litert", "litert", "int8"), 3_500_000, 0.25, 80_000_000, 90_000_000,
    [Speed(1, (0.01, 0.01, 0.02), 0.05), Speed(32, (0.2, 0.2), 0.3)], Agreement(40, 39, 0.5, 30),
)  # fmt: skip
MACHINE = {"processor": "X", "flags": ["avx2"], "cores_usable": 2, "python": "3.11.7"}


def test_a_measured_row(capsys: pytest.CaptureFixture[str]) -> None:
    show(Benchmark(
        "shoes", (MEASURED,), MACHINE, {}, 2, (1, 32), 3.0, 40, "40 photos of data (test)",
        "200 photos of more", "the model in float32 in ONNX Runtime", "2026-11-29",
    ))  # fmt: skip
    shown = capsys.readouterr().out
    for figure in (
        "10.00", "75.0", "160.0", "97.5%", "5.0e-01", "75.0%", "3.5 MB", "90 MB", "0.25 s",
        "59.8% to 85.8%", "40 photos of data (test), 2 threads", "X (avx2), 2 cores",
        "int8: calibrated on 200 photos of more",
    ):  # fmt: skip
        assert figure in shown, figure
    assert "file" not in shown
