"""Thousands of photos: whole commands in turns, ours against scripts with torchvision.

    make bench
    python benchmarks/bulk.py --peer PEER --before CHECKOUT --runs 3 --output benchmarks/bulk.md

The network is torchvision's at width 1.0, with random weights (``--model`` takes a folder of
another one). PEER is a virtual environment with torchvision, OpenVINO and ONNX Runtime; CHECKOUT is
another checkout of this project, whose command runs with this environment. Every command names all
photos and writes a CSV file. Answers are compared with those of ``before``: the class, and the
probability of the best one.

``--phones N`` makes N photos of 12 megapixels of those given, enlarged, with sensor noise, and
``--png N`` saves N of them as PNG files; ``--keep FOLDER`` leaves them there for other runs.
``--fixed`` times every runtime that ``auto`` chooses from, and ``--int8 FOLDER`` the int8 files
there that ``quantize`` made of the model. ``--shares`` measures what the time of the cores goes
into, by the processor time of each part of each thread. ``--levels`` compares photos that are
decoded whole and by ``--fast-decode``, as the network takes them.

``--chart FILE.png`` draws the rates.
"""

import argparse
import csv
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from machine import machine
from PIL import Image
from public_data import find

import mobilenetv2 as mn
from mobilenetv2.evaluation.plots import BLUE, GREY, canvas, save_figure
from mobilenetv2.files import write_atomically
from mobilenetv2.formats import BY_ENDING, RUNTIMES, engines_of
from mobilenetv2.images.photo import network_picture
from mobilenetv2.machine import workers
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.progress import say
from mobilenetv2.runtime.engines.openvino import computes_bfloat16
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

HERE = Path(mn.__file__).parents[1]
OTHERS = Path(__file__).with_name("bulk_others.py")
PHONE = (4032, 3024)


@dataclass(slots=True)
class Command:
    """A command, its answers, and the seconds of each run."""

    name: str
    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    answers: dict[str, tuple[int, float]] = field(default_factory=dict)


def phones(photos: Path, count: int, folder: Path) -> Path:
    """Write photos of 12 megapixels: those given, enlarged, with sensor noise, as JPEG files."""
    names = sorted(photos.rglob("*.jpg"))[:: max(1, len(list(photos.rglob("*.jpg"))) // count)]
    random = np.random.default_rng(0)
    for number, name in enumerate(names[:count]):
        image = Image.open(name).convert("RGB")
        size = PHONE if image.width >= image.height else PHONE[::-1]
        pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.int16)
        pixels = pixels + random.integers(-6, 7, pixels.shape, np.int16)
        made = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        made.save(folder / f"{number:04}.jpg", quality=92)
    return folder


def pngs(photos: Path, count: int, folder: Path) -> Path:
    """Write photos as PNG files."""
    for name in sorted(photos.rglob("*.jpg"))[:count]:
        Image.open(name).convert("RGB").save(folder / f"{name.stem}.png")
    return folder


@dataclass(slots=True)
class Part:
    """Processor time of a function in all threads, without that of the parts that it calls."""

    name: str
    seconds: float = 0.0

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*given: Any, **named: Any) -> Any:
            outer, began = getattr(_inside, "seconds", 0.0), time.thread_time()
            _inside.seconds = 0.0
            try:
                return function(*given, **named)
            finally:
                took = time.thread_time() - began
                with _adding:
                    self.seconds += took - _inside.seconds
                _inside.seconds = outer + took

        return timed


_inside, _adding = threading.local(), threading.Lock()


def shares(photos: Path, model: Path) -> list[str]:
    """Return the lines of a table: what the time of the cores goes into."""
    from mobilenetv2.images import photo
    from mobilenetv2.runtime import predictor
    from mobilenetv2.runtime.engines.engine import Engine

    decoding, resizing = Part("read and decode"), Part("resize and crop")
    scaling, computing = Part("normalise"), Part("engine")
    parts = decoding, resizing, scaling, computing
    with (
        patch.object(photo, "read_photo_noted", decoding.of(photo.read_photo_noted)),
        patch.object(photo, "preprocess", resizing.of(photo.preprocess)),
        patch.object(predictor, "engine_input", scaling.of(predictor.engine_input)),
        patch.object(Engine, "run", computing.of(Engine.run)),
    ):
        answers = mn.predict(photos, model)
        next(answers)  # without the start
        for part in parts:
            part.seconds = 0.0
        count, began, used = answers.count, time.perf_counter(), time.process_time()
        for _ in answers:
            pass
    wall, used = time.perf_counter() - began, time.process_time() - used
    whole, count = wall * workers(), answers.count - count
    rest = used - sum(part.seconds for part in parts)
    rows = [(part.name, part.seconds) for part in parts]
    rows += [("the rest: Python, queues, rows", rest), ("idle", max(0.0, whole - used))]
    return [
        "| part | ms a photo of one core | share of the cores' time |",
        "|---|---|---|",
        *(f"| {name} | {1e3 * took / count:.2f} | {100 * took / whole:.1f}% |"
          for name, took in rows),
    ]  # fmt: skip


def levels(photos: Path, model: Path) -> str:
    """Return the difference of the network's input by a reduced decode, in levels of 255."""
    record = store.load(model)[0].preprocessing
    reduced = dataclasses.replace(record, decode="reduced")
    means, most = [], 0
    for path in sorted(found for found in photos.rglob("*") if found.is_file()):
        whole, fast = (
            network_picture(path, one).astype(np.int16) for one in (record, reduced)
        )  # fmt: skip
        apart = np.abs(whole - fast)
        means.append(float(apart.mean()))
        most = max(most, int(apart.max()))
    return (
        f"{len(means):,} photos: {statistics.mean(means):.2f} levels of 255 in the mean "
        f"({min(means):.2f} to {max(means):.2f} a photo), {most} at most."
    )


def network(folder: Path) -> Path:
    """Write torchvision's network with random weights, which take the time of any other."""
    spec = published("torchvision")
    store.save(folder, ModelConfig.default(spec), random_arrays(spec))
    return folder


def without_decode(model: Path, folder: Path) -> Path:
    """Return a copy of a model without the key 'decode', which older versions do not know."""
    copy = shutil.copytree(model, folder / "of-before")
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["preprocessing"].pop("decode", None)
    (copy / "config.json").write_text(json.dumps(config), "utf-8")
    return copy


def commands(options: argparse.Namespace, photos: Path, folder: Path) -> list[Command]:
    """Return the commands to compare."""

    def ours(name: str, model: Path, *more: str, source: Path = HERE) -> Command:
        words = [sys.executable, "-m", "mobilenetv2", "predict", str(photos), "--model",
                 str(model), "--top", "1", *more, "--csv"]  # fmt: skip
        return Command(name, words, {"PYTHONPATH": str(source)})

    found = [ours("ours", options.model)]
    if options.before:
        older = without_decode(options.model, folder)
        found.insert(0, ours("before", older, source=options.before / "src"))
    for name in RUNTIMES if options.fixed else ():
        if RUNTIMES[name].builds and not RUNTIMES[name].own.missing():
            found.append(ours(f"ours, {name}", options.model, "--runtime", name))
    for file in sorted(options.int8.iterdir()) if options.int8 else ():
        for engine in engines_of(BY_ENDING[file.suffix].name) if file.suffix in BY_ENDING else ():
            name = f"ours, int8 {file.suffix}, {engine}"
            found.append(ours(name, file, "--runtime", engine))
    found.append(ours("ours, --fast-decode", options.model, "--fast-decode"))
    found.append(ours("ours, --precision auto", options.model, "--precision", "auto"))
    if options.peer:
        python = str(options.peer / "bin" / "python")
        graph, weights = folder / "peer.onnx", folder / "peer.pth"
        mn.export(options.model, graph, overwrite=True)
        mn.export_checkpoint(options.model, weights, dialect="torchvision")
        for name, words in (
            ("PyTorch", [str(weights), "--engine", "torch"]),
            ("PyTorch, torchvision's decode",
             [str(weights), "--engine", "torch", "--decode", "torchvision"]),
            ("OpenVINO", [str(graph), "--engine", "openvino"]),
            ("OpenVINO bfloat16", [str(graph), "--engine", "openvino", "--precision", "bf16"]),
            ("ONNX Runtime", [str(graph), "--engine", "onnxruntime"]),
        ):  # fmt: skip
            if "bf16" in words and not computes_bfloat16():
                continue
            model, *rest = words
            words = [python, str(OTHERS), *rest, str(photos), model]
            found.append(Command(name, words))
    return found


def run(command: Command, folder: Path) -> None:
    """Run a command once, and read its answers."""
    out = folder / "answers.csv"
    out.unlink(missing_ok=True)
    environment = {**os.environ, **command.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    done = subprocess.run([*command.words, str(out)], env=environment, capture_output=True)
    command.seconds.append(time.perf_counter() - began)
    if done.returncode:
        sys.exit(f"{' '.join(command.words)}: {done.stderr.decode()}")
    with out.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row[0] != "image"]
    ours = len(rows[0]) > 3
    command.answers = {
        row[0]: (int(row[2]), float(row[4])) if ours else (int(row[1]), float(row[2]))
        for row in rows
    }


def table(found: list[Command], photos: int) -> list[str]:
    """Return the lines of the table."""
    first = found[0]
    lines = [
        f"| command | photos a second (median of {len(first.seconds)}) | ratio | same class | "
        "largest difference of the best probability |",
        "|---|---|---|---|---|",
    ]
    for one in found:
        ratios = [a / b for a, b in zip(first.seconds, one.seconds, strict=True)]
        same = [one.answers[name][0] == first.answers[name][0] for name in first.answers]
        off = max(abs(one.answers[name][1] - first.answers[name][1]) for name in first.answers)
        lines.append(
            f"| {one.name} | {photos / statistics.median(one.seconds):.1f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | "
            f"{100 * sum(same) / len(same):.1f}% | {off:.1e} |"
        )
    return lines


def chart(found: list[Command], photos: int, title: str, path: Path) -> None:
    """Draw the rates as bars, with the range of the runs; 'before' is left out."""
    found = [one for one in found if one.name != "before"]
    figure, (axis,) = canvas(1, 1, (8.0, 0.8 + 0.4 * len(found)))
    for place, one in enumerate(found):
        rates = sorted(photos / seconds for seconds in one.seconds)
        middle = statistics.median(rates)
        colour = BLUE if one.name.startswith("ours") else GREY
        axis.barh(place, middle, color=colour)
        axis.plot([rates[0], rates[-1]], [place, place], color="black", linewidth=1)
        axis.text(rates[-1], place, f"  {middle:.0f}", va="center")
    names = [one.name.replace("ours", "mobilenetv2 predict") for one in found]
    axis.set_yticks(range(len(found)), names)
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.margins(x=0.1)
    axis.set_xlabel("photos a second, whole command")
    axis.set_title(title, loc="left", fontsize=11)
    save_figure(figure, path)


def describe(first: str, count: int) -> str:
    """Return the kind of the photos: '3,409 JPEG files of 400 x 533 pixels (the first)'."""
    with Image.open(first) as photo:
        size = f"{photo.width} x {photo.height}"
        return f"{count:,} {photo.format} files of {size} pixels (the first)"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure bulk prediction.")
    parser.add_argument("--photos", type=Path, default=None)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--phones", type=int, default=0)
    parser.add_argument("--png", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--int8", type=Path)
    parser.add_argument("--shares", action="store_true")
    parser.add_argument("--levels", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--chart", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = options.photos or find("clothing")
        options.model = options.model or network(folder / "network")
        if options.phones or options.png:
            made = options.keep or folder / "made"
            made.mkdir(parents=True)
            count = options.phones or options.png
            photos = (phones if options.phones else pngs)(photos, count, made)
        if options.shares:
            print("\n".join(shares(photos, options.model)))
            return
        if options.levels:
            print(levels(photos, options.model))
            return
        found = commands(options, photos, folder)
        for number in range(options.runs + 1):  # the first fills the caches, and is not counted
            for one in found:
                run(one, folder)
                if number == 0:
                    one.seconds.clear()
                say(f"{number}: {one.name}: {one.seconds[-1] if one.seconds else 0:.1f} s")
        count = len(found[0].answers)
        kind = describe(next(iter(found[0].answers)), count)
        lines = table(found, count)
    print("\n".join(lines))
    here = machine("numpy", "pillow", "onnxruntime", "openvino")
    if options.output:
        write_atomically(options.output, "\n".join([f"{kind}, {here}.", "", *lines, ""]))
    if options.chart:
        chart(found, count, kind, options.chart)


if __name__ == "__main__":
    main()
