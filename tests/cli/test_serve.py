import dataclasses

import pytest

from mobilenetv2.cli import serve
from mobilenetv2.cli.main import main
from mobilenetv2.cli.parser import make_parser
from mobilenetv2.serving.settings import Settings


def test_every_setting_has_an_option() -> None:
    options = {*serve.OPTIONS, "origins", "hosts", "page", "access_log"}
    assert options == {one.name for one in dataclasses.fields(Settings)}
    assert set(serve.OPTIONS) == set(serve.HELP)


def test_the_help_says_the_defaults() -> None:
    usual = Settings()
    for name, text in serve.HELP.items():
        value = getattr(usual, name)
        if value is not None:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            assert f"(default: {shown})" in text, name


def test_options_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    called: dict[str, object] = {}
    monkeypatch.setattr(
        "mobilenetv2.serving.serve.serve",
        lambda models, **settings: called.update(settings, models=models),
    )
    words = ["serve", "--model", "a=x", "y", "--model", "z", "--port", "0", "--origin",
             "https://a.example", "--no-page", "--max-mb", "2.5"]  # fmt: skip
    assert main(words) == 0
    assert called["models"] == ["a=x", "y", "z"]
    assert (called["port"], called["max_mb"], called["page"]) == (0, 2.5, False)
    assert called["origins"] == ["https://a.example"] and called["queue"] is None
    assert "access_log" not in called


def test_models_can_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve"]) == 2
    assert "--model" in capsys.readouterr().err
    called: list[object] = []
    monkeypatch.setattr(
        "mobilenetv2.serving.serve.serve", lambda models, **settings: called.append(models)
    )
    monkeypatch.setenv("MOBILENETV2_SERVE_MODEL", "embedded")
    assert main(["serve"]) == 0 and called == [["embedded"]]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--model", "nowhere"], "nowhere"),
        (["--model", "embedded", "--port", "99999"], "--port"),
        (["--model", "embedded", "--origin", "shop"], "--origin"),
        (["--model", "embedded", "--tokens", "no-such-file"], "no-such-file"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *words]) == 2
    assert part in capsys.readouterr().err


def test_the_parser_knows_the_verb() -> None:
    assert make_parser().parse_args(["serve", "--model", "embedded"]).verb == "serve"


def test_a_model_without_its_option_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "runs/photos/best"]) == 2
    assert "runs/photos/best: serve takes its models behind --model" in capsys.readouterr().err
