from contextlib import ExitStack
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.runtime.given_options import given_options
from mobilenetv2.serving.models import find, named, served_models


def test_a_word_may_have_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named("shoes=runs/best") == ("shoes", "runs/best")
    assert named("runs/best") == (None, "runs/best")
    assert named("runs/a=b/best") == (None, "runs/a=b/best")
    Path("a=b").mkdir()
    assert named("a=b") == (None, "a=b")


def test_models_are_found_by_name(tmp_path: Path) -> None:
    run = tmp_path / "shoes" / "best"
    mn.save(mn.load("embedded", edition="numpy"), run)
    with ExitStack() as stack:
        models = served_models([str(run), "embedded", f"b={run}"], stack)
        assert [model.name for model in models] == ["shoes", "embedded", "b"]
        assert find(models, None) is models[0] and find(models, "b") is models[2]
        assert find(models, "c") is None
        assert all(model.explains for model in models)
        assert models[0].job()["place"] == str(run.resolve())


def test_a_network_in_memory_is_served_while_the_context_lasts() -> None:
    with ExitStack() as stack:
        (model,) = served_models(mn.load("embedded", edition="numpy"), stack)
        assert model.place.is_dir()
    assert not model.place.exists()


@pytest.mark.parametrize(
    ("models", "part"),
    [
        ([], "no model"),
        (["a=embedded", "a=embedded"], "a"),
        ({"a b": "embedded"}, "a b"),
        ({"../x": "embedded"}, "name"),
        ("nowhere/best", "nowhere/best"),
    ],
)
def test_wrong_models_are_errors(models: object, part: str) -> None:
    with ExitStack() as stack, pytest.raises(MobileNetV2Error, match=part):
        served_models(models, stack)


def test_options_of_foreign_files_are_for_one_model() -> None:
    with ExitStack() as stack, pytest.raises(MobileNetV2Error, match="one model"):
        served_models(["embedded", "b=embedded"], stack, given=given_options(resize="cover"))
