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
from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.mapping import from_mapping, suggestion, to_mapping

LARGEST_SEED = 2**63 - 1
"""PyTorch's generators take no larger one."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every knob of a run. Rates are for the batch size given; epochs may be 0."""

    trained: Literal["all", "head"] = "all"
    """'all': the whole network. 'head': only a new classifier, on cached features."""
    epochs: int = 8
    batch_size: int = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.02
    """Peak of the cosine."""
    momentum: float = 0.9
    """Of SGD (with Nesterov's correction)."""
    weight_decay: float = 4e-5
    """Not on BatchNorm and biases."""
    warmup_epochs: float = 0.5
    label_smoothing: float = 0.1
    ema_decay: float = 0.0
    """Share that a step keeps of the exponential moving average of the weights, less in the first
    steps; the average is what is measured and saved. 0: no average."""
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
    view: Literal["largest", "weights"] = "largest"
    """What evaluation and use see of a photo. 'largest': the largest centred part of the network's
    shape. 'weights': what the weights came with, mostly a centre crop that cuts off an eighth."""
    augmentation: Augmentation = field(default_factory=Augmentation)
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
    most_unreadable: float = 0.01
    """More unreadable photos than this share are an error."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "weight_decay", "warmup_epochs"):
            if not math.isfinite(getattr(self, name)):
                raise RecipeError(f"{name} {getattr(self, name)!r} must be a finite number")
        if self.seed > LARGEST_SEED:
            raise RecipeError(f"seed {self.seed} must be at most {LARGEST_SEED}")
        for name, least in (
            ("epochs", 0), ("batch_size", 2), ("learning_rate", 0), ("weight_decay", 0),
            ("warmup_epochs", 0), ("patience", 0), ("seed", 0),
        ):  # fmt: skip
            if not getattr(self, name) >= least:
                raise RecipeError(f"{name} {getattr(self, name)!r} must be at least {least}")
        for name in ("momentum", "label_smoothing", "ema_decay", "dropout", "selection",
                     "validation", "most_unreadable"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise RecipeError(f"{name} {value!r} must be at least 0 and below 1")
        if self.selection == 0 or self.validation == 0:
            raise RecipeError("selection and validation must be above 0: something is held out")
        if self.size is not None and not all(32 <= side <= 8192 for side in self.size):
            raise RecipeError(f"size {self.size!r} must be from 32 to 8192 pixels")
        if not 0.1 <= self.train_scale <= 4:
            raise RecipeError(f"train_scale {self.train_scale!r} must be from 0.1 to 4")
        if not (0 < self.augmentation.crop_least <= 1 and 0 <= self.augmentation.jitter < 1):
            raise RecipeError("augmentation.crop_least must be in (0, 1], jitter in [0, 1)")

    def to_toml(self) -> str:
        """The recipe as a TOML file that :func:`read` takes."""
        plain = to_mapping(self)
        augmentation = plain.pop("augmentation")
        lines = [f"{key} = {_toml(value)}" for key, value in plain.items() if value is not None]
        lines += ["", "[augmentation]"]
        return "\n".join([*lines, *(f"{k} = {_toml(v)}" for k, v in augmentation.items()), ""])


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
    return json.dumps(value)  # numbers, booleans, texts and lists are written alike in both
