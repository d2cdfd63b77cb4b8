"""The fastest way to run a model on this machine."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_networks import Foreign
from numpy.typing import NDArray

import mobilenetv2 as mn
from mobilenetv2.errors import ArtifactError, OutputError
from mobilenetv2.hub import cache
from mobilenetv2.model import store
from mobilenetv2.runtime import fastest
from mobilenetv2.runtime.fastest import (
    Asked,
    Before,
    Candidate,
    Trial,
    candidates,
    choose,
    rates,
    remember_verified,
    sentence,
    verified,
)
from mobilenetv2.runtime.given_options import given_options
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


def asked(model: Path, allowed: fastest.Allowed = "exact", **how: Any) -> Asked:
    return Asked(model, allowed, callers=2, **how)


def test_installed_runtimes_of_float32_are_tried_and_remembered(model: Path) -> None:
    found = candidates(model, "exact")
    assert found[0] == Candidate("onnxruntime", "float32", str(model))
    assert {one.precision for one in found} == {"float32"}
    sample = Sample()
    chosen, trials = choose(asked(model), record_of(model), sample)
    if len(found) == 1:
        assert chosen == found[0] and trials == ()
        pytest.skip("one runtime is installed, so that nothing is tried")
    assert [one.candidate for one in trials] == found and all(one.rate > 0 for one in trials)
    assert all(one.rounding and one.same == 1 and one.difference < 1e-4 for one in trials)
    again = choose(asked(model), record_of(model), sample)
    assert again == (chosen, trials) and sample.asked == 1
    taken = choose(asked(model), record_of(model), sample, before=Before(found[-1].name))
    assert taken == (found[-1], ()) and sample.asked == 1


def test_without_photos_the_default_answers(model: Path) -> None:
    chosen, trials = choose(asked(model), record_of(model), Sample(0))
    assert chosen.runtime == "onnxruntime" and trials == ()
    assert choose(asked(model), record_of(model), None)[0] == chosen


def test_another_is_chosen_only_if_it_is_clearly_faster_and_right(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (Candidate(name, "float32", str(model)) for name in ("a", "b", "c"))
    monkeypatch.setattr(fastest, "candidates", lambda place, allowed: [one, two, three])
    monkeypatch.setattr(fastest, "_packages", lambda runtime: ())

    def chosen(*trials: Trial, allowed: fastest.Allowed = "exact") -> Candidate:
        monkeypatch.setattr(fastest, "_remembered", lambda key, able: trials)
        return choose(asked(model, allowed), record_of(model), None)[0]

    base = Trial(one, 100.0)
    assert chosen(base, Trial(two, 104.0), Trial(three, 90.0)) == one
    assert chosen(base, Trial(two, 120.0), Trial(three, 110.0)) == two
    other = Trial(two, 200.0, 0.9, 0.2, rounding=False, photos=64)
    assert chosen(base, other, Trial(three, 110.0)) == three
    assert chosen(base, other, Trial(three, 110.0), allowed="auto") == two
    assert chosen(base, Trial(two, error="cannot"), Trial(three, error="cannot")) == one
    assert chosen(Trial(one, error="cannot"), Trial(two, 10.0), Trial(three, 9.0)) == two
    text = sentence(two, (base, other))
    assert "2.00 times as fast as a" in text and "90.0% of 64 photos" in text
    unknown = Trial(two, 200.0, rounding=False)
    assert "no runtime here computes the model in float32" in sentence(two, (unknown,))


class Broken:
    """Predictor of a runtime that starts, and then cannot compute."""

    def __call__(self, pictures: NDArray) -> NDArray:
        raise OutputError("its outputs are not finite")


def test_a_runtime_that_fails_while_it_computes_is_left_out(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (Candidate(name, "float32", str(model)) for name in ("onnxruntime", "b"))
    real = fastest.start

    def start(candidate: Candidate, how: Asked) -> Any:
        if candidate == two:
            return store.load_config(model), Broken()
        return real(candidate, how)

    monkeypatch.setattr(fastest, "candidates", lambda place, allowed: [two, one])
    monkeypatch.setattr(fastest, "_packages", lambda runtime: ())
    monkeypatch.setattr(fastest, "start", start)
    chosen, trials = choose(asked(model), record_of(model), Sample())
    assert chosen == one and "not finite" in trials[0].error and trials[1].rate > 0


def test_features_are_compared_as_such_and_files_without_them_are_left_out(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "m.onnx"
    mn.export(model, made)
    able = [
        Candidate("onnxruntime", "float32", str(model)),
        Candidate("onnxruntime", "int8", str(made)),
    ]
    monkeypatch.setattr(fastest, "candidates", lambda place, allowed: able)
    chosen, trials = choose(asked(model, "auto", output="features"), record_of(model), Sample())
    assert chosen == able[0] and trials[0].rate > 0 and "features" in trials[1].error
    other = Trial(able[1], 200.0, 1.0, 0.02, rounding=False, photos=64, output="features")
    assert "features differ by up to 2.0%" in sentence(able[1], (trials[0], other))


def test_an_exported_file_is_compared_with_its_default_runtime(model: Path) -> None:
    one, two = (Candidate(name, "as exported", str(model)) for name in ("a", "b"))
    trials = Trial(one, 100.0), Trial(two, 200.0, 0.9, 0.2, rounding=False, photos=64)
    assert "same top-1 class as with a" in sentence(two, trials)


def test_the_int8_file_that_began_is_known_by_its_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "1.onnx", tmp_path / "2.onnx"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    before = Before("onnxruntime int8", hashlib.sha256(b"2").hexdigest())
    able = [Candidate("onnxruntime", "int8", str(path)) for path in (one, two)]
    assert [before.is_of(candidate) for candidate in able] == [False, True]


def test_without_an_installed_runtime_an_exported_file_says_what_is_missing(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(b"")
    monkeypatch.setattr(fastest, "_installed", lambda names: [])
    assert [one.runtime for one in candidates(path, "auto")] == ["litert"]


def test_a_file_of_another_program_is_tried_with_what_the_user_says(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest, "WORTHWHILE", 10)
    foreign = Foreign(size=(32, 32), classes=3).write(tmp_path / "m.onnx")
    said = given_options(None, "imagenet", "cover")
    record = Preprocessing(size=(32, 32))
    able = candidates(foreign, "exact")
    how = asked(foreign, given=said)
    trials = fastest.try_all(able, Sample()(record), how)
    assert [one.error for one in trials] == [""] * len(able) and trials[0].rate > 0
    found = [*mn.predict(photos, foreign, runtime="auto", labels=["a", "b", "c"], resize="cover")]
    assert {one.label for one in found} <= {"a", "b", "c"} and len(found) > 10


@pytest.mark.parametrize("damage", ["[", "[{}]", '{"a": 1}', '[{"candidate": {"runtime": 1}}]'])
def test_a_damaged_memory_is_none(model: Path, damage: str, tmp_path: Path) -> None:
    if len(candidates(model, "exact")) == 1:
        pytest.skip("one runtime is installed, of which nothing is remembered")
    sample = Sample()
    choose(asked(model), record_of(model), sample)
    for path in (tmp_path / "cache" / fastest.FOLDER).iterdir():
        path.write_text(damage)
    choose(asked(model), record_of(model), sample)
    assert sample.asked == 2


def test_an_int8_file_is_tried_if_it_was_made_of_the_model_and_not_changed(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    made = tmp_path / "int8.onnx"
    mn.quantize(model, made, data=photos, force=True)
    remember_verified(model, made)  # forced files are not noted by themselves
    assert verified(model) == [made]
    own = Candidate("onnxruntime", "int8", str(made))
    assert own in candidates(model, "auto")
    assert all(one.precision == "float32" for one in candidates(model, "exact"))
    _, trials = choose(asked(model, "auto"), record_of(model), Sample())
    (of_int8,) = (one for one in trials if one.candidate == own)
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
        for guess, before in zip(one["predictions"], other["predictions"], strict=True):  # type: ignore[call-overload]
            assert guess["index"] == before["index"]
            assert guess["probability"] == pytest.approx(before["probability"], abs=1e-4)
    said = capsys.readouterr().err
    names = {one.name for one in candidates(model, "exact")}
    assert any(f"runtime: {name}" in said for name in names) and "thread" in said
    if len(names) > 1:
        assert all(f"  {name}: " in said for name in names) and "photos/s" in said
    else:
        assert "nothing was tried" in said
    with pytest.raises(ArtifactError, match=r"auto.*chooses the runtime"):
        mn.predict(photos, model, runtime="onnxruntime", precision="auto")
    with pytest.raises(ArtifactError, match="auto is for the CPU"):
        mn.predict(photos, model, runtime="auto", device="cuda")


def test_rates_are_told_of_each_candidate_or_why_there_are_none() -> None:
    one, other = Candidate("a", "float32", "m"), Candidate("b", "bfloat16", "m")
    assert rates((Trial(one, 41.6), Trial(other, error="cannot be run"))) == [
        "a: 42 photos/s, without reading them", "b bfloat16: cannot be run",
    ]  # fmt: skip
    assert str(fastest.WORTHWHILE) in rates(())[0]


def test_what_is_remembered_is_plain(tmp_path: Path) -> None:
    one = Trial(Candidate("a", "float32", "b"), 1.0)
    plain = json.loads(json.dumps(dataclasses.asdict(one)))
    assert Trial(**{**plain, "candidate": one.candidate}) == one


def test_nothing_is_kept_where_that_is_turned_off(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.SWITCH, "0")
    sample = Sample()
    for _ in range(2):
        choose(asked(model), record_of(model), sample)
    remember_verified(model, model / "config.json")
    assert verified(model) == [] and not (tmp_path / "cache").exists()
    assert sample.asked == (2 if len(candidates(model, "exact")) > 1 else 0)


def test_evaluation_takes_the_fastest_runtime_and_says_which(
    model: Path, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest, "WORTHWHILE", 10)
    found = mn.evaluate(model, photos, runtime="auto", report=tmp_path / "report")
    plain = mn.evaluate(model, photos)
    assert found.result.how["runtime"] in {one.name for one in candidates(model, "exact")}
    np.testing.assert_allclose(found.predictions.logits, plain.predictions.logits, atol=1e-3)
    assert "Grad-CAM" in (tmp_path / "report" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_benchmark_shows_the_same_table_and_remembers_trials_of_photos_only(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    able = candidates(model, "auto")
    for data in (None, photos):
        found = mn.benchmark(model, data=data, runtime="onnxruntime", batch=1, seconds=0.02)
        assert [one.candidate for one in found.many] == (able if len(able) > 1 else [])
        columns, rows = found.table_of_many()
        assert len(rows) == len(found.many) and all(len(row) == len(columns) for row in rows)
        assert not found.many or any(one.candidate.name in found.fastest for one in found.many)
        kept = (tmp_path / "cache" / fastest.FOLDER).exists()
        assert kept == (data is not None and len(able) > 1)
    if len(able) == 1:
        pytest.skip("one runtime is installed, so that nothing is tried")
