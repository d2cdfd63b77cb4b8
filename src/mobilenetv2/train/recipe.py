"""How to train, as one frozen record: from a TOML file, a name, or ``--set key=value``."""

import dataclasses
import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from mobilenetv2.data.augment import Augmentation
from mobilenetv2.data.mixing import Mixing
from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.mapping import from_mapping, suggestion, to_mapping

LARGEST_SEED = 2**63 - 1
"""PyTorch's generators take no larger one."""


@dataclass(frozen=True, slots=True)
class Distillation:
    """Learning from a bigger network's answers, too (Hinton et al., arXiv 1503.02531)."""

    teacher: str = ""
    """A model folder or a file of ``export``, its classes those of the data; '': there is none."""
    share: float = 0.0
    """Of the targets that are the teacher's probabilities; the rest are the labels. Without a
    teacher it is 0, with one it is not."""
    temperature: float = 1.0
    """The teacher's logits are divided by it: above 1, its doubts count for more, and the student
    learns to doubt as much. (Hinton et al. soften both, and multiply the loss by its square.)"""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise RecipeError(f"share {self.share!r} must be from 0 to 1")
        if not 0.1 <= self.temperature <= 100:
            raise RecipeError(f"temperature {self.temperature!r} must be from 0.1 to 100")


@dataclass(frozen=True, slots=True)
class Cache:
    """Where only the later blocks train: what the earlier ones give is computed once."""

    blocks: int = 14
    """So many blocks, and the stem, are frozen. At most all of them: then only the head trains."""
    views: int = 4
    """Random views of each photo that are computed; the epochs take turns."""

    def __post_init__(self) -> None:
        if self.blocks < 0:
            raise RecipeError(f"cache.blocks must be at least 0, not {self.blocks}")
        if not 1 <= self.views <= 1000:
            raise RecipeError(f"cache.views must be from 1 to 1000, not {self.views}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every knob of a run. Rates are for the batch size given; epochs may be 0."""

    trained: Literal["all", "later", "head"] = "all"
    """'all': the whole network. 'later': the later blocks, on cached maps of the earlier ones.
    'head': only a new classifier, on cached features."""
    epochs: int = 8
    batch_size: int = 32
    optimizer: Literal["sgd", "adamw", "rmsprop", "muon"] = "sgd"
    """'sgd' has Nesterov's correction. 'muon' is 'sgd' with orthogonal steps for the pointwise
    convolutions, which do not decay. 'rmsprop' is TensorFlow's, with slim's epsilon of 1."""
    learning_rate: float = 0.02
    """The schedule's peak."""
    schedule: Literal["cosine", "constant", "exponential"] = "cosine"
    epoch_factor: float = 0.98
    """Of the 'exponential' schedule: what an epoch leaves of the rate."""
    momentum: float = 0.9
    """Of SGD (Nesterov's), RMSProp and Muon."""
    weight_decay: float = 4e-5
    """Not on BatchNorm and biases, nor on what Muon turns."""
    warmup_epochs: float = 0.5
    gradient_clip: float = 0.0
    """Longest gradient, all weights together; a longer one is shortened to it. 0: any."""
    accumulate: int = 1
    """A batch is computed in so many parts, one after the other: less memory, the same batch (but
    for BatchNorm, which sees the parts)."""
    replicas: int = 1
    """A batch is computed in so many parts at the same time, each on its share of the cores: for
    small pictures a tenth to a quarter faster. BatchNorm sees the parts."""
    layer_decay: float = 1.0
    """Each layer's rate is this share of that of the layer above it; 1: all learn alike."""
    frozen_blocks: int = 0
    """So many of the first blocks, and the stem, stay as the weights have them, BatchNorm too.
    Their maps are the largest: with 3 a step takes two thirds of the time. 0: all learns."""
    unfreeze_epochs: float = 0.0
    """The classifier trains first; the layers below join one by one over so many epochs."""
    label_smoothing: float = 0.1
    ema_decay: float = 0.0
    """Share that a step keeps of the exponential moving average of the weights, less in the first
    steps; the average is what is measured and saved. 0: no average."""
    ema_breadth: float = 0.1
    """Mean age of what is averaged, as a share of the steps so far, while ``ema_decay`` allows it;
    at 0.5 all steps count alike. A broad average does what a falling rate does (Polyak)."""
    dropout: float | None = None
    """None: what the network's spec says."""
    head_first: bool = True
    """Fit the new classifier on cached features before the whole network moves; only where
    training starts from weights."""
    batch_norm: Literal["adapt", "frozen"] = "adapt"
    """'adapt': batch statistics, and running ones that move at least 0.1 a step: a checkpoint's
    own 0.001 to 0.003 would not arrive in a short run. 'frozen': those of the weights."""
    network: str = "torchvision"
    """A published network by name; only where training starts from scratch."""
    width: float = 1.0
    """Width multiplier; only where training starts from scratch."""
    size: tuple[int, int] | None = None
    """Height and width that the network takes; None: that of the weights or of ``network``."""
    train_scale: float = 1.0
    """Sides of the pictures while training, as a share of ``size``: smaller is faster, and random
    crops show things larger than the evaluation does (Touvron et al., arXiv 1906.06423)."""
    phases: tuple[float, ...] = ()
    """Progressive resizing: the run in equal parts, each at this share of the training size."""
    shrink: float = 1.3
    """Photos of which 'resized' takes parts are made smaller once, to a shorter side of so many
    times that of the largest view, and held in memory. 0: every view is cut out of the photo."""
    balance: float = 0.0
    """0: photos as they are. 1: every class equally often. Between: its count to this power."""
    view: Literal["largest", "weights"] = "largest"
    """What evaluation and use see of a photo. 'largest': the largest centred part of the network's
    shape. 'weights': what the weights came with, mostly a centre crop that cuts off an eighth."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixing: Mixing = field(default_factory=Mixing)
    distillation: Distillation = field(default_factory=Distillation)
    cache: Cache = field(default_factory=Cache)
    reestimate: int = 0
    """Photos on which BatchNorm's statistics are measured anew before every evaluation; 0: the
    running ones are used, as they are where ``batch_norm`` is 'frozen'."""
    calibrate: bool = True
    """Divide the classifier by a temperature that is fitted on the selection photos at the end
    (where they are at least 50), so that probabilities mean what they say (Guo et al., arXiv
    1706.04599)."""
    selection: float = 0.1
    """Share of the training photos held out to choose the best epoch."""
    validation: float = 0.2
    """Share held out for the final figure where the data has no validation or test split."""
    patience: int = 0
    """Stop after so many epochs without a better selection figure; 0: never."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """'auto': bfloat16 where the processor computes in it, else float32."""
    initialisation: Literal["torchvision", "paper"] = "torchvision"
    """Of what does not come from weights."""
    tensorboard: bool = False
    """Log every epoch for TensorBoard, too, into RUN/tensorboard."""
    most_unreadable: float = 0.01
    """More unreadable photos than this share are an error."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "learning_rate", "weight_decay", "warmup_epochs", "gradient_clip", "unfreeze_epochs",
        ):  # fmt: skip
            if not math.isfinite(getattr(self, name)):
                raise RecipeError(f"{name} {getattr(self, name)!r} must be a finite number")
        if self.seed > LARGEST_SEED:
            raise RecipeError(f"seed {self.seed} must be at most {LARGEST_SEED}")
        for name, least in (
            ("epochs", 0), ("batch_size", 2), ("learning_rate", 0), ("weight_decay", 0),
            ("warmup_epochs", 0), ("patience", 0), ("seed", 0), ("gradient_clip", 0),
            ("accumulate", 1), ("replicas", 1), ("frozen_blocks", 0), ("unfreeze_epochs", 0),
            ("reestimate", 0),
        ):  # fmt: skip
            if not getattr(self, name) >= least:
                raise RecipeError(f"{name} {getattr(self, name)!r} must be at least {least}")
        for name in ("momentum", "label_smoothing", "ema_decay", "dropout", "selection",
                     "validation", "most_unreadable"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise RecipeError(f"{name} {value!r} must be at least 0 and below 1")
        if not 0.01 <= self.ema_breadth <= 0.5:
            raise RecipeError(f"ema_breadth {self.ema_breadth!r} must be from 0.01 to 0.5")
        if self.reestimate == 1:
            raise RecipeError("reestimate 1 must be 0 or at least 2: one photo has no variance")
        if self.selection == 0 or self.validation == 0:
            raise RecipeError("selection and validation must be above 0: something is held out")
        if self.size is not None and not all(32 <= side <= 8192 for side in self.size):
            raise RecipeError(f"size {self.size!r} must be from 32 to 8192 pixels")
        if not (self.shrink == 0 or 1 <= self.shrink <= 100):
            raise RecipeError(f"shrink {self.shrink!r} must be 0 or from 1 to 100")
        if not 0.1 <= self.train_scale <= 4:
            raise RecipeError(f"train_scale {self.train_scale!r} must be from 0.1 to 4")
        for name in ("layer_decay", "epoch_factor"):
            if not 0 < getattr(self, name) <= 1:
                raise RecipeError(f"{name} {getattr(self, name)!r} must be above 0, at most 1")
        if self.trained != "all" and self.distillation.teacher:
            raise RecipeError(
                f"trained = {self.trained!r} does not look at pictures in its steps, so that a "
                "teacher has none to answer; leave distillation.teacher out, or train 'all'"
            )
        if self.trained == "later":
            unfit = ("phases", "reestimate", "unfreeze_epochs", "frozen_blocks")
            nothing = {name: "[]" if name == "phases" else "0" for name in unfit}
            if given := [f"--set {name}={nothing[name]}" for name in unfit if getattr(self, name)]:
                raise RecipeError(
                    "trained = 'later' trains on maps of one size, cached behind frozen blocks, "
                    f"and measures no statistics anew; give {' '.join(given)}, take --recipe "
                    "later-blocks, or train 'all'"
                )
        if self.optimizer == "muon" and self.batch_norm == "frozen":
            raise RecipeError(
                "optimizer = 'muon' keeps the length of weights, which BatchNorm takes out again "
                "only where batch_norm = 'adapt'; set that, or another optimizer"
            )
        if not 0 <= self.balance <= 1:
            raise RecipeError(f"balance {self.balance!r} must be from 0 to 1")
        if not all(0.1 <= share <= 4 for share in self.phases) or len(self.phases) > 20:
            raise RecipeError(f"phases {self.phases!r} must be at most 20 shares from 0.1 to 4")

    def to_toml(self) -> str:
        """The recipe as a TOML file that :func:`read` takes."""
        plain = to_mapping(self)
        tables = {key: plain.pop(key) for key in [*plain] if isinstance(plain[key], dict)}
        lines = [f"{key} = {_toml(value)}" for key, value in plain.items() if value is not None]
        for name, table in tables.items():
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        return "\n".join([*lines, ""])


def read(name_or_file: str, changes: Sequence[str] = ()) -> Recipe:
    """A recipe by its name or from a TOML file, with changes such as 'epochs=3'.

    ``augmentation.flip=false`` reaches into a table; values are written as in TOML, and a text
    needs no quotes.

    Raises:
        RecipeError: no such recipe, an unknown key, or an impossible value.
    """
    mapping, where = _table(name_or_file)
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise RecipeError(f"--set {change!r} must be key=value")
        table = mapping
        *path, last = key.strip().split(".")
        for part in path:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise RecipeError(f"--set {change!r}: {part!r} is not a table")
        table[last] = _value(text.strip())
        where = f"recipe {name_or_file} with --set"
    return from_mapping(Recipe, mapping, where, RecipeError)


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _folder().iterdir()
        if entry.name.endswith(".toml")
    )


def replace(recipe: Recipe, **changes: Any) -> Recipe:
    """A copy with some keys changed, checked again."""
    return dataclasses.replace(recipe, **changes)


def _folder() -> Any:
    packaged = files("mobilenetv2").joinpath("recipes")
    if packaged.is_dir():
        return packaged
    return Path(__file__).parents[3] / "recipes"  # an editable install of a checkout


def _table(name_or_file: str) -> tuple[dict[str, Any], str]:
    known = names()
    if name_or_file in known:
        entry, where = _folder().joinpath(f"{name_or_file}.toml"), f"recipe {name_or_file}"
    else:
        entry, where = Path(name_or_file), str(name_or_file)
        if not entry.is_file():
            raise RecipeError(
                f"recipe {name_or_file!r} is neither a file nor known; "
                f"{suggestion(name_or_file, known)}"
            )
    try:
        return tomllib.loads(entry.read_text("utf-8")), where
    except ValueError as error:
        raise RecipeError(f"{where}: not TOML ({error})") from None


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml(value: Any) -> str:
    # Numbers, booleans, texts and lists are written alike in both, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
