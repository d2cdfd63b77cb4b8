"""Where studies look for public data, and what they say without it."""

from pathlib import Path

import pytest

from mobilenetv2.errors import DataError
from mobilenetv2.studies.data import VARIABLE, folder, places
from mobilenetv2.studies.study import Options


def test_a_given_folder_comes_first_then_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named"))
    assert places(Options(data=tmp_path)) == [tmp_path]
    assert places(Options()) == [tmp_path / "named"]
    monkeypatch.delenv(VARIABLE)
    monkeypatch.chdir(tmp_path)
    assert places(Options())[0] == tmp_path / "data"


def test_a_dataset_is_found_where_all_its_files_are(tmp_path: Path) -> None:
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "train.zip").touch()
    options = Options(data=tmp_path)
    assert folder(options, "cifar10", "train.zip") == tmp_path / "cifar10"
    with pytest.raises(DataError, match=r"'cifar10' \(train.zip, test.zip\) is not in .*make data"):
        folder(options, "cifar10", "train.zip", "test.zip")
