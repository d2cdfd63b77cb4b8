"""Place of the user's cache folder."""

from pathlib import Path

import pytest

from mobilenetv2.hub.cache import VARIABLE, cache_folder


def test_the_folder_is_the_users_or_what_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "~/weights")
    assert cache_folder() == Path.home() / "weights"
    for value in ("", None):
        if value is None:
            monkeypatch.delenv(VARIABLE)
        else:
            monkeypatch.setenv(VARIABLE, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder().parts[-1] in ("mobilenetv2", "Cache")
        assert cache_folder().is_absolute()
