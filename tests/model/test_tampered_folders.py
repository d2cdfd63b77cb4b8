"""Model folders that someone changed, through every verb: one sentence, and no answer."""

import json
import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

Change = Callable[[Path], object]
Refused = Callable[..., str]


def config(change: Callable[[dict[str, Any]], object]) -> Change:
    def tamper(folder: Path) -> None:
        path = folder / "config.json"
        found = json.loads(path.read_text("utf-8"))
        change(found)
        path.write_text(json.dumps(found), "utf-8")

    return tamper


def content(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def arrays(change: Callable[[dict[str, Any]], object]) -> Change:
    def tamper(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors", {"format_version": "1"})

    return tamper


def header(change: Callable[[dict[str, Any]], object], end: bytes = b"") -> Change:
    def tamper(folder: Path) -> None:
        path = folder / "model.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        found = json.loads(data[8 : 8 + length])
        change(found)
        words = json.dumps(found).encode()
        path.write_bytes(struct.pack("<Q", len(words)) + words + data[8 + length :] + end)

    return tamper


def a_folder(name: str) -> Change:
    def tamper(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return tamper


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


STEM, BIAS = "stem.conv.weight", "classifier.bias"
STAGES = [{"expansion": 1, "channels": 8, "repeats": 100_000, "stride": 1}] * 20
KINDS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "config a list": (content("config.json", b"[]"), ("config.json", "expected a table")),
    "config a number": (content("config.json", b"3"), ("config.json", "expected a table")),
    "config deep": (content("config.json", b"[" * 99_999), ("config.json: not JSON", "deep")),
    "config of NaN": (
        config(lambda c: c["spec"].update(width=float("nan"))), ("config.json", "NaN is no number"),
    ),
    "config of a key twice": (
        lambda f: content("config.json", b'{"spec": {},' + (f / "config.json").read_bytes()[1:])(f),
        ("config.json", "'spec' occurs twice"),
    ),
    "width below 0": (config(lambda c: c["spec"].update(width=-1)), ("config.json", "width -1")),
    "channels too many": (
        config(lambda c: c["spec"].update(head_channels=10**7, head="fixed")),
        ("model.safetensors", "head.conv.weight, expected [10000000, "),
    ),
    "numbers too large": (
        config(lambda c: c["spec"].update(head_channels=10**300)), ("config.json", "head_channels"),
    ),
    "blocks too many": (
        config(lambda c: c["spec"].update(stages=STAGES)),
        ("config.json", "2,000,000 blocks; at most 1,000"),
    ),
    "stages too many": (
        config(lambda c: c["spec"].update(stages=c["spec"]["stages"] * 9_999)),
        ("config.json", "stages", "at most 1,000"),
    ),
    "classes too many": (
        config(lambda c: c["spec"].update(classes=10**7)), ("config.json", "classes 10000000"),
    ),
    "layers too wide": (
        config(
            lambda c: c["spec"]["classifier"].update(hidden=[{"units": 100_000}] * 16)
        ),
        ("config.json", "parameters; at most"),
    ),
    "labels too many": (
        config(lambda c: c["labels"].update(names=["x"] * 450_000, wordnet=[])),
        ("config.json", "450,000 entries; at most 100,000"),
    ),
    "labels too few": (
        config(lambda c: c["labels"].update(names=["a", "b"], wordnet=[])),
        ("config.json", "2 labels for 3 classes"),
    ),
    "labels of numbers": (
        config(lambda c: c["labels"].update(names=[1, 2, 3])), ("config.json", "expected a text"),
    ),
    "std of 0": (
        config(lambda c: c["preprocessing"].update(std=[0, 1, 1])), ("config.json", "above 0"),
    ),
    "metrics too many": (
        config(lambda c: c.update(metrics=dict.fromkeys(map(str, range(90_000)), 1))),
        ("config.json", "90,000 keys; at most 1,000"),
    ),
    "config a folder": (a_folder("config.json"), ("it has no config.json",)),
    "weights a folder": (a_folder("model.safetensors"), ("model.safetensors is missing",)),
    "tensor missing": (
        arrays(lambda a: a.pop(STEM)), ("model.safetensors", f"1 missing (first: {STEM})"),
    ),
    "tensor too many": (
        arrays(lambda a: a.update(more=a[BIAS])), ("model.safetensors", "1 unexpected"),
    ),
    "tensor reshaped": (
        arrays(lambda a: a.update({BIAS: np.zeros(4, "f4")})), ("model.safetensors", BIAS),
    ),
    "tensor of integers": (
        arrays(lambda a: a.update({BIAS: np.zeros(3, "i8")})), ("model.safetensors", "type I64"),
    ),
    "tensor of NaN": (
        arrays(lambda a: a.update({BIAS: a[BIAS] * np.nan})), ("model.safetensors", "not finite"),
    ),
    "variance below 0": (
        arrays(lambda a: a.update({"stem.bn.variance": -a["stem.bn.variance"]})),
        ("model.safetensors", "variance below 0"),
    ),
    "weights cut off": (cut, ("model.safetensors", "damaged")),
    "weights empty": (content("model.safetensors", b""), ("model.safetensors", "damaged")),
    "weights a pickle": (
        content("model.safetensors", b"\x80\x04cos\nsystem\n."), ("model.safetensors", "damaged"),
    ),
    "header without end": (
        content("model.safetensors", b"\xff" * 64), ("model.safetensors", "no end"),
    ),
    "header that overlaps": (
        header(lambda h: h[BIAS].update(data_offsets=h[STEM]["data_offsets"])),
        ("model.safetensors", "damaged"),
    ),
    "header beyond the file": (
        header(lambda h: h[BIAS].update(data_offsets=[2**40, 2**40 + 12])),
        ("model.safetensors", "damaged"),
    ),
    "header of another shape": (
        header(lambda h: h[BIAS].update(shape=["3"])), ("model.safetensors", "damaged"),
    ),
    "bytes behind the arrays": (
        header(lambda h: None, end=bytes(100)), ("model.safetensors", "damaged"),
    ),
}  # fmt: skip
MOST_SECONDS, MOST_MEMORY = 20, 512 * 1024  # kB; the seconds are a limit for hangs


@pytest.fixture
def tampered(model: Path, tmp_path: Path) -> Callable[[Change], Path]:
    def make(change: Change) -> Path:
        folder = Path(shutil.copytree(model, tmp_path / "model"))
        change(folder)
        return folder

    return make


@pytest.mark.parametrize(("change", "parts"), KINDS.values(), ids=KINDS)
def test_predict_refuses_it(
    change: Change, parts: tuple[str, ...], tampered: Callable[[Change], Path], photos: Path,
    refused: Refused,
) -> None:  # fmt: skip
    folder = tampered(change)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    message = refused("predict", photos / "ball" / "00.png", "--model", folder)
    assert time.monotonic() - began < MOST_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY
    assert all(part in message for part in (str(folder), *parts)), message
    assert len(message) < 1000


VERBS = {
    "evaluate": ("{photos}", "--model", "{model}"),
    "explain": ("{photos}/ball/00.png", "--model", "{model}", "--output", "{out}"),
    "export": ("{model}", "{out}", "--format", "onnx"),
    "quantize": ("{model}", "{out}", "--data", "{photos}"),
    "parity": ("{model}",),
    "benchmark": ("{model}",),
    "describe": ("{model}",),
    "weights export": ("{model}", "{out}"),
    "train": ("{photos}", "--weights", "{model}", "--output", "{out}"),
    "audit": ("{photos}", "--model", "{model}"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", ["config deep", "blocks too many", "tensor of NaN"])
def test_every_verb_refuses_its_config(
    verb: str, kind: str, tampered: Callable[[Change], Path], photos: Path, tmp_path: Path,
    refused: Refused,
) -> None:  # fmt: skip
    change, parts = KINDS[kind]
    places = {"model": tampered(change), "photos": photos, "out": tmp_path / "out"}
    if (verb, kind) == ("describe", "tensor of NaN"):
        pytest.skip("describe reads no weights")
    message = refused(*verb.split(), *(word.format(**places) for word in VERBS[verb]))
    assert all(part in message for part in parts), message
