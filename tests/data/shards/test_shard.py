"""``mn.shard``: what is written, the same bytes each time, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import mobilenetv2 as mn
from mobilenetv2.data import scan
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.shards import shard as module
from mobilenetv2.data.shards.index import Shard
from mobilenetv2.data.shards.writing import write_shards
from mobilenetv2.errors import DataError, InUse
from mobilenetv2.locks import hold


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def many(tmp_path: Path, png: Callable[[int], bytes]) -> Path:
    """Two splits of small photos, each padded to 60 kB, so that a MB holds 16."""
    folder = tmp_path / "many"
    for split, count in (("train", 30), ("test", 20)):
        for number in range(count):
            path = folder / split / ("even" if number % 2 else "odd") / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(number + 100 * count) + bytes(60_000))
    return folder


def test_the_splits_are_kept_and_the_order_is_mixed(many: Path, tmp_path: Path) -> None:
    made = mn.shard(many, tmp_path / "out", megabytes=1)
    assert (made.kind, made.photos, made.shards) == ("shards", 50, 4)
    assert {name: (split.photos, split.shards) for name, split in made.splits.items()} == {
        "train": (30, 2), "test": (20, 2),
    }  # fmt: skip
    assert sorted(contents(tmp_path / "out")) == [
        "index.json",
        "test-000000.tar", "test-000001.tar", "train-000000.tar", "train-000001.tar",
    ]  # fmt: skip
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    for shard in index["shards"]:
        assert shard["names"] != sorted(shard["names"]) and len({*shard["labels"]}) == 2


def test_the_same_photos_and_seed_give_the_same_files(many: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        mn.shard(many, tmp_path / name, megabytes=1, seed=seed)
    one, two, three = (contents(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one.keys() == three.keys() and one["train-000000.tar"] != three["train-000000.tar"]
    names = [open_dataset(tmp_path / name).splits["train"].photos for name in ("one", "three")]
    assert names[0] == names[1] == open_dataset(many).splits["train"].photos


@pytest.mark.parametrize("whole", [0, 1, 2, 3])
def test_a_stopped_run_goes_on_and_ends_with_the_same_files(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    mn.shard(many, tmp_path / "expected", megabytes=1)

    class Killed(Exception):
        pass

    def stopped(*args: Any) -> Any:
        *others, keep = args

        def keep_some(shard: Shard) -> None:
            if kept == whole:
                raise Killed
            counted()
            keep(shard)

        write: Any = write_shards
        return write(*others, keep_some)

    kept = 0

    def counted() -> None:
        nonlocal kept
        kept += 1

    monkeypatch.setattr(module, "write_shards", stopped)
    with pytest.raises(Killed):
        mn.shard(many, tmp_path / "out", megabytes=1)
    monkeypatch.undo()
    assert not (tmp_path / "out" / "index.json").exists()
    with pytest.raises(DataError, match="a stopped run is there; resume=True goes on"):
        mn.shard(many, tmp_path / "out", megabytes=1)
    with pytest.raises(DataError, match="the stopped run had other seed"):
        mn.shard(many, tmp_path / "out", megabytes=1, seed=5, resume=True)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    mn.shard(many, tmp_path / "out", megabytes=1, resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")
    same = sum(path.stat().st_mtime_ns == before[path] for path in before)
    assert same == whole


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills of Unix")
def test_a_kill_at_any_moment_loses_one_shard_at_most(many: Path, tmp_path: Path) -> None:
    mn.shard(many, tmp_path / "expected", megabytes=1)
    out = tmp_path / "out"
    words = ["data", "shard", str(many), str(out), "--megabytes", "1"]
    for attempt in range(12):
        command = [sys.executable, "-m", "mobilenetv2", *words]
        if attempt:
            command.append("--resume" if (out / "unfinished.jsonl").exists() else "--overwrite")
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 20
            while not [*out.glob("*.tar")][attempt // 3 :] and time.monotonic() < deadline:
                if process.poll() is not None:
                    break
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        if (out / "index.json").exists():
            assert contents(out).items() >= contents(tmp_path / "expected").items()
            return
    mn.shard(many, out, megabytes=1, resume=True)
    assert contents(out) == contents(tmp_path / "expected")


def test_shards_that_are_gone_or_cut_are_written_anew(many: Path, tmp_path: Path) -> None:
    expected, out = tmp_path / "expected", tmp_path / "out"
    mn.shard(many, expected, megabytes=1)
    mn.shard(many, out, megabytes=1)
    lines = (expected / "index.json").read_text().splitlines()[1:-1]
    dataset = open_dataset(many)
    job = module._Job(dataset, out, 1_000_000, 0)
    record = [json.dumps(job.settings()), *(line.removesuffix(",") for line in lines)]
    (out / "unfinished.jsonl").write_text("\n".join(record) + '\n{"file": "tra')
    (out / "index.json").unlink()
    (out / "train-000001.tar").write_bytes(b"cut")
    (out / "test-000000.tar").unlink()
    mn.shard(many, out, megabytes=1, resume=True)
    assert contents(out) == contents(expected)


def test_what_lies_in_the_folder_is_not_lost(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="holds other files"):
        mn.shard(many, out, overwrite=True)
    (out / "notes.txt").unlink()
    mn.shard(many, out, megabytes=1)
    with pytest.raises(DataError, match="shards are there already; overwrite=True"):
        mn.shard(many, out, megabytes=1)
    (out / "readme.txt").write_text("mine")
    mn.shard(many, out, megabytes=100, overwrite=True)
    assert sorted(contents(out)) == [
        "index.json", "readme.txt", "test-000000.tar", "train-000000.tar",
    ]  # fmt: skip


def test_shards_do_not_lie_among_their_photos(many: Path, tmp_path: Path) -> None:
    for out in (many, many / "shards", tmp_path / "many" / "x" / ".." / "shards"):
        with pytest.raises(DataError, match="would lie among the photos"):
            mn.shard(many, out)
    with pytest.raises(DataError, match="is a file"):
        mn.shard(many, next((many / "test" / "odd").iterdir()))
    assert len(open_dataset(many).splits["train"]) == 30


def test_one_process_writes(many: Path, tmp_path: Path) -> None:
    with hold(tmp_path / "out", inside=True), pytest.raises(InUse):
        # Another thread's lock: this one could take its own again.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            pool.submit(mn.shard, many, tmp_path / "out").result()


def test_a_photo_that_cannot_be_read_is_left_out_up_to_a_part(
    many: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = [f"{path.relative_to(many)},{path.parent.name}" for path in many.rglob("*.png")]
    table += ["gone.png,odd"]
    (many / "labels.csv").write_text("filename,label\n" + "\n".join(table))
    with pytest.raises(DataError, match="1 of 51 photos cannot be read"):
        mn.shard(many / "labels.csv", tmp_path / "out")
    monkeypatch.setattr(module, "require_few", partial(scan.require_few, most=0.1))
    made = mn.shard(many / "labels.csv", tmp_path / "out", overwrite=True)
    assert made.photos == 50
    assert "left out, unreadable" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"megabytes": 0.5}, {"megabytes": float("nan")}, {"seed": -1}])
def test_impossible_numbers_are_refused(
    many: Path, tmp_path: Path, options: dict[str, float]
) -> None:
    with pytest.raises(DataError, match="must be"):
        mn.shard(many, tmp_path / "out", **options)  # type: ignore[arg-type]


def test_shards_of_shards_are_the_same(many: Path, tmp_path: Path) -> None:
    mn.shard(many, tmp_path / "one", megabytes=1)
    mn.shard(tmp_path / "one", tmp_path / "two", megabytes=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.slow
def test_training_on_shards_is_training_on_the_folder(
    photos: Path, tmp_path: Path, quick: tuple[str, ...]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    mn.shard(photos, tmp_path / "shards")
    changes = ["epochs=1", *(word for word in quick if "=" in word)]
    runs = [
        mn.train(place, tmp_path / name, weights="none", changes=changes, deterministic=True)
        for name, place in (("one", photos), ("two", tmp_path / "shards"))
    ]
    assert runs[0].metrics == runs[1].metrics
    for name in ("split.csv", "best/model.safetensors"):
        one, two = ((tmp_path / run / name).read_bytes() for run in ("one", "two"))
        assert one == two
