"""Kill trainings, quantizations, downloads and predictions at random moments; check what is left.

    python benchmarks/kills.py [--kills 100] [--only training,quantize,predict] [--seed 0]

Every process is killed by SIGKILL at a moment drawn from the whole duration of an undisturbed one,
from its start to its last write. What lies there afterwards must be old or new, the next process
must go on without being told anything but ``--resume``, and its end must be that of an undisturbed
process, byte for byte, with nothing left beside it. Prints a table in Markdown.
"""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image

from mobilenetv2.model import store
from mobilenetv2.training.checkpoint import Checkpoint

CHANGES = (
    "network=small", "size=32", "width=0.1", "epochs=4", "batch_size=8", "dropout=0.3",
    "ema_decay=0.8", "precision=float32", "mixing.cutmix=1.0", "mixing.share=0.5", "balance=0.5",
    "selection=0.2", "validation=0.2", "phases=[0.5,1.0]", "augmentation.policy=trivialaugment",
    "replicas=2",
)  # fmt: skip
FINE_TUNING = ("epochs=6", "batch_size=8", "precision=float32", "classifier.fit_first=true")
SCRATCH = (
    "--weights",
    "none",
    *(word for change in CHANGES for word in ("--set", change)),
)
TUNED = (
    "--weights", "embedded", "--recipe", "finetune",
    *(word for change in FINE_TUNING for word in ("--set", change)),
)  # fmt: skip
FINISHED = "this run is finished"
"""Words of the error of ``--resume`` where nothing is left to do."""
Counts = Counter[str]


def photos(folder: Path) -> Path:
    """36 small pictures of three kinds."""
    random_ = np.random.default_rng(0)
    for label in range(3):
        (folder / f"kind{label}").mkdir(parents=True)
        for index in range(12):
            pixels = random_.integers(0, 120, (40, 40, 3), np.uint8)
            pixels[..., label] += 100
            Image.fromarray(pixels).save(folder / f"kind{label}" / f"{index}.png")
    return folder


def start(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def begin(data: Path, run: Path, *options: str) -> "subprocess.Popen[str]":
    return start("-m", "mobilenetv2", "train", str(data), "--output", str(run), *options)


def models(run: Path) -> dict[str, bytes]:
    names = ("best/model.safetensors", "last/model.safetensors", "best/config.json")
    return {name: (run / name).read_bytes() for name in names}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def ended(process: "subprocess.Popen[str]", seconds: float) -> str | None:
    """Kill a process after some seconds; return its errors if it had ended before, else None."""
    try:
        return process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None


def undisturbed(process: "subprocess.Popen[str]") -> float:
    """Return how many seconds a process takes; raise if it fails."""
    begun = time.monotonic()
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors)
    return time.monotonic() - begun


def stage(run: Path) -> str:
    """Return how far a run had come, by what lies in its folder."""
    if not (run / "recipe.toml").is_file():
        return "before the run began"
    if not (run / "start.json").is_file():
        return "as it began"
    if not (run / "checkpoint.safetensors").is_file():
        return "before the first checkpoint"
    if not (run / "report.html").is_file():
        return "between checkpoints"
    return "after the report"


def kill_trainings(
    place: Path, kills: int, moment: random.Random, options: tuple[str, ...]
) -> Counts:
    """Kill trainings and continue them, until there were enough kills and the last one ended."""
    counts, data, whole = Counts(), photos(place / "data"), place / "whole"
    duration = undisturbed(begin(data, whole, *options))
    expected, listed = models(whole), files(whole)
    while counts["kills"] < kills:
        run, going = place / f"run{counts['ended as the undisturbed one']}", options
        while True:
            enough = counts["kills"] >= kills
            process = begin(data, run, *going)
            errors = ended(process, 1e6 if enough else moment.uniform(0, duration))
            if errors is not None:
                break
            counts["kills"] += 1
            counts[f"of them {stage(run)}"] += 1
            try:
                if (run / "checkpoint.safetensors").exists():
                    Checkpoint.load(run / "checkpoint.safetensors")
                for model in (run / "best", run / "last"):
                    if model.exists() or model.with_name(f".previous-{model.name}").exists():
                        store.load(model)
            except Exception as error:  # whatever is wrong with it is what is counted
                counts["unreadable"] += 1
                print(f"unreadable: {error}", file=sys.stderr)
            begun = (run / "recipe.toml").is_file(), (run / "start.json").is_file()
            going = ("--resume",) if all(begun) else options
            if begun == (True, False):
                going = ("--overwrite", *options)
        # A run that was killed after its last write is whole, and is not continued.
        failed = process.returncode and FINISHED not in errors
        if failed or models(run) != expected or files(run) != listed:
            counts["ended otherwise"] += 1
            print(f"{run}: status {process.returncode} {errors[-500:]}", file=sys.stderr)
        counts["ended as the undisturbed one"] += 1
        print(f"{counts['kills']} kills", file=sys.stderr)
    counts["ended as the undisturbed one"] -= counts["ended otherwise"]
    return counts


def kill_quantizations(place: Path, kills: int, moment: random.Random) -> Counts:
    """Kill quantizations that replace an older file of two formats."""
    counts, data = Counts(), photos(place / "data")
    run = place / "run"
    undisturbed(begin(data, run, *SCRATCH, "--epochs", "2"))
    given = ("-m", "mobilenetv2", "quantize", "--data", str(data), "--force", "--overwrite")
    written: dict[str, dict[str, bytes]] = {}
    for name, method in (("old", "min-max"), ("new", "mse")):
        out = place / name
        words = (*given, str(run / "best"), str(out), "--format", "onnx,openvino")
        duration = undisturbed(start(*words, "--method", method))
        written[name] = {path.name: path.read_bytes() for path in out.iterdir()}
    assert written["old"] != written["new"]
    out = place / "out"
    out.mkdir()
    words = (*given, str(run / "best"), str(out), "--format", "onnx,openvino")
    while counts["kills"] < kills:
        for name, content in written["old"].items():
            (out / name).write_bytes(content)
        if ended(start(*words), moment.uniform(0, duration)) is not None:
            counts["ended before the kill"] += 1
        else:
            counts["kills"] += 1
        found = {name: (out / name).read_bytes() for name in written["old"]}
        for one in ("model-int8.onnx", "model-int8.xml"):
            which = [age for age in written if found[one] == written[age][one]]
            counts["files that are neither old nor new"] += not which
        pair = [found[f"model-int8.{end}"] for end in ("xml", "bin")]
        if pair not in [[w["model-int8.xml"], w["model-int8.bin"]] for w in written.values()]:
            counts["pairs of an old and a new file, which the seal refuses"] += 1
        if counts["kills"] % 10 == 0:
            print(f"{counts['kills']} kills of quantize", file=sys.stderr)
    undisturbed(start(*words))
    counts["something left beside the files at the end"] += files(out) != files(place / "new")
    found = {name: (out / name).read_bytes() for name in written["new"]}
    same = all(found[name] == written["new"][name] for name in found if "comparison" not in name)
    counts["the next one ended otherwise"] += not same
    return counts


BODY = random.Random(1).randbytes(3_000_000)
FETCH = """
import dataclasses, sys
from mobilenetv2.hub import catalogue
from mobilenetv2.cli.main import main
made = dataclasses.replace(
    catalogue.find("keras-1.0-224"), name="one", where=sys.argv[1], file="published.bin",
    sha256=sys.argv[2],
)
catalogue.catalogue = lambda: {"one": made}
sys.exit(main(["weights", "fetch", "one"]))
"""


class Slow(BaseHTTPRequestHandler):
    """A server on loopback that takes about two seconds for a file, and continues it."""

    def do_GET(self) -> None:
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if first else 200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(BODY) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(BODY) - 1}/{len(BODY)}")
        self.end_headers()
        try:
            for at in range(first, len(BODY), 50_000):
                self.wfile.write(BODY[at : at + 50_000])
                time.sleep(0.03)
        except OSError:
            self.close_connection = True  # its client was killed

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def kill_downloads(place: Path, kills: int, moment: random.Random) -> Counts:
    """Kill ``weights fetch`` from a server on loopback; each one continues where the last was."""
    counts, server = Counts(), ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    digest = hashlib.sha256(BODY).hexdigest()
    words = ("-c", FETCH, f"http://127.0.0.1:{server.server_port}/published.bin", digest)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ.pop(name, None)
    os.environ["MOBILENETV2_CACHE"] = str(place / "whole")
    duration, number = undisturbed(start(*words)), 0
    listed = files(place / "whole")
    while counts["kills"] < kills:
        cache, number = place / f"cache{number}", number + 1
        os.environ["MOBILENETV2_CACHE"] = str(cache)
        target = cache / "one" / "published.bin"
        while True:
            enough = counts["kills"] >= kills
            process = start(*words)
            if ended(process, 1e6 if enough else moment.uniform(0, duration)) is not None:
                break
            counts["kills"] += 1
            counts["of them in the transfer"] += target.with_name("published.bin.partial").exists()
            counts["files that are not whole"] += target.exists() and target.read_bytes() != BODY
        good = process.returncode == 0 and target.read_bytes() == BODY and files(cache) == listed
        counts["ended as the undisturbed one" if good else "ended otherwise"] += 1
    server.shutdown()
    return counts


ENDINGS = ("csv", "jsonl", "parquet")


def kill_predictions(place: Path, kills: int, moment: random.Random) -> Counts:
    """Kill predictions that write a file and sort photos, and resume them until they end."""
    counts, data = Counts(), place / "data"
    for number in range(25):
        photos(data / f"{number:02}")
    (data / "damaged.png").write_bytes(b"no picture")
    given = ("-m", "mobilenetv2", "predict", str(data), "--batch", "1", "--threads", "1")

    def command(folder: Path, ending: str) -> tuple[str, ...]:
        folder.mkdir(exist_ok=True)
        sorted_ = ("--copy-to", str(folder / "sorted"))
        return (*given, "--output", str(folder / f"a.{ending}"), *sorted_, "--resume")

    whole: dict[str, tuple[bytes, list[str], float]] = {}
    for ending in ENDINGS:
        begun = time.monotonic()
        start(*command(place / ending, ending)).communicate()
        made = (place / ending / f"a.{ending}").read_bytes()
        whole[ending] = made, files(place / ending), time.monotonic() - begun
    number = 0
    while counts["kills"] < kills:
        ending, folder = ENDINGS[number % len(ENDINGS)], place / f"killed{number}"
        expected, listed, duration = whole[ending]
        number += 1
        out = folder / f"a.{ending}"
        while True:
            enough = counts["kills"] >= kills
            process = start(*command(folder, ending))
            if ended(process, 1e6 if enough else moment.uniform(0, duration)) is not None:
                break
            counts["kills"] += 1
            counts["of them with answers in the unfinished file"] += out.with_name(
                f"{out.name}.unfinished"
            ).exists()
            counts["files that are not whole"] += out.exists() and out.read_bytes() != expected
        good = out.read_bytes() == expected and files(folder) == listed
        counts["ended as the undisturbed one" if good else "ended otherwise"] += 1
    return counts


KINDS: dict[str, Callable[[Path, int, random.Random], Counts]] = {
    "training": lambda place, kills, moment: kill_trainings(place, kills, moment, SCRATCH),
    "fine-tuning": lambda place, kills, moment: kill_trainings(place, kills, moment, TUNED),
    "quantize": kill_quantizations,
    "fetch": kill_downloads,
    "predict": kill_predictions,
}
NEVER = {
    "training": ("unreadable", "ended otherwise"),
    "fine-tuning": ("unreadable", "ended otherwise"),
    "quantize": ("files that are neither old nor new", "the next one ended otherwise",
                 "something left beside the files at the end"),
    "fetch": ("files that are not whole", "ended otherwise"),
    "predict": ("files that are not whole", "ended otherwise"),
}  # fmt: skip
"""Outcomes that must not happen, which the table shows also where there are none."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"# {arguments.kills} kills of each kind\n")
    print(f"`python benchmarks/kills.py --kills {arguments.kills} --only {arguments.only} --seed "
          f"{arguments.seed}`,")  # fmt: skip
    print(f"{machine('torch')}.\n")
    print("| kind | what | number |\n|---|---|---|")
    for kind in arguments.only.split(","):
        with tempfile.TemporaryDirectory() as name:
            counts = KINDS[kind](Path(name), arguments.kills, random.Random(arguments.seed))
        for what in (*NEVER[kind], *counts):
            counts[what] += 0
        for what, number in counts.items():
            print(f"| {kind} | {what} | {number} |", flush=True)


if __name__ == "__main__":
    main()
