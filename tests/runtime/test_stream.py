"""Answers that go into files and folders while they come."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_networks import Foreign

import mobilenetv2 as mn
from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.images.photo import Photo, network_picture_noted
from mobilenetv2.runtime import fastest, stream
from mobilenetv2.runtime.fastest import candidates
from mobilenetv2.runtime.output.file import JOURNAL, UNFINISHED


@pytest.fixture
def many(photos: Path, tmp_path: Path) -> Path:
    """A folder of 120 links to photos, one of which leads to no picture."""
    folder = tmp_path / "many"
    folder.mkdir()
    names = sorted(path for path in photos.rglob("*") if path.is_file())
    for number in range(120):
        (folder / f"{number:03}.jpg").symlink_to(names[number % len(names)])
    (folder / "050.jpg").unlink()
    (folder / "050.jpg").write_bytes(b"no picture")
    return folder


def test_a_file_has_what_the_answers_say(many: Path, model: Path, tmp_path: Path) -> None:
    answers = mn.predict(many, model, output=tmp_path / "a.jsonl", top=2)
    found = [one.to_dict(2) for one in answers]
    lines = (tmp_path / "a.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == found
    assert (answers.count, answers.failed) == (120, 1)
    with pytest.raises(MobileNetV2Error, match=r"output.*\.csv, \.jsonl, \.parquet"):
        mn.predict(many, model, output=tmp_path / "a.txt")
    with pytest.raises(MobileNetV2Error, match=r"resume.*give output"):
        mn.predict(many, model, resume=True)


def test_only_what_is_left_is_predicted_after_a_stop(
    many: Path, model: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole.csv", tmp_path / "broken.csv"
    first = list(mn.predict(many, model, output=whole))
    stopped = mn.predict(many, model, output=broken)
    for _ in range(50):
        next(stopped)
    stopped.close()
    assert not broken.exists()
    again = mn.predict(many, model, output=broken, resume=True)
    rest = list(again)
    assert 0 < len(rest) < len(first) and rest[-1].photo == first[-1].photo
    assert (again.count, again.failed) == (120, 1)
    assert broken.read_bytes() == whole.read_bytes()
    with pytest.raises(MobileNetV2Error, match="other settings"):
        half = mn.predict(many, model, output=broken)
        next(half)
        half.close()
        next(mn.predict(many, model, output=broken, resume=True, flips=True))


def test_a_single_photo_is_read_once_while_the_engine_starts(
    photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, read = next(photos.rglob("*.png")), []
    real = network_picture_noted

    def noted(*given: Any) -> Any:
        read.append(threading.current_thread())
        return real(*given)

    expected = next(mn.predict([photo, photo], model)).to_dict()
    monkeypatch.setattr(stream, "network_picture_noted", noted)
    for given in (photo, [photo], photo.read_bytes()):
        (found,) = mn.predict(given, model)
        assert found.to_dict()["predictions"] == expected["predictions"]
    assert len(read) == 3
    assert not [thread for thread in read if thread.name.startswith("photos")]
    (bad,) = mn.predict(b"no picture", model)
    assert bad.error is not None
    with pytest.raises(ArtifactError, match="unknown"):
        mn.predict(photo, model, runtime="nothing")


def test_unordered_answers_are_the_same_ones(many: Path, model: Path) -> None:
    ordered = {str(one.photo): str(one) for one in mn.predict(many, model)}
    found = list(mn.predict(many, model, ordered=False))
    assert {str(one.photo): str(one) for one in found} == ordered and len(found) == 120


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_no_answer(many: Path, model: Path, threads: int) -> None:
    some = sorted(many.iterdir())[:10]
    expected = [one.to_dict() for one in mn.predict(some, model)]
    for one, other in zip(mn.predict(some, model, threads=threads), expected, strict=True):
        found = one.to_dict()
        assert found["image"] == other["image"]
        for guess, before in zip(found["predictions"], other["predictions"], strict=True):  # type: ignore[call-overload]
            assert guess["index"] == before["index"]
            assert guess["probability"] == pytest.approx(before["probability"], abs=1e-6)


def test_photos_are_sorted_into_folders(many: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "sorted"
    answers = mn.predict(many, model, copy_to=out, threshold=0.0, links=True)
    labels = [one.label for one in answers if one.label is not None]
    assert sum(answers.sorted.values()) == len(labels) == 119
    for name, count in answers.sorted.items():
        assert labels.count(name) == count
        assert len(list((out / name).iterdir())) == count
    wrong: list[dict[str, Any]] = [{"links": True}, {"threshold": 0.8}]
    for given in wrong:
        with pytest.raises(MobileNetV2Error, match=rf"{next(iter(given))}.*give copy_to"):
            mn.predict(many, model, **given)
    with pytest.raises(MobileNetV2Error, match="needs classes"):
        mn.predict(many, model, copy_to=out, features=True)


def test_photos_in_memory_are_resumed_by_their_place_and_contents(
    many: Path, model: Path, tmp_path: Path
) -> None:
    names = sorted(many.iterdir())
    one, two = (name.read_bytes() for name in names[:2])
    photos: list[Photo] = [one, names[3], names[4], two, np.zeros((9, 9, 3), np.uint8), one]
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    expected = list(mn.predict(photos, model, output=whole))
    for count in (1, 2, 2):
        stopped = mn.predict(photos, model, output=broken, resume=True)
        for _ in range(count):
            next(stopped, None)
        stopped.close()
    list(mn.predict(photos, model, output=broken, resume=True))
    assert broken.read_bytes() == whole.read_bytes() and len(expected) == 6


def test_what_was_sorted_into_the_folder_of_the_photos_is_not_predicted_again(
    many: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ordered in (True, False):
        answers = mn.predict(many, model, copy_to=many / "sorted", threshold=0.0, ordered=ordered)
        assert len(list(answers)) == 120 and answers.failed == 1
    assert "where this run puts photos: 1" in capsys.readouterr().err
    with pytest.raises(MobileNetV2Error, match="choose another"):
        mn.predict(many / "sorted", model, copy_to=many / "sorted")
    inside = next((many / "sorted").iterdir())
    count = len(list(inside.iterdir()))
    assert len(list(mn.predict(inside, model, copy_to=many / "sorted", threshold=0.0))) == count
    assert len(list(inside.iterdir())) == count
    shutil.rmtree(many / "sorted")
    there = mn.predict(many, model, copy_to=many.parent, threshold=0.0)
    assert len(list(there)) == 120


def test_a_run_is_resumed_with_the_same_labels_only(
    many: Path, model: Path, tmp_path: Path
) -> None:
    foreign, path = Foreign(classes=3).write(tmp_path / "m.onnx"), tmp_path / "a.csv"
    one, other = ([f"{name}{index}" for index in range(3)] for name in ("a", "b"))
    stopped = mn.predict(many, foreign, labels=one, output=path)
    for _ in range(30):
        next(stopped)
    stopped.close()
    with pytest.raises(MobileNetV2Error, match=r"other settings \(labels\)"):
        next(mn.predict(many, foreign, labels=other, output=path, resume=True))
    assert len(list(mn.predict(many, foreign, labels=one, output=path, resume=True))) < 120


def test_a_run_goes_on_with_the_runtime_that_began_it(
    many: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = candidates(model, "exact")
    path, last = tmp_path / "a.csv", able[-1].runtime
    stopped = mn.predict(many, model, runtime=last, output=path)
    for _ in range(30):
        next(stopped)
    stopped.close()
    monkeypatch.setattr(fastest, "_key", None)  # nothing is tried
    if len(able) == 1:
        pytest.skip("one runtime is installed, which 'auto' takes in any case")
    rest = list(mn.predict(many, model, runtime="auto", output=path, resume=True))
    assert 0 < len(rest) < 120 and len(path.read_text("utf-8").splitlines()) > 120


def test_pytorch_keeps_the_threads_of_the_process(many: Path, model: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch, of an extra")
    before = torch.get_num_threads()
    some = sorted(many.iterdir())[:5]
    assert len(list(mn.predict(some, model, runtime="torch"))) == 5
    assert torch.get_num_threads() == before


@pytest.mark.skipif(os.name == "nt", reason="names are sent in pieces the POSIX way")
@pytest.mark.parametrize("end", ["\n", "\0"])
def test_names_on_standard_input_are_answered_while_the_next_ones_are_awaited(
    many: Path, model: Path, end: str
) -> None:
    names = [str(path) for path in sorted(many.iterdir())[:4]]
    command = [sys.executable, "-m", "mobilenetv2", "predict", "@-", "--model", str(model),
               "--json"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        for name in names:  # each is sent when the one before has its answer, in two pieces
            for piece in (name[:9], name[9:] + end):
                process.stdin.write(piece.encode())
                process.stdin.flush()
                time.sleep(0.01)
            assert json.loads(process.stdout.readline())["image"] == name
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_a_list_as_a_path_is_standard_input(
    many: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(str(path) for path in sorted(many.iterdir())[:3])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert len(list(mn.predict(Path("@-"), model, progress=True))) == 3


def test_a_name_that_no_file_can_have_is_an_answer_of_its_own(
    many: Path, model: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("x" * 300 + f"\n{many / '000.jpg'}\n")
    first, second = mn.predict(f"@{listed}", model)
    assert first.error is not None and second.error is None


@pytest.mark.skipif(os.name == "nt", reason="signals the POSIX way")
@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_the_file_is_that_of_an_unbroken_run(
    many: Path, model: Path, tmp_path: Path
) -> None:
    chosen, path = random.Random(0), tmp_path / "a.csv"
    command = [sys.executable, "-m", "mobilenetv2", "predict", str(many), "--model", str(model)]
    whole = tmp_path / "whole.csv"
    began = time.monotonic()
    assert subprocess.run([*command, "--output", str(whole)], capture_output=True).returncode == 1
    took = time.monotonic() - began
    kills = 0
    for _ in range(20):
        words = [*command, "--output", str(path), "--resume"]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(chosen.uniform(0.3, 1.0) * took)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
        if path.exists():
            assert path.read_bytes() == whole.read_bytes()
            path.unlink()
            assert not path.with_name(path.name + UNFINISHED).exists()
            assert not path.with_name(path.name + JOURNAL).exists()
    assert kills > 3
    assert subprocess.run([*words], capture_output=True).returncode == 1
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="signals the POSIX way")
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    many: Path, model: Path, tmp_path: Path
) -> None:
    path, whole = tmp_path / "a.csv", tmp_path / "whole.csv"
    names = "".join(f"{name}\n" for name in sorted(many.iterdir()))
    first, rest = names[: len(names) // 2], names[len(names) // 2 :]
    command = [sys.executable, "-m", "mobilenetv2", "predict", "@-", "--model", str(model),
               "--output", str(path)]  # fmt: skip
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write(first)  # the others never come
        process.stdin.flush()
        unfinished = path.with_name(path.name + UNFINISHED)
        deadline = time.monotonic() + 60
        while not (unfinished.exists() and unfinished.stat().st_size > 200):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130 and "--resume" in said and "Traceback" not in said
    assert unfinished.exists() and not path.exists()
    resumed = subprocess.run(
        [*command, "--resume"], input=first + rest, capture_output=True, text=True
    )
    assert resumed.returncode == 1
    list(mn.predict(many, model, output=whole))
    assert path.read_bytes() == whole.read_bytes()
