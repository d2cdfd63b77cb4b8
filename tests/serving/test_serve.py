import sys

import pytest

import mobilenetv2 as mn
from mobilenetv2.errors import MissingExtra, MobileNetV2Error


def test_an_application_has_its_models_and_settings() -> None:
    app = mn.app({"a": "embedded", "b": "embedded"}, port=1, access_log=False)
    assert [model.name for model in app.models] == ["a", "b"]
    assert app.settings.port == 1
    app._stack.close()


def test_a_wrong_setting_is_an_error_before_anything_starts() -> None:
    with pytest.raises(MobileNetV2Error, match="token"):
        mn.app("embedded", token="x")
    with pytest.raises(MobileNetV2Error, match="port"):
        mn.serve("embedded", port=-1)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    with pytest.raises(MissingExtra, match="python_multipart"):
        mn.app("embedded")


@pytest.mark.parametrize("page", [True, False])
def test_a_page_that_lacks_files_of_others_is_named_once(
    page: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mobilenetv2.serving.page_files.missing_vendor", lambda: "no npm")
    monkeypatch.setattr(
        "mobilenetv2.serving.server.run", lambda application, settings: application._stack.close()
    )
    mn.serve("embedded", page=page)
    assert capsys.readouterr().err.count("no npm") == page


def test_a_model_that_cannot_be_loaded_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mobilenetv2.serving.computing.process.MODULE", "mobilenetv2.serving.none_such"
    )
    with pytest.raises(MobileNetV2Error, match="did not start"):
        mn.serve("embedded", port=0, workers=1, access_log=False)
