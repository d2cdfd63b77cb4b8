import dataclasses
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2 import __version__, text
from mobilenetv2.evaluation.metrics import measure
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.evaluation.report import facts
from mobilenetv2.evaluation.report.facts import environment, processor
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.evaluation.run_record import RunRecord
from mobilenetv2.model import store
from mobilenetv2.model.card import classifier_words
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec
from mobilenetv2.spec.records import ModelConfig

RUN = RunRecord(
    "shapes", ({"epoch": 1.0, "seconds": 30.0}, {"epoch": 2.0, "seconds": 61.0}),
    {"batch_size": "4", "seed": "7"},
    {"data": "photos", "edition": "jax", "computes": "float32 on cpu"},
    {"train": {"ball": 9, "box": 10, "gone": 2}, "validation": {"ball": 3, "box": 2}},
)  # fmt: skip


def cells(page: Any) -> list[str]:
    return [text for tag, text in page.texts if tag in ("th", "td")]


def test_photos_are_counted_by_class_and_part(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    assert cells(parse(facts.data(make_result(), RUN))) == [
        "class", "training split", "test split", "measured here",
        "ball", "9", "3", "12",
        "box", "10", "2", "12",
        "gone", "2", "-", "-",
        "triangle", "-", "-", "12",
        "all", "21", "5", "36",
    ]  # fmt: skip


def test_what_the_run_has_counted_already_is_not_shown_twice(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    same = {"all": {"ball": 12, "box": 12, "triangle": 12}}
    run = RunRecord("x", (), {}, {}, same)
    assert "measured here" not in cells(parse(facts.data(make_result(), run)))
    assert "measured here" in cells(parse(facts.data(make_result(), None)))


def test_the_photos_of_a_thousand_classes_are_a_closed_table_of_a_bounded_size(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    names = tuple(f"class {index}" for index in range(1000))
    truth = np.arange(2000) % 1000
    measured = measure(Predictions(np.eye(1000, dtype=np.float32)[truth], truth, names))
    result = dataclasses.replace(make_result(names=names), metrics=measured)
    run = RunRecord("x", (), {}, {}, {"train": dict.fromkeys(names, 5)})
    markup = facts.data(result, run)
    assert len(markup) < 300_000
    page = parse(markup)
    assert [name for name, _ in page.elements][:2] == ["details", "summary"]
    assert page.text("summary") == "1000 classes" and len(page.of("tr")) == 1 + 1000 + 1


def test_a_recipe_comes_with_how_long_it_took(parse: Callable[[str], Any]) -> None:
    page = parse(facts.recipe(RUN, None))
    found = dict(
        zip(
            [text for tag, text in page.texts if tag == "dt"],
            [text for tag, text in page.texts if tag == "dd"],
            strict=True,
        )
    )
    assert found == {
        "trained on": "photos", "started from": "random weights", "edition": "jax",
        "computed in": "float32 on cpu", "epochs run": "2", "time": "1.5 minutes",
        "batch size": "4", "seed": "7",
    }  # fmt: skip
    assert "2.0 hours" in parse(facts.recipe(RUN, 7200)).text()


def test_of_a_classifier_alone_only_the_keys_that_mean_something_are_shown(
    parse: Callable[[str], Any],
) -> None:
    recipe = {"trained": "head", "epochs": "8", "learning_rate": "0.02", "seed": "7"}
    terms = parse(facts.recipe(dataclasses.replace(RUN, recipe=recipe), None)).text("dt")
    assert terms.endswith("trainedseed") and "learning rate" not in terms


@pytest.mark.parametrize(
    ("seconds", "words"), [(45, "45 seconds"), (768, "12.8 minutes"), (11520, "3.2 hours")]
)
def test_times_are_in_words(seconds: float, words: str) -> None:
    assert text.duration(seconds) == words


def test_a_model_says_what_it_is(model: Path, tmp_path: Path, parse: Callable[[str], Any]) -> None:
    config = store.load_config(model)
    text = parse(facts.model(config, model)).text()
    for fact in (parameters(config.spec), multiply_adds(config.spec)):
        assert f"{fact:,}" in text
    assert f"{(model / store.WEIGHTS).stat().st_size / 1e6:.1f} MB" in text
    assert "licenceunknown" in text
    assert " MB" not in parse(facts.model(config, None)).text()


def test_a_resumed_run_took_the_time_of_all_its_epochs(parse: Callable[[str], Any]) -> None:
    assert RUN.seconds == 91
    assert "1.5 minutes" in parse(facts.recipe(RUN, 20.0)).text()


def test_without_a_record_of_the_start_nothing_is_said_of_it(parse: Callable[[str], Any]) -> None:
    page = parse(facts.recipe(dataclasses.replace(RUN, started={}), None))
    assert "started from" not in page.text("dt") and "random" not in page.text()


def test_how_a_model_was_run_is_said_with_it(model: Path, parse: Callable[[str], Any]) -> None:
    config = store.load_config(model)
    page = parse(facts.model(config, model, {"runtime": "openvino", "flips": "yes"}))
    assert page.text("dt").endswith("runtimeflips") and page.text("dd").endswith("openvinoyes")


def test_versions_are_those_that_run() -> None:
    found = dict(environment())
    assert found["mobilenetv2"] == __version__ and found["numpy"] == np.__version__
    assert found["Python"] == platform.python_version()
    assert all(found.values()) and int(found["cores"]) >= 1


def test_a_processor_has_a_name() -> None:
    text = "processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\n\nmodel name\t: Other\n"
    assert processor(text) == "Fast CPU @ 3 GHz"
    assert processor("") == (platform.processor() or platform.machine())


def test_a_head_is_named_where_it_is_not_the_default(make_result: Callable[..., Result]) -> None:
    config = make_result().config
    assert isinstance(config, ModelConfig) and "head" not in facts.model(config, None)
    head = ClassifierSpec("max", (HiddenSpec(16, "relu6"),), outputs="sigmoid")
    spec = config.spec.replace(classifier=head)
    found = facts.model(dataclasses.replace(config, spec=spec), None)
    assert f"<dd>{classifier_words(spec)}</dd>" in found
    assert all(words in found for words in ("max pooling", "hidden 16 (relu6)", "sigmoid"))
