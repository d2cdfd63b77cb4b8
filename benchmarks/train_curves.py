"""Whether our training learns what the plain loop and keras.applications learn, within noise.

    python benchmarks/train_curves.py --data clothing/train \\
        --output benchmarks/train-curves.md

A training from scratch amplifies the last bit of a sum, so that two runs of one program differ as
soon as their sums run in another order. So each candidate learns several times from the same first
weights and the same batches, each time with the photos inside the batches in another order and
another draw of dropout, and it is asked whether a curve of ours lies as near to a curve of theirs
as theirs lie to each other. Needs the extras torch and keras.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import train_steps
from machine import machine
from public_data import resolve

from mobilenetv2.files import write_atomically
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.process import share_cores
from mobilenetv2.progress import say
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Preprocessing

SIZE, BATCH, BATCHES, CLASSES = 128, 32, 8, 10
Batches = list[tuple[np.ndarray, np.ndarray]]
Make = Callable[[int], train_steps.Step]
"""A candidate's step, given a seed of dropout."""


def candidates() -> dict[str, dict[str, Make]]:
    """Title of a comparison -> the peer, then ours."""
    torch = NetworkSpec(classes=CLASSES, size=(SIZE, SIZE))
    plain = torch.replace(dropout=0.0)
    keras = published("keras", classes=CLASSES, size=(SIZE, SIZE))
    ours = train_steps.ours
    return {
        "The plain PyTorch loop (a): dropout 0.2, decay 4e-5 (in (a) of all parameters)": {
            "(a)": lambda seed: train_steps.plain_torch(torch, seed=seed),
            "ours, float32": lambda seed: ours(torch, "float32", seed),
            "ours, bfloat16": lambda seed: ours(torch, "bfloat16", seed),
        },
        "The plain PyTorch loop (a) without dropout and decay": {
            "(a)": lambda seed: train_steps.plain_torch(plain, seed=seed, decay=0.0),
            "(a) in channels_last memory": lambda seed: train_steps.plain_torch(
                plain, "channels_last", seed, decay=0.0
            ),
            "ours, float32": lambda seed: ours(plain, "float32", seed, decay=0.0),
            "ours, bfloat16": lambda seed: ours(plain, "bfloat16", seed, decay=0.0),
        },
        "keras.applications (b) without dropout and decay; ours with Keras's numerics": {
            "(b)": lambda _: train_steps.keras_step(train_steps.keras_network(keras)),
            "ours, float32": lambda seed: ours(keras, "float32", seed, decay=0.0),
            "ours, bfloat16": lambda seed: ours(keras, "bfloat16", seed, decay=0.0),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=resolve, default="clothing/train", help="a folder of class folders"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=8, help="curves of each")
    parser.add_argument("--steps", type=int, default=32)
    arguments = parser.parse_args()
    share_cores()
    batches = list(photographs(Path(arguments.data)))
    lines = [
        "# What a training learns in its first steps: ours, a plain loop, keras.applications", "",
        f"{machine('torch', 'keras', 'tensorflow-cpu')}.", "",
        f"`python benchmarks/train_curves.py --draws {arguments.draws} --steps {arguments.steps}`. "
        f"Width 1.0 at {SIZE} pixels from the same random weights, {BATCHES} batches of {BATCH} "
        "photos of clothes in turns, SGD of 0.01 with Nesterov's momentum 0.9. Each candidate "
        f"learns {arguments.draws} times, with the photos inside the batches in another order and "
        "another draw of dropout. A distance is the mean absolute difference of two curves' "
        "losses. `p` is the share of all ways to deal the curves into two hands that are at least "
        "as far apart (energy distance); equal within noise is a `p` that is not small.", "",
    ]  # fmt: skip
    for title, makes in candidates().items():
        curves = {}
        for index, (name, make) in enumerate(makes.items()):
            say(f"{title}: {name}")
            draw = partial(curve, make, batches, arguments.steps)
            # Draws of its own: curves that share one are nearer to each other than chance.
            seeds = range(index * arguments.draws, (index + 1) * arguments.draws)
            curves[name] = np.array([draw(seed) for seed in seeds])
        lines += [f"## {title}", "", *table(curves), "", firsts(makes, batches), ""]
    write_atomically(arguments.output, "\n".join(lines))


def curve(make: Make, batches: Batches, steps: int, seed: int) -> list[float]:
    step, random = make(seed), np.random.default_rng(seed)
    losses = []
    for index in range(steps):
        pictures, labels = batches[index % len(batches)]
        order = random.permutation(len(labels))
        losses.append(step(pictures[order], labels[order]))
    return losses


def table(curves: dict[str, np.ndarray]) -> list[str]:
    """Mean losses at some steps; distances at the first step and in the mean of all; p."""
    peer, *others = curves
    last = curves[peer].shape[1] - 1
    shown = sorted({0, 1, 3, 7, 15, 23, last} & set(range(last + 1)))
    lines = [
        f"| mean of the curves | {' | '.join(f'step {n + 1}' for n in shown)} | "
        f"distances among its own | to those of {peer} | p |",
        "|---|" + "---|" * (len(shown) + 3),
    ]
    for name, found in curves.items():
        means = " | ".join(f"{loss:.3f}" for loss in found[:, shown].mean(0))
        cells = f"| {name} | {means} | {within(found):.4f} |"
        if name in others:
            far, p = between(found, curves[peer]), likelihood(curves[peer], found)
            cells += f" {far:.4f} | {p:.3f} |"
        else:
            cells += " | |"
        lines.append(cells)
    return lines


def firsts(makes: dict[str, Make], batches: Batches) -> str:
    """How far the first step's loss of one draw is from the peer's."""
    peer, *others = ((name, curve(make, batches, 1, seed=0)[0]) for name, make in makes.items())
    apart = ", ".join(f"{name} {abs(loss - peer[1]):.0e}" for name, loss in others)
    return f"Difference to {peer[0]} of the first step's loss in the same draw: {apart}."


def within(curves: np.ndarray) -> float:
    return float(np.mean([np.abs(x - y).mean() for x, y in combinations(curves, 2)]))


def between(these: np.ndarray, those: np.ndarray) -> float:
    return float(np.mean([np.abs(x - y).mean() for x in these for y in those]))


def likelihood(these: np.ndarray, those: np.ndarray) -> float:
    """Of an energy distance as large as this, were the curves dealt by chance (all deals)."""
    assert len(these) == len(those)  # or chance would have to be reckoned otherwise below
    every = np.concatenate([these, those])
    distances = np.abs(every[:, None] - every[None]).mean(-1)
    pairs = len(these) * (len(these) - 1)

    def apart(hand: tuple[int, ...]) -> float:
        other = [i for i in range(len(every)) if i not in hand]
        near = distances[np.ix_(hand, hand)].sum() + distances[np.ix_(other, other)].sum()
        return float(2 * distances[np.ix_(hand, other)].mean() - near / pairs)

    seen = apart(tuple(range(len(these))))
    deals = combinations(range(len(every)), len(these))
    return float(np.mean([apart(hand) >= seen - 1e-12 for hand in deals]))


def photographs(data: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A few batches of real photos, the same for all."""
    files = sorted(data.glob("*/*"))
    classes = sorted({file.parent.name for file in files})
    record = Preprocessing((SIZE, SIZE), (SIZE, SIZE))
    order = np.random.default_rng(1).permutation(len(files))
    if len(files) < BATCHES * BATCH:
        raise SystemExit(f"{data}: {len(files)} photos, fewer than the {BATCHES * BATCH} needed")
    for start in range(0, BATCHES * BATCH, BATCH):
        chosen = [files[i] for i in order[start : start + BATCH]]
        pictures = np.stack([preprocess(read_photo(file), record, str(file)) for file in chosen])
        yield pictures, np.array([classes.index(file.parent.name) for file in chosen])


if __name__ == "__main__":
    main()
