"""Options about foreign files in every form that a user gives them in."""

from pathlib import Path
from typing import Any, cast

import pytest

from mobilenetv2.errors import ArtifactError, DialectError
from mobilenetv2.runtime.given_options import given_options
from mobilenetv2.spec.foreign import Given
from mobilenetv2.spec.records import Labels, Preprocessing


def test_labels_are_names_a_record_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text('{"hat": 0, "shoes": 1}', "utf-8")
    wanted = Labels(("hat", "shoes"))
    for labels in (["hat", "shoes"], wanted, tmp_path / "l.json", str(tmp_path / "l.json")):
        assert given_options(labels).labels == wanted
    with pytest.raises(DialectError, match=r"l\.txt: "):
        (tmp_path / "l.txt").write_text("hat\nhat\n", "utf-8")
        given_options(tmp_path / "l.txt")
    with pytest.raises(DialectError, match="twice: 'hat'"):
        given_options(["hat", "hat"])


def test_a_preprocessing_is_a_record_a_name_or_a_path() -> None:
    record = Preprocessing()
    assert given_options(preprocessing=record) == Given(preprocessing=record)
    assert given_options(preprocessing=Path("a.json")).preprocessing == "a.json"
    assert given_options() == Given()


def test_an_unknown_resize_is_refused() -> None:
    with pytest.raises(ArtifactError, match="'streched' is unknown; did you mean 'stretch'"):
        given_options(resize=cast(Any, "streched"))
