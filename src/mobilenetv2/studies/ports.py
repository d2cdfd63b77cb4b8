"""Study `ports`: what each usual mistake in porting a checkpoint does to its answers."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.evaluation.plots import BLUE, GREY, canvas, save_figure
from mobilenetv2.evaluation.predictions import largest_difference
from mobilenetv2.hub.models import locate
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.runtime.bulk import BATCH
from mobilenetv2.runtime.predictor import build_artifact, start_engine
from mobilenetv2.spec.records import IMAGENET_MEAN, IMAGENET_STD, ModelConfig, Preprocessing
from mobilenetv2.studies import data
from mobilenetv2.studies.statistics import Estimate
from mobilenetv2.studies.statistics import judge as verdict_on
from mobilenetv2.studies.study import Case, Factor, Finding, Options, Outcome, Study, Table, Verdict

PUBLISHED, EMBEDDED = "published", "embedded"
NETWORKS = {PUBLISHED: "published, ImageNet", EMBEDDED: "embedded, CIFAR-10"}
"""The two networks, in words."""
CHECKPOINT = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
QUICK = {PUBLISHED: 25, EMBEDDED: 200}
"""Number of photos with ``--quick``."""
SMALLEST = 0.005
"""Smallest difference of accuracies that anybody would care about: half a point."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a network with one mistake."""

    mistake: str
    """The mistake in words, to follow 'A port with'."""
    networks: tuple[str, ...] = (PUBLISHED,)
    numerics: Mapping[str, Any] = field(default_factory=dict)
    """Wrong fields of the network's numerics."""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """Wrong fields of the preprocessing."""
    bgr: bool = False
    """True if blue comes first."""
    antialias: bool = True
    """False if a pixel of the smaller image is made of its four neighbours only."""
    offset: int = 0
    """Number that is added to the index of the answer."""


BOTH = (PUBLISHED, EMBEDDED)
RIGHT = "none"
UNIT = {"mean": (0.0,) * 3, "std": (255.0,) * 3}
PORTS = {
    RIGHT: Port("no mistake", BOTH),
    "padding same": Port("padding after the last pixel only", (EMBEDDED,), {"padding": "same"}),
    "padding symmetric": Port("padding on both sides", numerics={"padding": "symmetric"}),
    "epsilon": Port("BatchNorm's epsilon 1e-3 instead of 1e-5", (EMBEDDED,), {"epsilon": 1e-3}),
    "momentum": Port(
        "another momentum of BatchNorm", BOTH, {"momentum": 0.5, "momentum_of": "new"}
    ),
    "relu": Port("ReLU instead of ReLU6", BOTH, {"activation": "relu"}),
    "range 0..255": Port(
        "pixels that are not normalised", BOTH,
        preprocessing={"mean": (0.0,) * 3, "std": (1.0,) * 3},
    ),
    "range 0..1": Port("pixels from 0 to 1", BOTH, preprocessing=UNIT),
    "range -1..1": Port(
        "pixels from -1 to 1 instead of ImageNet's mean and deviation", (EMBEDDED,),
        preprocessing={"mean": (127.5,) * 3, "std": (127.5,) * 3},
    ),
    "x/128 - 1": Port(
        "pixels as x/128 - 1 instead of (x - 127)/127.5",
        preprocessing={"mean": (128.0,) * 3, "std": (128.0,) * 3},
    ),
    "ImageNet's mean": Port(
        "ImageNet's mean and deviation instead of -1 to 1",
        preprocessing={"mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    ),
    "mean and std swapped": Port(
        "mean and deviation swapped", (EMBEDDED,),
        preprocessing={"mean": IMAGENET_STD, "std": IMAGENET_MEAN},
    ),
    "BGR": Port("blue first", BOTH, bgr=True),
    "nearest": Port("a resize to the nearest pixel", preprocessing={"interpolation": "nearest"}),
    "bicubic": Port("a bicubic resize", preprocessing={"interpolation": "bicubic"}),
    "not antialiased": Port("a bilinear resize without antialiasing", antialias=False),
    "no margin": Port(
        "a resize to 224 without a margin to crop", preprocessing={"resize": (224, 224)}
    ),
    "squeezed": Port(
        "a resize to a square without a crop",
        preprocessing={"resize": (224, 224), "fit": "stretch"},
    ),
    "class offset": Port("the background class forgotten: every index one too large", offset=1),
}  # fmt: skip
"""Mistakes by name. The published file's BatchNorm is folded, so that epsilon is shown on the
embedded network, whose photos need no resize and which has no background class."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A network and labelled photos."""

    config: ModelConfig
    arrays: Arrays
    photos: tuple[Image.Image, ...]
    truth: NDArray
    """Index of each photo's class among the outputs, int (photos,)."""


@cache
def subject(network: str, options: Options) -> Subject:
    """Read a network and its photos.

    Raises:
        DataError: a dataset is not there.
    """
    if network == PUBLISHED:
        config, arrays = read_checkpoint(data.folder(options, "published", CHECKPOINT) / CHECKPOINT)
        place = data.folder(options, "imagenet-samples")
    else:
        config, arrays = store.load(locate(EMBEDDED))
        place = data.folder(options, "cifar10", "test.zip") / "test.zip"
    split = open_dataset(place).split(None)
    outputs = np.array(match(split.classes, config.labels, str(place)))
    chosen = split.photos
    if options.quick:
        chosen = chosen[:: max(1, len(chosen) // QUICK[network])]
    return Subject(
        config, arrays, tuple(split.image(photo) for photo in chosen),
        outputs[[photo.label for photo in chosen]],
    )  # fmt: skip


def ported(config: ModelConfig, port: Port) -> ModelConfig:
    """Return the config of a network as a port has it."""
    numerics = dataclasses.replace(config.spec.numerics, **port.numerics)
    return dataclasses.replace(
        config,
        spec=config.spec.replace(numerics=numerics),
        preprocessing=dataclasses.replace(config.preprocessing, **port.preprocessing),
    )


def picture(photo: Image.Image, record: Preprocessing, port: Port) -> NDArray:
    """Return a photo as a port gives it to the network, uint8 (height, width, 3)."""
    if not port.antialias:
        photo = resize_without_antialiasing(photo, min(record.resize))
        record = dataclasses.replace(record, fit="none")
    found = preprocess(photo, record)
    return found[..., ::-1] if port.bgr else found


def resize_without_antialiasing(photo: Image.Image, shorter: int) -> Image.Image:
    """Return a photo whose shorter side has ``shorter`` pixels.

    Each pixel is interpolated between the four pixels around its place, however much smaller the
    image becomes, as most frameworks' resize does where nothing else is asked for.
    """
    scale = min(photo.size) / shorter
    size = (round(photo.width / scale), round(photo.height / scale))
    across, down = photo.width / size[0], photo.height / size[1]
    return photo.transform(
        size, Image.Transform.AFFINE, (across, 0, 0, 0, down, 0), Image.Resampling.BILINEAR
    )


def logits_of(found: Subject, port: Port) -> NDArray:
    """Return the logits of a port for every photo, float32 (photos, outputs)."""
    config = ported(found.config, port)
    predict = start_engine(build_artifact(config, found.arrays, Path("port")), None, 1)
    pictures = partial(picture, record=config.preprocessing, port=port)
    return np.concatenate([
        predict(np.stack([pictures(photo) for photo in found.photos[first : first + BATCH]]))
        for first in range(0, len(found.photos), BATCH)
    ])  # fmt: skip


@cache
def right_logits(network: str, options: Options) -> NDArray:
    """Return the logits of the port without a mistake, once for all cases of a process."""
    return logits_of(subject(network, options), PORTS[RIGHT])


def compare(right: NDArray, found: NDArray, truth: NDArray, offset: int = 0) -> dict[str, float]:
    """Return the measures of a port beside the right one.

    Args:
        right, found: logits (photos, outputs) of the right port and of this one.
        truth: index of each photo's class among the right port's outputs, int (photos,).
        offset: number that this port adds to the index of its answers.
    """
    answers, usual = found.argmax(1) + offset, right.argmax(1)
    hit, was = answers == truth, usual == truth
    best = np.argsort(-found, axis=1, kind="stable")[:, :5] + offset
    return {
        "photos": len(truth),
        "top1": float(hit.mean()),
        "top5": float((best == truth[:, None]).any(1).mean()),
        "lost": int((was & ~hit).sum()),
        "won": int((hit & ~was).sum()),
        "same": float((answers == usual).mean()),
        "difference": largest_difference(found, right),
        "largest": float(np.abs(right).max()),
    }


def grid(options: Options) -> Sequence[dict[str, Factor]]:
    """Return the cases: network and mistake."""
    return [
        {"network": network, "mistake": name}
        for network in NETWORKS
        for name, port in PORTS.items()
        if network in port.networks
    ]


def measure(case: Case, options: Options) -> Outcome:
    """Run a port on all photos."""
    network, port = str(case.factors["network"]), PORTS[str(case.factors["mistake"])]
    found = subject(network, options)
    logits = logits_of(found, port)
    return Outcome(compare(right_logits(network, options), logits, found.truth, port.offset))


def paired_shares(both: int, first: int, second: int, neither: int) -> Estimate:
    """Return the difference of two shares of the same photos, the second minus the first.

    The interval is Newcombe's (1998, method 10) of Wilson's intervals. It is accurate for few
    photos, and for shares near 0 and 1, and has a width where no photo changed.

    Args:
        both, first, second, neither: photos that both ports, the first alone, the second alone, and
            neither of them answered correctly.
    """
    count = both + first + second + neither
    wins = (both + second, both + first)
    shares = [win / count for win in wins]
    (low, high), (low_first, high_first) = (wilson(win, count) for win in wins)
    product = wins[0] * wins[1] * (count - wins[0]) * (count - wins[1])
    together = float(both * neither - first * second)
    if together > 0:  # with Newcombe's continuity correction
        together = max(together - count / 2, 0.0)
    correlation = together / sqrt(product) if product else 0.0

    def reach(one: float, other: float) -> float:
        return sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    difference = shares[0] - shares[1]
    below = reach(shares[0] - low, high_first - shares[1])
    above = reach(high - shares[0], shares[1] - low_first)
    return Estimate(difference, (difference - below, difference + above), count)


def change(values: Mapping[str, float]) -> Estimate:
    """Return the change of top-1 accuracy by a mistake, from :func:`compare`'s measures."""
    count, lost, won = (round(values[name]) for name in ("photos", "lost", "won"))
    if values["difference"] == 0 and values["same"] == 1:  # the same outputs for any photo
        return Estimate(0.0, (0.0, 0.0), count)
    both = round(values["top1"] * count) - won
    return paired_shares(both, lost, won, count - both - lost - won)


def rows(table: Table, network: str) -> dict[str, dict[str, float]]:
    """Return the measures of every mistake of a network."""
    found: dict[str, dict[str, float]] = {}
    for row in table.where(network=network):
        found.setdefault(str(row.case.factors["mistake"]), {})[row.measure] = row.value
    return found


def judge(table: Table) -> Sequence[Finding]:
    """Return a finding for each mistake, those that cost most first."""
    found = [
        _finding(network, name, values, rows(table, network)[RIGHT])
        for network in map(str, table.levels("network"))
        for name, values in rows(table, network).items()
        if name != RIGHT
    ]
    return sorted(found, key=lambda one: one.estimate)


def _finding(
    network: str, name: str, values: Mapping[str, float], right: Mapping[str, float]
) -> Finding:
    estimate = change(values)
    verdict: Verdict = verdict_on(estimate.interval, "below", SMALLEST)
    lost = estimate.scaled(100, "points")
    return Finding(
        f"A port with {PORTS[name].mistake} loses accuracy ({NETWORKS[network]}).",
        verdict,
        f"Top-1 {right['top1']:.1%} became {values['top1']:.1%}: {lost.text(1)}; top-5 "
        f"{right['top5']:.1%} became {values['top5']:.1%}; {values['same']:.1%} of the answers "
        f"were the same; logits of up to {right['largest']:.1f} changed by up to "
        f"{values['difference']:.2g}.",
        lost.value, lost.interval, lost.n, lost.unit,
    )  # fmt: skip


def draw(table: Table, path: Path) -> None:
    """Draw the change of accuracy by every mistake, with the share of equal answers."""
    networks = [str(network) for network in table.levels("network")]
    figure, axes = canvas(1, len(networks), (6.2 * len(networks), 5.2))
    for axis, network in zip(axes, networks, strict=True):
        found = {
            name: (change(values), values["same"])
            for name, values in rows(table, network).items() if name != RIGHT
        }  # fmt: skip
        ordered = sorted(found, key=lambda name: found[name][0].value)
        for place, name in enumerate(ordered):
            estimate, same = found[name]
            low, high = (100 * end for end in estimate.interval)
            axis.barh(place, 100 * estimate.value, color=BLUE, alpha=0.75)
            axis.plot([low, high], [place, place], color="black", linewidth=1.2)
            axis.annotate(
                f"{same:.1%}", (1.0, place), xycoords=("axes fraction", "data"), color=GREY,
                fontsize=8, xytext=(4, 0), textcoords="offset points", va="center",
            )  # fmt: skip
        axis.axvline(0, color=GREY, linewidth=1)
        axis.set_yticks(range(len(ordered)), ordered, fontsize=9)
        axis.invert_yaxis()
        accuracy, count = rows(table, network)[RIGHT]["top1"], found[ordered[0]][0].n
        axis.set_title(
            f"{NETWORKS[network]}: {accuracy:.1%} of {count:,} photos", loc="left", fontsize=10
        )
        axis.set_xlabel("change of top-1 accuracy, points, with 95% interval")
        axis.annotate(
            "equal\nanswers", (1.0, 1.0), xycoords="axes fraction", color=GREY, fontsize=8,
            xytext=(4, 2), textcoords="offset points",
        )  # fmt: skip
        axis.grid(alpha=0.25)
    save_figure(figure, path)


STUDY = Study(
    name="ports",
    title="What does each usual mistake do to a ported checkpoint?",
    about=(
        "Two networks are run with one mistake at a time. The first is Google's ImageNet network "
        "(width 1.0, 224 pixels), published in int8 and imported with its weights dequantised, on "
        "100 photos of ImageNet, one of every tenth class. The second is this package's embedded "
        "network (width 0.75, 32 pixels) on 5,000 test photos of CIFAR-10; it still has its "
        "BatchNorm, which the published file has folded into its convolutions. Each mistake is "
        "compared with the right port on the same photos: accuracy, share of equal answers, and "
        "largest change of a logit. The interval of a difference of accuracies is Newcombe's for "
        "paired shares; a loss below half a point counts as none. Nothing is random."
    ),
    limits=(
        "The ImageNet photos are training photos, and 100 of them cannot show a loss of less than "
        "about 5 points; a small change of the logits says that a mistake is harmless better than "
        "an unchanged accuracy does. Other weights may suffer more or less: epsilon matters as "
        "much as BatchNorm's variances are small, and a resize as much as photos are larger than "
        "the network's input."
    ),
    grid=grid, measure=measure, judge=judge, draw=draw, random=False,
)  # fmt: skip
