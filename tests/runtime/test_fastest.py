"""The fastest way to run a model on this machine."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mobilenetv2 as mn
from mobilenetv2.errors import ArtifactError
from mobilenetv2.hub import cache
from mobilenetv2.model import store
from mobilenetv2.runtime import fastest
from mobilenetv2.runtime.fastest import (
    Tried,
    Way,
    choose,
    remember_verified,
    sentence,
    verified,
    ways,
)
from mobilenetv2.spec.records import Preprocessing


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(cache.SWITCH, "1")
    monkeypatch.setattr(fastest, "SECONDS", 0.02)


class Sample:
    """Random photos, and how often they were asked for."""

    def __init__(self, count: int = 6) -> None:
        self.count, self.asked = count, 0

    def __call__(self, record: Preprocessing) -> NDArray:
        self.asked += 1
        random = np.random.default_rng(0)
        return random.integers(0, 256, (self.count, *record.size, 3), np.uint8)


def record_of(model: Path) -> Preprocessing:
    return store.load_config(model).preprocessing


def test_installed_runtimes_of_float32_are_tried_and_remembered(model: Path) -> None:
    found = ways(model, "exact")
    assert found[0] == Way("onnxruntime", "float32", str(model))
    assert {way.precision for way in found} == {"float32"}
    sample = Sample()
    way, tried = choose(model, "exact", record_of(model), sample, 2)
    if len(found) == 1:
        assert way == found[0] and tried == ()
        return
    assert [one.way for one in tried] == found and all(one.rate > 0 for one in tried)
    assert all(one.rounding and one.same == 1 and one.difference < 1e-4 for one in tried)
    again = choose(model, "exact", record_of(model), sample, 2)
    assert again == (way, tried) and sample.asked == 1


def test_without_photos_the_default_answers(model: Path) -> None:
    way, tried = choose(model, "exact", record_of(model), Sample(0), 2)
    assert way.runtime == "onnxruntime" and tried == ()
    assert choose(model, "exact", record_of(model), None, 2)[0] == way


def test_another_is_chosen_only_if_it_is_clearly_faster_and_right(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (Way(name, "float32", str(model)) for name in ("a", "b", "c"))
    monkeypatch.setattr(fastest, "ways", lambda place, allowed: [one, two, three])
    monkeypatch.setattr(fastest, "_packages", lambda runtime: ())

    def chosen(*tried: Tried, allowed: fastest.Allowed = "exact") -> Way:
        monkeypatch.setattr(fastest, "_remembered", lambda key, candidates: tried)
        return choose(model, allowed, record_of(model), None, 2)[0]

    base = Tried(one, 100.0)
    assert chosen(base, Tried(two, 104.0), Tried(three, 90.0)) == one
    assert chosen(base, Tried(two, 120.0), Tried(three, 110.0)) == two
    other = Tried(two, 200.0, 0.9, 0.2, rounding=False, photos=64)
    assert chosen(base, other, Tried(three, 110.0)) == three
    assert chosen(base, other, Tried(three, 110.0), allowed="auto") == two
    assert chosen(base, Tried(two, error="cannot"), Tried(three, error="cannot")) == one
    text = sentence(two, (base, other))
    assert "2.00 times as fast as a float32" in text and "90.0% of 64 photos" in text


@pytest.mark.parametrize("damage", ["[", "[{}]", '{"a": 1}', '[{"way": {"runtime": 1}}]'])
def test_a_damaged_memory_is_none(model: Path, damage: str, tmp_path: Path) -> None:
    if len(ways(model, "exact")) == 1:
        pytest.skip("one runtime is installed, of which nothing is remembered")
    sample = Sample()
    choose(model, "exact", record_of(model), sample, 2)
    for path in (tmp_path / "cache" / fastest.FOLDER).iterdir():
        path.write_text(damage)
    choose(model, "exact", record_of(model), sample, 2)
    assert sample.asked == 2


def test_an_int8_file_is_tried_if_it_was_made_of_the_model_and_not_changed(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    made = tmp_path / "int8.onnx"
    mn.quantize(model, made, data=photos, force=True)
    remember_verified(model, made)  # forced files are not noted by themselves
    assert verified(model) == [made]
    assert Way("onnxruntime", "int8", str(made)) in ways(model, "auto")
    assert all(way.precision == "float32" for way in ways(model, "exact"))
    _, tried = choose(model, "auto", record_of(model), Sample(), 2)
    (of_int8,) = (one for one in tried if one.way == Way("onnxruntime", "int8", str(made)))
    assert of_int8.rate > 0 and not of_int8.rounding
    made.write_bytes(made.read_bytes() + b" ")
    assert verified(model) == []
    config, arrays = store.load(model)
    arrays = {name: array * np.float32(1.01) for name, array in arrays.items()}
    store.save(tmp_path / "other", config, arrays)
    assert verified(tmp_path / "other") == []


def test_predict_says_what_answers(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest, "WORTHWHILE", 20)
    expected = [one.to_dict() for one in mn.predict(photos, model)]
    found = [one.to_dict() for one in mn.predict(photos, model, runtime="auto", verbose=True)]
    for one, other in zip(found, expected, strict=True):
        assert one["image"] == other["image"]
    said = capsys.readouterr().err
    assert "runtime: " in said and "float32" in said and "thread" in said
    with pytest.raises(ArtifactError, match=r"auto.*chooses the runtime"):
        mn.predict(photos, model, runtime="onnxruntime", precision="auto")
    with pytest.raises(ArtifactError, match="auto is for the CPU"):
        mn.predict(photos, model, runtime="auto", device="cuda")


def test_what_is_remembered_is_plain(tmp_path: Path) -> None:
    one = Tried(Way("a", "float32", "b"), 1.0)
    assert Tried(**{**json.loads(json.dumps(dataclasses.asdict(one))), "way": one.way}) == one


def test_nothing_is_kept_where_that_is_turned_off(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.SWITCH, "0")
    sample = Sample()
    for _ in range(2):
        choose(model, "exact", record_of(model), sample, 2)
    remember_verified(model, model / "config.json")
    assert verified(model) == [] and not (tmp_path / "cache").exists()
    assert sample.asked == (2 if len(ways(model, "exact")) > 1 else 0)


def test_evaluation_takes_the_fastest_runtime_and_says_which(
    model: Path, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest, "WORTHWHILE", 10)
    found = mn.evaluate(model, photos, runtime="auto", report=tmp_path / "report")
    plain = mn.evaluate(model, photos)
    assert found.result.how["runtime"] in {way.name for way in ways(model, "exact")}
    np.testing.assert_allclose(found.predictions.logits, plain.predictions.logits, atol=1e-3)
    assert "Grad-CAM" in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_the_benchmark_shows_the_same_table(model: Path) -> None:
    found = mn.benchmark(model, runtime="onnxruntime", batch=1, seconds=0.02)
    assert [one.way for one in found.many] == (
        ways(model, "auto") if len(ways(model, "auto")) > 1 else []
    )
    columns, rows = found.table_of_many()
    assert len(rows) == len(found.many) and all(len(row) == len(columns) for row in rows)
    assert not found.many or any(one.way.name in found.fastest for one in found.many)
