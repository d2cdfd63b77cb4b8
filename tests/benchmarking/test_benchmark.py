"""The benchmark from Python: its record as text, table, JSON and HTML; what is refused."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.benchmarking.benchmark import Benchmark, benchmark
from mobilenetv2.benchmarking.choices import Candidate
from mobilenetv2.benchmarking.results import Agreement, Row, Speed
from mobilenetv2.errors import ArtifactError
from mobilenetv2.networks.folders import load

QUICK: dict[str, Any] = {"runtime": "ort", "threads": 1, "batch": 1, "seconds": 0.03}


@pytest.fixture(scope="module")
def found(model: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """A live network on labelled photos, in float32."""
    return benchmark(load(model), data=photos, precision="fp32", **QUICK)  # type: ignore[arg-type]


def test_a_network_is_measured_on_labelled_photos(found: Benchmark, photos: Path) -> None:
    (row,) = found.rows
    assert row.candidate == Candidate("onnxruntime", "onnx", "float32")
    assert row.agreement and (row.agreement.photos, row.agreement.same) == (36, 36)
    assert row.agreement.right is not None and found.photos_from == f"36 photos of {photos} (all)"
    assert (found.model, found.threads, found.batches) == ("MobileNetV2", 1, (1,))
    values = found.to_dict()
    assert json.loads(json.dumps(values)) == values and values["command"] is None
    assert {"mobilenetv2", "onnxruntime"} <= values["versions"].keys()


def made(*rows: Row, model: str = "shoes") -> Benchmark:
    return Benchmark(
        model, rows, {"processor": "X"}, {}, 2, (1,), 3.0, 40, "40 photos", None, "itself", "2026"
    )


FAST = Row(
    Candidate("litert", "litert", "int8"), 3_500_000, 0.25, 80_000_000, 90_000_000,
    [Speed(1, (0.01, 0.01), 0.05)], Agreement(40, 39, 0.5, 30),
)  # fmt: skip
BROKEN = Row(Candidate("openvino", "onnx", "float32"), error="it <broke>")


def test_it_shows_itself_in_one_line() -> None:
    assert repr(made(FAST)) == "<Benchmark of shoes, 1 candidate: litert int8 10.00 ms first>"
    assert repr(made(FAST, BROKEN)).endswith("10.00 ms first, 1 failed>")
    assert repr(made(BROKEN)) == "<Benchmark of shoes, 1 candidate, 1 failed>"


def test_a_notebook_gets_a_table_without_foreign_markup() -> None:
    found = made(FAST, BROKEN, model="<script>shoes</script>")
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(found._repr_html_())
    columns, rows = found.table()
    assert tags.count("td") == len(columns) * len(rows) and tags.count("th") == len(columns)
    assert set(tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert "97.5%" in found._repr_html_() and "&lt;script&gt;" in found._repr_html_()


def test_errors_and_unfair_figures_are_noted() -> None:
    busy = Row(FAST.candidate, speeds=FAST.speeds, agreement=FAST.agreement, busy=True)
    one, other = made(busy, BROKEN).notes()
    assert one.startswith("note: litert int8 keeps computing between its turns")
    assert other == "openvino float32: it <broke>"
    assert made(FAST).notes() == []


def test_it_is_saved_with_every_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    made(FAST).save(tmp_path / "bench")
    saved = json.loads((tmp_path / "bench" / "benchmark.json").read_text())
    assert saved["rows"][0]["speed"][0]["runs_ms"] == [10.0, 10.0]
    assert (tmp_path / "bench" / "benchmark.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "onnxruntim"}, "runtime 'onnxruntim' is unknown; did you mean 'onnxruntime'"),
        ({"precision": "float8"}, "precision 'float8' is unknown"),
        ({"seconds": float("nan")}, "seconds nan must be above 0"),
        ({"threads": 0}, "threads 0 must be at least 1"),
        ({"batch": (1, 0)}, "batch sizes must be at least 1"),
        ({"batch": ()}, "batch sizes must be at least 1"),
        ({"split": "test"}, "split needs data; give data"),
    ],
)
def test_what_is_refused(model: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        benchmark(model, **options)
