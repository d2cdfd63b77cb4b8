"""Predictions on Ray: the answers of the plain path, whatever happens to the workers."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.cluster.connection import ADDRESS, connected
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.images.photo import Photo
from mobilenetv2.runtime import on_ray
from mobilenetv2.runtime.answers import Answer, Unreadable
from mobilenetv2.runtime.loading import load_model
from mobilenetv2.runtime.on_ray import Bytes, Cluster, Elsewhere, Found, Reference, Worker
from mobilenetv2.runtime.prediction import predict

NEEDED = "needs the extra ray"


def same(found: list[Any], wanted: list[Any]) -> None:
    assert [one.photo for one in found] == [one.photo for one in wanted]
    assert [str(one.error) for one in found] == [str(one.error) for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_an_impossible_number_of_workers_is_an_error() -> None:
    with pytest.raises(MobileNetV2Error, match="workers 0 must be at least 1"):
        Cluster("ray", workers=0)
    with pytest.raises(MobileNetV2Error, match="must be 'ray'"):
        Cluster("rays")


def test_options_that_do_not_go_together_are_errors(model: Path, photos: Path) -> None:
    with pytest.raises(MobileNetV2Error, match="workers is for a cluster; give on"):
        predict(photos, model, workers=2)
    with pytest.raises(MobileNetV2Error, match="leave out runtime='torch'"):
        predict(photos, model, on="ray", runtime="torch")
    with pytest.raises(MobileNetV2Error, match="leave out device='cuda'"):
        predict(photos, model, on="ray", device="cuda")


@pytest.fixture
def worker(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Worker:
    monkeypatch.chdir(tmp_path)  # it is restored, since a worker changes it
    loaded = load_model(model, threads=1)
    return Worker(loaded.predict, loaded.config.preprocessing, str(tmp_path), 2, 1)


def test_a_worker_answers_in_order_and_says_which_files_it_does_not_see(
    worker: Worker, photos: Path, tmp_path: Path
) -> None:
    path = photos / "ball" / "00.png"
    status = path.stat()
    state = (status.st_size, status.st_mtime_ns)
    data = path.read_bytes()
    found = worker.answer([
        Reference(path, (1, 2)), Reference(path, state), Reference(tmp_path / "no.png", state),
        Reference(path), Bytes(b"text", Path("a.zip/b.png")), Bytes(data, Path("a.zip/c.png")),
    ])  # fmt: skip
    assert [type(one.outputs) for one in found[::2][:2]] == [Elsewhere, Elsewhere]
    assert str(found[4].outputs).startswith("a.zip/b.png: not a picture")
    for at in (3, 5):
        np.testing.assert_array_equal(found[1].outputs, found[at].outputs)


def test_without_the_callers_folder_a_worker_sees_no_file(model: Path, photos: Path) -> None:
    loaded = load_model(model, threads=1)
    far = Worker(loaded.predict, loaded.config.preprocessing, "/not/there", 2, 1)
    path = photos / "ball" / "00.png"
    status = path.stat()
    state = (status.st_size, status.st_mtime_ns)
    assert far.answer([Reference(path, state)]) == [Found(Elsewhere())]


class Dying:
    """A team in which every worker dies of one photo."""

    def __init__(self, bad: Path) -> None:
        self.bad, self.asked = bad, list[int]()

    def answer(self, sent: list[Any]) -> list[Found] | None:
        self.asked.append(len(sent))
        if any(one.path == self.bad for one in sent):
            return None
        return [Found(np.array([len(one.path.name)], np.float32)) for one in sent]


def test_a_photo_of_which_workers_die_is_found_and_the_others_are_answered(tmp_path: Path) -> None:
    paths = [tmp_path / f"{'x' * at}.png" for at in range(5)]
    team = Dying(paths[3])
    task = on_ray._Task[Path](team, None, lambda path: path, lambda *_: None, False)  # type: ignore[arg-type]
    done = task(paths)
    assert team.asked == [5, 1, 1, 1, 1, 1]
    assert [one.item for one in done] == paths
    assert "workers of the Ray cluster died" in str(done[3].outputs)
    good = [one.outputs for one in done if one.item != paths[3]]
    assert [float(one[0]) for one in good] == [4, 5, 6, 8]  # type: ignore[index]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    pytest.importorskip("ray", reason=NEEDED)
    before = os.environ.pop(ADDRESS, None)
    with connected("ray") as package:
        yield package
    if before is not None:
        os.environ[ADDRESS] = before


@pytest.fixture(scope="module")
def folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred photos, one of which cannot be read."""
    place = tmp_path_factory.mktemp("many")
    found = sorted(photos.rglob("*.png"))
    for at in range(300):
        shutil.copy(found[at % len(found)], place / f"{at:03}.png")
    (place / "007.png").write_text("no picture")
    return place


@pytest.mark.slow
def test_answers_are_those_of_the_plain_path(
    ray: Any, model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [*predict(folder, model)]
    found = predict(folder, model, on="ray")
    same([*found], wanted)
    assert (found.count, found.failed) == (300, 1)
    unordered = [*predict(folder, model, on="ray", ordered=False, workers=1, threads=2)]
    same(sorted(unordered, key=lambda one: str(one.photo)), wanted)
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, path.name)
    same([*predict(archive, model, on="ray")], [*predict(archive, model)])
    monkeypatch.chdir(folder)
    same([*predict(["007.png", "008.png"], model, on="ray")],
         [*predict(["007.png", "008.png"], model)])  # fmt: skip
    image = Image.open(folder / "000.png")
    memory: list[Photo] = [image, np.asarray(image), (folder / "001.png").read_bytes(), b"text"]
    same([*predict(iter(memory), model, on="ray")], [*predict(iter(memory), model)])


@pytest.mark.slow
def test_files_of_answers_are_those_of_the_plain_path(
    ray: Any, model: Path, folder: Path, tmp_path: Path
) -> None:
    for suffix in ("csv", "jsonl"):
        names = [tmp_path / f"{one}.{suffix}" for one in ("plain", "ray")]
        for name, on in zip(names, (None, "ray"), strict=True):
            assert len([*predict(folder, model, output=name, on=on)]) == 300
        assert names[0].read_bytes() == names[1].read_bytes()
    half = predict(folder, model, output=tmp_path / "half.csv", on="ray")
    for _ in range(50):
        next(half)
    half.close()
    [*predict(folder, model, output=tmp_path / "half.csv", resume=True, on="ray")]
    assert (tmp_path / "half.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    [*predict(folder, model, copy_to=tmp_path / "sorted", on="ray")]
    assert len([*(tmp_path / "sorted").rglob("*.png")]) == 299
    one = [*predict(folder, model, features=True, on="ray")]
    other = [*predict(folder, model, features=True)]
    np.testing.assert_array_equal(one[0].features, other[0].features)  # type: ignore[union-attr]


@pytest.mark.slow
def test_workers_that_are_killed_are_replaced_and_no_photo_is_lost_or_doubled(
    ray: Any, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psutil = pytest.importorskip("psutil", reason="finds the workers' processes")
    paths = [path for path in sorted(folder.iterdir()) for _ in range(10)]
    wanted = [*predict(paths, model)]
    killed = list[int]()
    monkeypatch.setattr(on_ray, "TASK", 8)
    found = list[Answer | Unreadable]()
    for one in predict(paths, model, on="ray"):
        found.append(one)
        if len(found) % 250 == 0 and len(killed) < 10:
            killed.append(kill_a_worker(psutil, killed))
    assert len({*killed}) == 10
    same(found, wanted)


def kill_a_worker(psutil: Any, killed: list[int]) -> int:
    """Kill a worker that has started, one at work if there is one, and return its process."""
    for _ in range(200):
        children = psutil.Process().children(recursive=True)
        for title in ("ray::Worker.answer", "ray::Worker"):
            for child in children:
                name = _command(child)
                if child.pid in killed or not name.startswith(title) or "__init__" in name:
                    continue
                os.kill(child.pid, signal.SIGKILL)
                return int(child.pid)
        time.sleep(0.1)
    raise AssertionError("there is no worker")


def _command(process: Any) -> str:
    try:
        return " ".join(process.cmdline())
    except Exception:  # it has ended
        return ""


@pytest.mark.slow
def test_a_cluster_at_an_address_gives_the_same_answers(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    """In processes of their own: Ray Client and a Ray of this machine exclude each other."""
    pytest.importorskip("ray", reason=NEEDED)
    wanted, found = tmp_path / "wanted.csv", tmp_path / "found.csv"
    code = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    port, other = free_ports(2)
    said = tmp_path / "head.txt"
    home = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    with said.open("w") as log:
        head = subprocess.Popen(
            [sys.executable, "-c", code, "start", "--head", "--port", str(other),
             "--ray-client-server-port", str(port), "--include-dashboard=false", "--num-cpus=2",
             "--object-store-memory=200000000", "--block"],
            stdout=log, stderr=log, env=home,
        )  # fmt: skip
    try:
        for _ in range(120):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            assert head.poll() is None, said.read_text()
            time.sleep(0.5)
        [*predict(folder, model, output=wanted)]
        command = [
            sys.executable, "-m", "mobilenetv2", "predict", str(folder), "--model", str(model),
            "--output", str(found), "--on", f"ray://127.0.0.1:{port}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    finally:
        head.terminate()
        head.wait(30)
    assert done.returncode == 1, done.stderr  # one photo is unreadable
    assert found.read_bytes() == wanted.read_bytes()


def free_ports(count: int) -> list[int]:
    """Return ports above those that Ray gives its workers."""
    found = list[int]()
    for port in range(20_001 + os.getpid() % 9_000, 32_000):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no port is free")
