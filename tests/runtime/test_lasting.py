"""A classifier that is pickled, forked and shared between threads answers as it did before."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.errors import ImageError, Stopped
from mobilenetv2.exporting.job import Options, writer_of
from mobilenetv2.formats import FORMATS
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.model import store
from mobilenetv2.runtime import lasting
from mobilenetv2.runtime.loading import RUNTIMES

SCRIPT = """
import multiprocessing, os, pickle, signal, sys, threading
from concurrent.futures import ProcessPoolExecutor
import numpy as np
import mobilenetv2 as mn

LIMIT = 60  # seconds, for what takes one or two

def answer(classify, photo):
    return classify(photo).probabilities

def forked(classify, photo):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT)
        os.write(write, answer(classify, photo).tobytes())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the forked process hung or failed"
    return np.frombuffer(os.read(read, 1 << 16))

def main(model, runtime):
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    classify = mn.Classifier(model, runtime=runtime or None, threads=2)
    expected = answer(classify, photo)
    same = lambda found: np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    same(forked(classify, photo))
    same(answer(classify, photo))
    copy = pickle.loads(pickle.dumps(classify))
    assert copy.labels == classify.labels and repr(copy) == repr(classify)
    same(answer(copy, photo))
    for method in sys.argv[3:]:
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            jobs = [pool.submit(answer, classify, photo) for _ in range(4)]
            for job in jobs:
                same(job.result(LIMIT))
    new = lambda: same(answer(mn.Classifier(model, runtime=runtime or None, threads=2), photo))
    child = multiprocessing.get_context("fork").Process(target=new)
    child.start()
    child.join(LIMIT)
    assert child.exitcode == 0, "a new classifier in a forked process hung or failed"

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run(folder: Path, model: Path, runtime: str, *methods: str) -> None:
    script = folder / "processes.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(script), str(model)]
    done = subprocess.run(
        [*command, runtime, *methods], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@needs_fork
def test_a_classifier_works_in_forked_and_spawned_processes(tmp_path: Path) -> None:
    run(tmp_path, embedded_folder(), "onnxruntime", "fork", "spawn")


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if name != "onnxruntime"])
def test_every_runtime_works_in_forked_and_spawned_processes(runtime: str, tmp_path: Path) -> None:
    made = FORMATS.get(runtime)
    if missing := made.missing() if made else ():
        pytest.skip(f"{runtime} needs {', '.join(missing)}: the extra 'export' has it")
    model = embedded_folder()
    if made is not None and runtime in ("ncnn", "mnn", "executorch"):
        out = tmp_path / f"m{made.suffix}"
        writer_of(made)(*store.load(model), out, Options())
        model = out
    run(tmp_path, model, runtime, "fork", "spawn", "forkserver")


def test_a_copy_needs_no_file_and_starts_its_engine_once(model: Path, tmp_path: Path) -> None:
    config, arrays = store.load(model)
    place = tmp_path / "model"
    store.save(place, config, arrays)
    classify = mn.Classifier(place, flips=True)
    (place / "model.safetensors").unlink()
    data = pickle.dumps(classify)
    one, other = pickle.loads(data), pickle.loads(data)
    photo = np.zeros((40, 40, 3), np.uint8)
    assert np.array_equal(one(photo).probabilities, classify(photo).probabilities)
    assert one._loaded.predict.predict is other._loaded.predict.predict
    assert len(lasting._ARRIVED) <= lasting._MOST_ARRIVED


def test_threads_share_one_classifier(model: Path, photos: Path) -> None:
    classify = mn.Classifier(model)
    paths = sorted(photos.rglob("*.*"))[:12]
    expected = [classify(path).probabilities for path in paths]
    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(classify, paths * 3)):
            assert np.array_equal(found.probabilities, expected[number % len(paths)])


def test_answers_and_errors_can_be_pickled(model: Path, photos: Path, tmp_path: Path) -> None:
    classify = mn.Classifier(model)
    answer = classify(photos / "ball" / "00.png")
    copy = pickle.loads(pickle.dumps(answer))
    assert repr(copy) == repr(answer)
    assert np.array_equal(copy.probabilities, answer.probabilities)
    (unreadable,) = classify([b"no photo"])
    assert repr(pickle.loads(pickle.dumps(unreadable))) == repr(unreadable)
    (features,) = mn.predict([photos / "ball" / "00.png"], model, features=True)
    assert repr(pickle.loads(pickle.dumps(features))) == repr(features)
    for error in (ImageError("x.png: broken"), Stopped(tmp_path), mn.MobileNetV2Error("no")):
        found = pickle.loads(pickle.dumps(error))
        assert type(found) is type(error)
        assert str(found) == str(error)


THREADS = """
import os, signal, threading, time
import numpy as np
from mobilenetv2.runtime import lasting

starts = []

def start():
    starts.append(os.getpid())
    time.sleep(0.05)  # as an engine takes
    return lambda pictures: pictures

predict = lasting.LastingPredictor(start)
old = predict._run
lasting._starting.acquire()  # as another thread may, while this one forks
child = os.fork()
if child == 0:
    signal.alarm(60)
    together = threading.Barrier(8)
    def ask():
        together.wait()
        predict(np.zeros(1))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    right = starts.count(os.getpid()) == 1 and lasting._LEFT == [old]
    os._exit(0 if right else 1)
raise SystemExit(os.waitpid(child, 0)[1] != 0)
"""


@needs_fork
def test_threads_of_a_forked_process_start_one_engine() -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", THREADS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
