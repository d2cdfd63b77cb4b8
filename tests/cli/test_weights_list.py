"""``weights list``: what is shown, filtered and sorted."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.cli import weights_list
from mobilenetv2.errors import WeightsError
from mobilenetv2.hub import cache
from mobilenetv2.hub.catalogue import catalogue, find


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cached."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr("mobilenetv2.hub.huggingface.cached", lambda *_: None)


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    chosen = {"dialect": None, "width": None, "sort": "name", "json": False, **options}
    assert weights_list.run(argparse.Namespace(**chosen)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def listed(capsys: pytest.CaptureFixture[str], **options: Any) -> list[dict[str, Any]]:
    entries = json.loads(run(capsys, json=True, **options))
    assert isinstance(entries, list)
    return entries


def test_everything_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    names = [entry["name"] for entry in listed(capsys)]
    assert names == sorted(catalogue())


def test_json_has_what_the_catalogue_has(capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = [entry for entry in listed(capsys, dialect="timm") if entry["width"] == 1.0]
    entry = find("timm-100")
    assert shown == {
        "name": "timm-100", "dialect": "timm", "width": 1.0, "size": 224, "classes": 1000,
        "background": None, "top1": entry.top1, "licence": "Apache-2.0",
        "file_size": entry.file_size, "sha256": entry.sha256, "sha256_prefix": None,
        "preprocessing": "timm", "where": entry.where, "file": entry.file, "note": "",
        "verified": True, "cached": False, "default": True,
    }  # fmt: skip


@pytest.mark.parametrize("sort", ["width", "size", "top1", "file_size"])
def test_sorted_with_the_unknown_last(sort: str, capsys: pytest.CaptureFixture[str]) -> None:
    values = [entry[sort] for entry in listed(capsys, sort=sort)]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=sort == "top1")
    assert values[len(known) :] == [None] * (len(values) - len(known))


def test_filters(capsys: pytest.CaptureFixture[str]) -> None:
    entries = listed(capsys, dialect="d-li14", width=1.0)
    assert {(entry["dialect"], entry["width"]) for entry in entries} == {("d-li14", 1.0)}
    assert len(entries) == 6
    with pytest.raises(WeightsError, match=r"dialect 'tim': none published; did you mean 'timm'"):
        run(capsys, dialect="tim")
    with pytest.raises(WeightsError, match=r"width 2: none published; there are 0\.5, 1, 1\.1, 1"):
        run(capsys, dialect="timm", width=2.0)


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = find("torchvision-v2")
    (tmp_path / entry.name).mkdir()
    (tmp_path / entry.name / str(entry.file)).write_bytes(b"")
    lines = run(capsys, width=1.0, sort="top1").splitlines()
    rows = {
        line.split()[0]: line.split() for line in lines if line.startswith("  ") and line.strip()
    }
    assert rows["torchvision-v2"] == [
        "torchvision-v2", "1", "224", "1000", "72.15", "14.3", "BSD-3-Clause", "8", "digits", "yes",
    ]  # fmt: skip
    assert rows["timm-100"][-1] == "SHA-256"
    assert rows["tf-slim-1.0-224"][4:] == ["71.80", "-", "Apache-2.0", "unverified"]
    assert rows["keras-1.0-96-notop"][3:6] == ["-", "-", "-"]
    count = len([entry for entry in catalogue().values() if entry.width == 1.0])
    unverified = sum(not e.verified for e in catalogue().values() if e.width == 1.0)
    assert lines[-3] == f"{count} checkpoints; training starts from timm-100"
    assert lines[-2].startswith("embedded is inside the package")
    assert lines[-1].startswith(f"{unverified} are unverified: no checksum is published")
    assert "unverified" not in run(capsys, dialect="litert").splitlines()[-1]
