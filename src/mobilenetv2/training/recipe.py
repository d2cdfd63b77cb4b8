"""Recipes of training, as one frozen record of tables: every key, its bounds, and its meaning.

:mod:`mobilenetv2.training.recipe_file` reads and writes it. docs/recipe.md is made from this file:
the text under a key is its meaning.
"""

import dataclasses
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from mobilenetv2.data.augment import Augmentation, Mixing
from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.mapping import check_bounds
from mobilenetv2.spec.network import HiddenSpec, Outputs, Pooling

LARGEST_SEED = 2**63 - 1
"""Largest seed that PyTorch's generators take."""

TABLES_OF_ALIASES = {
    "network": ("width", "size", "dropout", "initialisation"),
    "optimizer": ("learning_rate", "momentum", "weight_decay", "gradient_clip", "layer_decay"),
    "schedule": ("warmup_epochs", "epoch_factor"),
    "averaging": ("reestimate",),
    "freezing": ("unfreeze_epochs", "batch_norm"),
    "data": (
        "selection", "validation", "most_unreadable", "balance", "view", "train_scale", "phases",
        "shrink",
    ),
    "computation": ("precision", "accumulate", "replicas"),
}  # fmt: skip
ALIASES = {
    "network": "network.name", "optimizer": "optimizer.name", "schedule": "schedule.name",
    "ema_decay": "averaging.decay", "ema_breadth": "averaging.breadth",
    "frozen_blocks": "freezing.blocks", "head_first": "classifier.fit_first",
    **{key: f"{table}.{key}" for table, keys in TABLES_OF_ALIASES.items() for key in keys},
}  # fmt: skip
"""Another name of a key -> the key. Before there were tables, all keys stood under these names."""


class Table:
    """A table of a recipe, whose numbers lie within the bounds beside their types."""

    __slots__ = ()

    def __post_init__(self) -> None:
        check_bounds(self, RecipeError)


@dataclass(frozen=True, slots=True)
class Network(Table):
    """The network that is trained."""

    name: str = "torchvision"
    """Name of a published network; only where training starts from scratch."""
    width: float | None = None
    """Width multiplier; only where training starts from scratch. Absent: that of ``name``."""
    size: Annotated[tuple[int, int] | None, "[32, 8192]"] = None
    """Height and width in pixels; one number is a square. Absent: that of the weights or of
    ``name``."""
    dropout: Annotated[float | None, "[0, 1)"] = None
    """Probability that a pooled feature is dropped in training. Absent: what the network's spec
    says."""
    initialisation: Literal["torchvision", "paper"] = "torchvision"
    """Initialisation of the weights that are new."""


@dataclass(frozen=True, slots=True)
class Classifier(Table):
    """The layers after the last feature map. The last layer is always new."""

    pooling: Pooling | None = None
    """Mean or maximum of each channel over the last feature map. Absent: as the weights have it,
    else the mean."""
    hidden: tuple[HiddenSpec, ...] | None = None
    """Linear layers before the last one: ``[{units = 100, activation = "relu", bias = true,
    dropout = 0.0}]``, or the units alone: ``[100]``. Layers that the weights have keep theirs.
    Absent: those of the weights, else none."""
    bias: bool = True
    """The last layer adds a bias."""
    outputs: Outputs = "softmax"
    """'softmax': one of n classes, by cross-entropy. 'sigmoid': any of n, and 'logit': the second
    of two by one number, both by binary cross-entropy, summed over the outputs."""
    fit_first: bool = True
    """Fit the last layer on cached features before the whole network moves, to avoid distorting the
    pretrained features (LP-FT, arXiv 2202.10054); only where training starts from weights. Hidden
    layers stay as they are meanwhile."""


@dataclass(frozen=True, slots=True)
class Optimizer(Table):
    """The optimiser. Its learning rate is for the batch size given."""

    name: Literal["sgd", "adamw", "rmsprop", "muon"] = "sgd"
    """'sgd' has Nesterov's correction. 'muon' is 'sgd' with orthogonal steps for the pointwise
    convolutions, which do not decay. 'rmsprop' is TensorFlow's, with slim's epsilon of 1."""
    learning_rate: Annotated[float, "[0, inf)"] = 0.02
    """The schedule's peak."""
    momentum: Annotated[float, "[0, 1)"] = 0.9
    """Momentum of SGD (Nesterov's), RMSProp and Muon."""
    weight_decay: Annotated[float, "[0, inf)"] = 4e-5
    """Weight decay; BatchNorm, biases and what Muon turns have none."""
    gradient_clip: Annotated[float, "[0, inf)"] = 0.0
    """Longest gradient, all weights together; a longer one is shortened to it. 0: any."""
    layer_decay: Annotated[float, "(0, 1]"] = 1.0
    """Layer-wise learning-rate decay: each layer's rate is this share of that of the layer above
    it. 1: all learn alike."""


@dataclass(frozen=True, slots=True)
class Schedule(Table):
    """The learning rate over the run."""

    name: Literal["cosine", "constant", "exponential"] = "cosine"
    """'cosine' falls to 0, 'exponential' by ``epoch_factor`` an epoch."""
    warmup_epochs: Annotated[float, "[0, inf)"] = 0.5
    """Epochs over which the rate rises to its peak."""
    epoch_factor: Annotated[float, "(0, 1]"] = 0.98
    """Factor of the learning rate after each epoch of the 'exponential' schedule."""


@dataclass(frozen=True, slots=True)
class Averaging(Table):
    """The exponential moving average of the weights, which is what is measured and saved."""

    decay: Annotated[float, "[0, 1)"] = 0.0
    """EMA decay, lower in the first steps. 0: no average."""
    breadth: Annotated[float, "[0.01, 0.5]"] = 0.1
    """Mean age of what is averaged, as a share of the steps so far, while ``decay`` allows it; at
    0.5 all steps count alike. A broad average does what a falling rate does (Polyak)."""
    reestimate: Annotated[int, "0 or [2, inf)"] = 0
    """Photos on which BatchNorm's statistics are measured anew before every evaluation. 0: the
    running ones are used, as they are where ``freezing.batch_norm`` is 'frozen'."""


@dataclass(frozen=True, slots=True)
class Freezing(Table):
    """Layers that are not trained, or not from the start."""

    blocks: Annotated[int, "[0, inf)"] = 0
    """Number of first blocks that, with the stem, stay as the weights have them, BatchNorm too.
    Their maps are the largest: with 3 a step takes two thirds of the time. 0: all learns."""
    unfreeze_epochs: Annotated[float, "[0, inf)"] = 0.0
    """Epochs over which the layers join one by one, from the classifier down (gradual
    unfreezing)."""
    batch_norm: Literal["adapt", "frozen"] = "adapt"
    """'adapt': batch statistics, and running ones that move at least 0.1 a step: a checkpoint's
    own 0.001 to 0.003 would not arrive in a short run. 'frozen': those of the weights."""


@dataclass(frozen=True, slots=True)
class Data(Table):
    """The use of the photos, and their size."""

    selection: Annotated[float, "(0, 1)"] = 0.1
    """Share of the training photos that becomes the validation split, which selects the epoch."""
    validation: Annotated[float, "(0, 1)"] = 0.2
    """Share that becomes the test split where the data has no validation/ or test/ folder."""
    most_unreadable: Annotated[float, "[0, 1)"] = 0.01
    """More unreadable photos than this share are an error."""
    balance: Annotated[float, "[0, 1]"] = 0.0
    """0: photos as they are. 1: every class equally often. Between: its count to this power."""
    view: Literal["largest", "weights"] = "largest"
    """Part of a photo that evaluation and use see. 'largest': the largest centred part of the
    network's shape. 'weights': what the weights came with, mostly a centre crop that cuts off an
    eighth."""
    train_scale: Annotated[float, "[0.1, 4]"] = 1.0
    """Sides of the pictures while training, as a share of the network's size: smaller is faster,
    and random crops show things larger than the evaluation does (arXiv 1906.06423)."""
    phases: Annotated[tuple[float, ...], "[0.1, 4]"] = ()
    """Progressive resizing: the run in equal parts, each at this share of the training size; at
    most 20 of them."""
    shrink: Annotated[float, "0 or [1, 100]"] = 1.3
    """Photos of which 'resized' takes parts are made smaller once, to a shorter side of so many
    times that of the largest view, and held in memory. 0: every view is cut out of the photo."""

    def __post_init__(self) -> None:
        check_bounds(self, RecipeError)
        if len(self.phases) > 20:
            raise RecipeError(f"phases {self.phases!r} must be at most 20 shares")


@dataclass(frozen=True, slots=True)
class Distillation(Table):
    """Learning from a bigger network's answers, too (Hinton et al., arXiv 1503.02531)."""

    teacher: str = ""
    """A model folder or a file of ``export``, its classes those of the data. '': there is none."""
    share: Annotated[float, "[0, 1]"] = 0.0
    """Share of the targets that is the teacher's probabilities; the rest are the labels. Without a
    teacher it is 0, with one it is not."""
    temperature: Annotated[float, "[0.1, 100]"] = 1.0
    """A temperature above 1 softens the teacher's targets. (Hinton et al. soften the student's,
    too, and multiply the loss by its square.)"""


@dataclass(frozen=True, slots=True)
class Cache(Table):
    """The frozen part of ``trained = 'later'``: what it gives is computed once."""

    blocks: Annotated[int, "[0, inf)"] = 14
    """Number of blocks that, with the stem, are frozen. At most all: then only the head trains."""
    views: Annotated[int, "[1, 1000]"] = 4
    """Random views of each photo that are computed; the epochs take turns."""


@dataclass(frozen=True, slots=True)
class Computation(Table):
    """The arithmetic of a step. None of it follows from how fast a machine is."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """'auto': bfloat16 where the processor computes in it, else float32. The run's own recipe.toml
    says which it was."""
    accumulate: Annotated[int, "[1, inf)"] = 1
    """A batch is computed in so many parts, one after the other: less memory, the same batch (but
    for BatchNorm, which sees the parts)."""
    replicas: Annotated[int, "[1, inf)"] = 1
    """A batch is computed in so many parts at the same time, each on its share of the cores: for
    small pictures a tenth to a quarter faster. BatchNorm sees the parts."""


@dataclass(frozen=True, slots=True)
class Recipe(Table):
    """Every key of a run."""

    trained: Literal["all", "later", "head"] = "all"
    """'all': the whole network. 'later': the later blocks, on cached maps of the earlier ones.
    'head': only a new classifier, on cached features."""
    epochs: Annotated[int, "[0, inf)"] = 8
    """Passes over the training photos."""
    batch_size: Annotated[int, "[2, inf)"] = 32
    """Photos of a step."""
    label_smoothing: Annotated[float, "[0, 1)"] = 0.1
    """Share of the targets that goes to all classes alike; where each class has a probability of
    its own, half of it is for the class and half against."""
    patience: Annotated[int, "[0, inf)"] = 0
    """Epochs without a lower validation loss after which training stops. 0: never."""
    calibrate: bool = True
    """Temperature scaling: divide the classifier by a temperature that is fitted on the validation
    split at the end (where it has at least 50 photos), so that probabilities mean what they say
    (Guo et al., arXiv 1706.04599)."""
    tensorboard: bool = False
    """Log every epoch for TensorBoard, too, into RUN/tensorboard."""
    seed: Annotated[int, "[0, inf)"] = 0
    """Seed of the splits, the new weights, the order of photos, their views and dropout."""
    network: Network = field(default_factory=Network)
    classifier: Classifier = field(default_factory=Classifier)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    averaging: Averaging = field(default_factory=Averaging)
    freezing: Freezing = field(default_factory=Freezing)
    data: Data = field(default_factory=Data)
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixing: Mixing = field(default_factory=Mixing)
    distillation: Distillation = field(default_factory=Distillation)
    cache: Cache = field(default_factory=Cache)
    computation: Computation = field(default_factory=Computation)

    def __post_init__(self) -> None:
        check_bounds(self, RecipeError)
        if self.seed > LARGEST_SEED:
            raise RecipeError(f"seed {self.seed} must be at most {LARGEST_SEED}")
        if self.trained != "all" and self.distillation.teacher:
            raise RecipeError(
                f"trained = {self.trained!r} does not look at pictures in its steps, so that a "
                "teacher has none to answer; leave distillation.teacher out, or train 'all'"
            )
        if self.trained == "later":
            unfit = {
                "data.phases": "[]", "averaging.reestimate": "0", "freezing.unfreeze_epochs": "0",
                "freezing.blocks": "0",
            }  # fmt: skip
            if given := [f"{key}={none}" for key, none in unfit.items() if self.get(key)]:
                raise RecipeError(
                    "trained = 'later' trains on maps of one size, cached behind frozen blocks, "
                    f"and measures no statistics anew; set {' '.join(given)}, take recipe "
                    "later-blocks, or train 'all'"
                )
        if self.optimizer.name == "muon" and self.freezing.batch_norm == "frozen":
            raise RecipeError(
                "optimizer.name = 'muon' keeps the length of weights, which BatchNorm takes out "
                "again only where freezing.batch_norm = 'adapt'; set that, or another optimizer"
            )

    def get(self, key: str) -> Any:
        """Return the value of a key such as 'optimizer.momentum'."""
        return operator.attrgetter(key)(self)

    def changed(self, changes: Mapping[str, Any] | None = None, **more: Any) -> "Recipe":
        """Return a copy with other values of some keys, checked.

        Args:
            changes: by a key ('optimizer.momentum'), its other name, or a table's.
            more: the same as keyword arguments: ``recipe.changed(epochs=3, momentum=0.8)``.
        """
        values: dict[str, Any] = {}
        for name, value in {**(changes or {}), **more}.items():
            key = name if dataclasses.is_dataclass(value) else ALIASES.get(name, name)
            table, dot, key = key.rpartition(".")
            if dot:
                old = values.get(table, getattr(self, table))
                value = dataclasses.replace(old, **{key: value})
            values[table or key] = value
        return dataclasses.replace(self, **values)


def check_start(recipe: Recipe, from_weights: bool) -> None:
    """Raise RecipeError where a recipe builds on weights and there are none, or distils by half."""
    if recipe.trained != "all" and not from_weights:
        raise RecipeError(
            f"trained = {recipe.trained!r} builds on the features of given weights; give "
            "weights, or train from scratch with trained = 'all'"
        )
    if recipe.freezing.blocks and not from_weights:
        raise RecipeError(
            f"freezing.blocks = {recipe.freezing.blocks} keeps what given weights know; give "
            "weights, or set freezing.blocks=0"
        )
    teacher, share = recipe.distillation.teacher, recipe.distillation.share
    if share and not teacher:
        raise RecipeError(
            f"distillation.share = {share:g} needs a teacher: set "
            "distillation.teacher=RUN/best, a model folder or an exported file (or do without "
            "one: set distillation.share=0)"
        )
    if teacher and not share:
        raise RecipeError(
            "distillation.teacher needs the share of its answers in the targets: set "
            "distillation.share=0.7"
        )


TORCH_ONLY: dict[str, tuple[object, ...]] = {
    "trained": ("all", "head"), "optimizer.name": ("sgd", "adamw"),
    "optimizer.gradient_clip": (0.0,), "optimizer.layer_decay": (1.0,),
    "freezing.unfreeze_epochs": (0.0,), "computation.accumulate": (1,),
    "computation.replicas": (1,), "computation.precision": ("float32", "auto"),
}  # fmt: skip
"""Key -> the values that the other editions have, where PyTorch alone has all."""
SUPPORTED: dict[str, dict[str, tuple[object, ...]]] = {
    "torch": {},
    # A Keras layer with frozen statistics has frozen scales, too.
    "keras": TORCH_ONLY | {"freezing.batch_norm": ("adapt",)},
    "jax": TORCH_ONLY,
}
"""Edition -> key -> the values that it has; of all other keys it has every value."""


def check_edition(recipe: Recipe, edition: str) -> None:
    """Raise RecipeError for the first key whose value an edition does not have."""
    for key, values in SUPPORTED[edition].items():
        value = recipe.get(key)
        if value not in values:
            raise RecipeError(
                f"{key} = {value!r} is not supported by the {edition} edition; "
                f"set {key}={values[0]}, or use edition torch"
            )
