"""``data``: what is printed and written, in words and as JSON, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main


def test_what_a_place_holds(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(photos)]) == 0
    words = capsys.readouterr().out
    assert "triangle" in words and "folder, 36 photos of 3 classes" in words
    assert main(["data", "info", str(photos), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["photos"], found["shards"]) == ("folder", 36, 0)


def test_shards_are_written_and_compared(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    assert main(["data", "shard", str(photos), str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["photos"], found["shards"]) == ("shards", 36, 1)
    assert main(["data", "info", str(out), "--check"]) == 0
    with (out / "all-000000.tar").open("r+b") as file:
        file.write(b"x")
    capsys.readouterr()
    assert main(["data", "info", str(out), "--check", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["damaged"] == ["all-000000.tar"]
    assert "all-000000.tar: missing, or other bytes" in captured.err


def test_what_is_refused(photos: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "no such folder" in refused("data", "info", tmp_path / "nowhere")
    assert "--megabytes" in refused("data", "shard", photos, tmp_path / "x", "--megabytes", "0")
    assert "among the photos" in refused("data", "shard", photos, photos / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "other files" in refused("data", "shard", photos, tmp_path / "full")
