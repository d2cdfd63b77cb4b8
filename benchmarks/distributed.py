"""Train the same steps in 1, 2 and 4 processes and compare; kill processes under torchrun.

    python benchmarks/distributed.py [--steps 50] [--seeds 3] [--kills 10] [--output FILE]

The steps are real ones: the network that is built in learns digits, with mixup, CutMix and dropout,
in batches of 16. With BatchNorm over the whole batch, any number of processes computes the same but
for the order of sums, so in float64 almost nothing may differ. In float32 the yardstick is the same
program with its tensors in another order in memory. (From fresh weights, the first steps amplify
the last bits a hundredfold each, in float64 as in float32 and in one process as in four.) Prints
tables in Markdown. Needs the extra torch.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from kills import photos
from machine import machine
from races import outcome

from mobilenetv2.files import write_atomically

STEPS, BATCH, RATE = 50, 16, 0.002
OPTIONS = (
    "--weights", "none",
    *(word for change in (
        "network=small", "size=32", "width=0.1", "epochs=6", "batch_size=8", "dropout=0.3",
        "ema_decay=0.8", "precision=float32", "mixing.cutmix=1.0", "mixing.share=0.5",
        "learning_rate=0.002", "reestimate=12",
    ) for word in ("--set", change)),
)  # fmt: skip
ABOUT = """\
The built-in network (width 0.75, 32 pixels) learns digits: the same global batches of {batch} views
(mixup, CutMix, dropout), SGD at a rate of {rate}, BatchNorm over the whole batch
(`computation.sync_batch_norm`). Weights are all parameters and statistics; the last column is the
largest difference of a number. Each figure is the largest of {seeds} seeds. From fresh weights the
first steps amplify the last bits a hundredfold each, in float64 as in float32, and in one process
as in four: there is nothing to compare then.
"""
LIMIT = 300
"""Seconds after which a process counts as hung."""
Found = dict[str, np.ndarray]


def steps(output: str, dtype: str, layout: str, count: int, seed: int = 0) -> None:
    """Take the steps as one process of a group, and write losses and weights."""
    import torch

    from mobilenetv2.data.augment import Mixing
    from mobilenetv2.data.batches import chunked, epoch_order
    from mobilenetv2.data.dataset import open_dataset
    from mobilenetv2.hub.models import embedded_folder
    from mobilenetv2.training.distributed import joined
    from mobilenetv2.training.initial_model import initial_model
    from mobilenetv2.training.inputs import PhotoViews, Targets, step_inputs
    from mobilenetv2.training.recipe import Recipe
    from mobilenetv2.training.steps.torch import make_trainer

    recipe = Recipe().changed(
        {"computation.sync_batch_norm": True}, precision="float32", batch_size=BATCH, seed=seed,
        mixing=Mixing(mixup=0.2, cutmix=1.0, share=0.5),
    )  # fmt: skip
    split = open_dataset("digits").splits["train"]
    config, arrays = initial_model(embedded_folder(), recipe, split.classes)
    targets = Targets(np.array([photo.label for photo in split.photos]), 10, recipe)
    with joined("cpu") as group:
        trainer = make_trainer(config, arrays, recipe, "cpu")
        trainer.network.to(getattr(torch, dtype))
        if layout == "contiguous":
            trainer.network.to(memory_format=torch.contiguous_format)
            inputs = trainer._inputs
            trainer._inputs = lambda pictures: inputs(pictures).contiguous()  # type: ignore[method-assign]
        trainer.join(group)
        chunks = chunked(epoch_order(targets.labels, seed, 0), BATCH, drop_last=True)[:count]
        views = PhotoViews(split, config.preprocessing, recipe)
        losses = [
            trainer.step(*inputs, RATE, BATCH)[0]
            for inputs in step_inputs(views, targets, chunks, 0, trainer.rows)
        ]
        if group.writes:
            state = {name: tensor.numpy() for name, tensor in trainer.network.state_dict().items()}
            np.savez(output, losses=np.array(losses), **state)


def torchrun(processes: int, *words: str, restarts: int = 0) -> "subprocess.Popen[str]":
    """Start processes of this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += [str(processes), "--max-restarts", str(restarts), "--monitor-interval", "0.1"]
    threads = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=threads,
    )  # fmt: skip


def finished(process: "subprocess.Popen[str]") -> None:
    """Wait for a process that has to succeed."""
    _, errors = process.communicate(timeout=LIMIT)
    if process.returncode:
        raise SystemExit(errors)


def taken(
    folder: Path, processes: int, dtype: str, count: int, layout: str = "", seed: int = 0
) -> Found:
    """Return losses and weights after the steps of some processes."""
    output = folder / f"{processes}-{dtype}{layout}-{seed}.npz"
    words = [__file__, "--worker", str(output), dtype, layout or "channels_last"]
    words += [str(count), str(seed)]
    finished(torchrun(processes, *words))
    with np.load(output) as found:
        return {name: found[name] for name in found.files}


def apart(found: Found, expected: Found) -> np.ndarray:
    """Return how far two results are apart: losses and weights relative, the weights' largest."""
    losses = np.abs(found["losses"] / expected["losses"] - 1).max()
    names = [n for n in expected if n != "losses" and expected[n].dtype.kind == "f"]
    pairs = [(found[n].astype(float).ravel(), expected[n].astype(float).ravel()) for n in names]
    one, other = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    weights = np.linalg.norm(one - other) / np.linalg.norm(other)
    return np.array([losses, weights, np.abs(one - other).max()])


def compared(folder: Path, count: int, seeds: int) -> list[str]:
    """Return the table of 1, 2 and 4 processes."""
    lines = [
        "| compared with one process | losses, relative | weights, relative | weights, largest |",
        "|---|---|---|---|",
    ]
    for dtype in ("float64", "float32"):
        rows: dict[str, list[np.ndarray]] = {}
        for seed in range(seeds):
            alone = taken(folder, 1, dtype, count, seed=seed)
            others = {
                f"{processes} processes": taken(folder, processes, dtype, count, seed=seed)
                for processes in (2, 4)
            }
            other = taken(folder, 1, dtype, count, "contiguous", seed)
            others["one process, channels first in memory"] = other
            for what, found in others.items():
                rows.setdefault(what, []).append(apart(found, alone))
        for what, all_of in rows.items():
            most = " | ".join(f"{value:.1e}" for value in np.max(all_of, axis=0))
            lines.append(f"| {dtype}, {what} | {most} |")
    return lines


def workers_of(agent: int) -> list[int]:
    """Return the processes that a torchrun has started."""
    children = Path(f"/proc/{agent}/task").glob("*/children")
    return sorted(int(number) for path in children for number in path.read_text().split())


def killed(folder: Path, kills: int, seed: int) -> list[str]:
    """Return the table of trainings of two processes of which one is killed at random."""
    data, moment = photos(folder / "photos"), random.Random(seed)

    def begin(run: Path) -> "subprocess.Popen[str]":
        words = ("-m", "mobilenetv2", "train", str(data), "--output", str(run), *OPTIONS)
        return torchrun(2, *words, restarts=3)

    started = time.monotonic()
    finished(begin(folder / "whole"))
    duration, expected = time.monotonic() - started, outcome(folder / "whole")
    hit = within = same = 0
    for number in range(kills):
        run = folder / f"run{number}"
        process = begin(run)
        time.sleep(moment.uniform(0.2, 1) * duration)
        workers = workers_of(process.pid)
        within += (run / "start.json").is_file() and not (run / "summary.md").is_file()
        if len(workers) == 2:
            os.kill(moment.choice(workers), signal.SIGKILL)
            hit += 1
        finished(process)
        same += outcome(run) == expected
    return [
        "| what | number |", "|---|---|",
        f"| trainings of two processes under `torchrun --max-restarts 3` | {kills} |",
        f"| of them with a process killed by SIGKILL | {hit} |",
        f"| of these between the first and the last file of the run folder | {within} |",
        f"| finished by themselves, byte for byte as one that nobody disturbed | {same} |",
    ]  # fmt: skip


def main() -> None:
    """Run both parts and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=3, help="of the steps")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        output, dtype, layout, count, seed = options.worker
        steps(output, dtype, layout, int(count), int(seed))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lines = [
            "# One training in several processes", "",
            f"`python benchmarks/distributed.py --steps {options.steps} --seeds {options.seeds} "
            f"--kills {options.kills} --seed {options.seed}`, {machine('torch')}; "
            "gloo, one thread in each process.", "",
            f"## {options.steps} steps in 1, 2 and 4 processes", "",
            ABOUT.format(batch=BATCH, rate=RATE, seeds=options.seeds),
            *compared(folder, options.steps, options.seeds), "",
            "## A process killed at a random moment", "",
            *killed(folder, options.kills, options.seed), "",
        ]  # fmt: skip
    text = "\n".join(lines)
    print(text)
    if options.output:
        write_atomically(options.output, text)


if __name__ == "__main__":
    main()
