"""Training recipes: a frozen record of tables, with the bounds and the meaning of every key.

:mod:`mobilenetv2.training.recipe_file` reads and writes recipes. docs/recipe.md is generated from
this file: the docstring below a key is its description.
"""

import dataclasses
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from mobilenetv2.data.augment import Augmentation, Mixing
from mobilenetv2.errors import RecipeError, recipe_key
from mobilenetv2.spec.mapping import check_bounds
from mobilenetv2.spec.network import HiddenSpec, Outputs, Pooling

LARGEST_SEED = 2**63 - 1
"""Largest seed of PyTorch's random generators."""

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
"""Older name of a key -> the key. Recipes without tables use these names."""


class Table:
    """A table of a recipe; its numbers must be within the bounds in their annotations."""

    __slots__ = ()

    def __post_init__(self) -> None:
        check_bounds(self, RecipeError)


@dataclass(frozen=True, slots=True)
class Network(Table):
    """The network to train."""

    name: str = "torchvision"
    """Name of a published network; used only for training from scratch."""
    width: float | None = None
    """Width multiplier; used only for training from scratch. Absent: the width of ``name``."""
    size: Annotated[tuple[int, int] | None, "[32, 8192]"] = None
    """Height and width of the input in pixels, or one number for both. Absent: the size of the
    weights or of ``name``."""
    dropout: Annotated[float | None, "[0, 1)"] = None
    """Probability that a pooled feature is dropped in training. Absent: the dropout of the
    network."""
    initialisation: Literal["torchvision", "paper"] = "torchvision"
    """Initialisation of new weights."""


@dataclass(frozen=True, slots=True)
class Classifier(Table):
    """The layers after the last feature map. The last layer is always new."""

    pooling: Pooling | None = None
    """Pooling of the last feature map: mean or maximum of each channel. Absent: the pooling of the
    weights, else the mean."""
    hidden: tuple[HiddenSpec, ...] | None = None
    """Linear layers before the last one: ``[{units = 100, activation = "relu", bias = true,
    dropout = 0.0}]``, or only the units: ``[100]``. Layers that exist in the weights keep their
    values. Absent: the layers of the weights, else none."""
    bias: bool = True
    """True for a bias in the last layer."""
    outputs: Outputs = "softmax"
    """Meaning of the outputs. 'softmax': one of n classes, trained with cross-entropy. 'sigmoid':
    any number of n classes. 'logit': the second of two classes, from one output. The last two are
    trained with binary cross-entropy, summed over the outputs."""
    fit_first: bool = True
    """True to fit the last layer on cached features before the whole network is trained. This
    avoids distorting the pretrained features (LP-FT, arXiv 2202.10054). It needs initial weights.
    Hidden layers are not changed by it."""


@dataclass(frozen=True, slots=True)
class Optimizer(Table):
    """The optimiser. Its learning rate is not scaled with the batch size."""

    name: Literal["sgd", "adamw", "rmsprop", "muon"] = "sgd"
    """Optimiser. 'sgd' has Nesterov momentum. 'muon' is 'sgd' with orthogonal steps for the
    pointwise convolutions. 'rmsprop' is TensorFlow's, with slim's epsilon of 1."""
    learning_rate: Annotated[float, "[0, inf)"] = 0.02
    """Learning rate at the schedule's peak."""
    momentum: Annotated[float, "[0, 1)"] = 0.9
    """Momentum of SGD (Nesterov), RMSProp and Muon."""
    weight_decay: Annotated[float, "[0, inf)"] = 4e-5
    """Weight decay. BatchNorm, biases and the pointwise convolutions of 'muon' have none."""
    gradient_clip: Annotated[float, "[0, inf)"] = 0.0
    """Largest norm of the gradient of all weights together; a larger one is scaled down to it. 0:
    no limit."""
    layer_decay: Annotated[float, "(0, 1]"] = 1.0
    """Layer-wise learning-rate decay: factor of the learning rate from each layer to the one before
    it, starting at the classifier. 1: the same rate for all layers."""


@dataclass(frozen=True, slots=True)
class Schedule(Table):
    """The learning-rate schedule."""

    name: Literal["cosine", "constant", "exponential"] = "cosine"
    """Learning rate after the warm-up. 'cosine' falls to 0; 'constant' stays at the peak;
    'exponential' is multiplied by ``epoch_factor`` after each epoch."""
    warmup_epochs: Annotated[float, "[0, inf)"] = 0.5
    """Epochs in which the learning rate rises to its peak."""
    epoch_factor: Annotated[float, "(0, 1]"] = 0.98
    """Factor of the learning rate after each epoch of the 'exponential' schedule."""


@dataclass(frozen=True, slots=True)
class Averaging(Table):
    """The exponential moving average (EMA) of the weights, which is evaluated and saved."""

    decay: Annotated[float, "[0, 1)"] = 0.0
    """EMA decay; it is lower in the first steps. 0: no average."""
    breadth: Annotated[float, "[0.01, 0.5]"] = 0.1
    """Mean age of the averaged weights, as a share of the steps so far, until ``decay`` limits it.
    With 0.5 all steps have the same weight. A broad average has the effect of a falling learning
    rate (Polyak averaging)."""
    reestimate: Annotated[int, "0 or [2, inf)"] = 0
    """Number of photos on which the BatchNorm statistics are measured again before every
    evaluation. 0: the running statistics are used. Ignored if ``freezing.batch_norm`` is
    'frozen'."""


@dataclass(frozen=True, slots=True)
class Freezing(Table):
    """Layers that are not trained, or not from the start."""

    blocks: Annotated[int, "[0, inf)"] = 0
    """Number of first blocks to freeze together with the stem, BatchNorm included. Their feature
    maps are the largest: with 3 blocks, a step takes two thirds of the time. 0: no frozen
    layers."""
    unfreeze_epochs: Annotated[float, "[0, inf)"] = 0.0
    """Epochs in which the layers are unfrozen one by one, starting at the classifier (gradual
    unfreezing)."""
    batch_norm: Literal["adapt", "frozen"] = "adapt"
    """BatchNorm in training. 'adapt': batch statistics, and running statistics that move by at
    least 0.1 a step; the 0.001 to 0.003 of published weights is too slow for a short run. 'frozen':
    the statistics of the weights."""


@dataclass(frozen=True, slots=True)
class Data(Table):
    """The splits, and the size and view of the photos."""

    selection: Annotated[float, "(0, 1)"] = 0.1
    """Share of the training photos that becomes the validation split, which selects the epoch."""
    validation: Annotated[float, "(0, 1)"] = 0.2
    """Share of the photos that becomes the test split if the data has no validation/ or test/
    folder."""
    most_unreadable: Annotated[float, "[0, 1)"] = 0.01
    """Largest share of unreadable photos that is not an error."""
    balance: Annotated[float, "[0, 1]"] = 0.0
    """Balancing of the classes. 0: each photo once an epoch. 1: each class equally often. Between:
    the frequency of a class is its photo count to the power of 1 - balance."""
    view: Literal["largest", "weights"] = "largest"
    """Part of a photo that is used in evaluation and prediction. 'largest': the largest centred
    part in the network's shape. 'weights': the preprocessing of the weights, mostly a centre crop
    that removes an eighth of height and width."""
    train_scale: Annotated[float, "[0.1, 4]"] = 1.0
    """Side of the training images as a share of the network's input size. Smaller is faster, and
    objects in random crops appear larger than in evaluation (arXiv 1906.06423)."""
    phases: Annotated[tuple[float, ...], "[0.1, 4]"] = ()
    """Progressive resizing: image sizes of equal parts of the run, as shares of the training size;
    at most 20."""
    shrink: Annotated[float, "0 or [1, 100]"] = 1.3
    """Size of cached photos for random crops (``augmentation.crop`` = 'resized'): shorter side, as
    a multiple of that of the largest view. The photos are resized once and kept in memory. 0: each
    view is cut from the full photo."""
    decode: Literal["reduced", "whole"] = "reduced"
    """Size at which JPEG files are decoded, in training and whenever the model is used. 'reduced':
    the smallest of 1, 1/2, 1/4 and 1/8 of their size that is at least as large as what they are
    resized to, which is several times as fast for photos of phones. 'whole': their own size."""
    shuffle: Literal["whole", "runs"] = "whole"
    """Order of an epoch's photos. 'whole': any photo may follow any other. 'runs': for shards on a
    server, which are read in runs of 4 MiB; the runs are shuffled, and then the photos in a buffer
    of 32 MiB."""

    def __post_init__(self) -> None:
        check_bounds(self, RecipeError)
        if self.shuffle == "runs" and self.balance:
            raise RecipeError(
                "data.shuffle = 'runs' takes each photo once an epoch; set data.balance=0, or "
                "data.shuffle=whole"
            )
        if len(self.phases) > 20:
            raise RecipeError(f"phases {self.phases!r} must be at most 20 shares")


@dataclass(frozen=True, slots=True)
class Distillation(Table):
    """Distillation: a larger network's probabilities as targets (Hinton et al., arXiv
    1503.02531)."""

    teacher: str = ""
    """Model folder or exported file of the teacher, which must have the classes of the data. '': no
    teacher."""
    share: Annotated[float, "[0, 1]"] = 0.0
    """Share of the teacher's probabilities in the targets; the rest are the labels. It must be 0
    without a teacher, and above 0 with one."""
    temperature: Annotated[float, "[0.1, 100]"] = 1.0
    """Temperature of the teacher; above 1 it softens the teacher's targets. The student has no
    temperature, and the loss is not scaled, unlike in Hinton et al."""


@dataclass(frozen=True, slots=True)
class Cache(Table):
    """The cached feature maps of the frozen blocks; used only with ``trained = 'later'``."""

    blocks: Annotated[int, "[0, inf)"] = 14
    """Number of first blocks to freeze together with the stem. With all blocks, only the head is
    trained."""
    views: Annotated[int, "[1, 1000]"] = 4
    """Number of random views that are cached of each photo. The epochs use them in turn."""


@dataclass(frozen=True, slots=True)
class Computation(Table):
    """The arithmetic of a step. No key depends on the speed of the machine."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the computation. 'auto': bfloat16 if the hardware supports it, else float32; the
    run's recipe.toml records the choice."""
    accumulate: Annotated[int, "[1, inf)"] = 1
    """Number of parts of a batch that are computed one after the other, to save memory. The result
    is the same, except that BatchNorm uses the statistics of each part."""
    replicas: Annotated[int, "[1, inf)"] = 1
    """Number of parts of a batch that are computed at the same time, each on its share of the
    cores. For small images this is 10% to 25% faster. BatchNorm uses the statistics of each
    part."""
    sync_batch_norm: bool = False
    """True for BatchNorm with the statistics of the photos of all processes that torchrun started,
    for batches of few photos in each. False: each process uses those of its own part. With one
    process there is no difference."""

    def __post_init__(self) -> None:
        check_bounds(self, RecipeError)
        if self.sync_batch_norm and self.replicas > 1:
            raise RecipeError(
                "computation.sync_batch_norm = true is between processes, and the replicas of one "
                "process do not share statistics; set computation.replicas=1"
            )


@dataclass(frozen=True, slots=True)
class Recipe(Table):
    """All keys of a training run."""

    trained: Literal["all", "later", "head"] = "all"
    """Part of the network to train. 'all': the whole network. 'later': the later blocks, on cached
    feature maps of the earlier ones. 'head': only a new classifier, on cached features."""
    epochs: Annotated[int, "[0, inf)"] = 8
    """Passes over the training photos."""
    batch_size: Annotated[int, "[2, inf)"] = 32
    """Number of photos in a step."""
    label_smoothing: Annotated[float, "[0, 1)"] = 0.1
    """Share of the targets that is spread evenly over all classes; with 'sigmoid' and 'logit'
    outputs, evenly over yes and no."""
    patience: Annotated[int, "[0, inf)"] = 0
    """Epochs without a lower validation loss after which training stops. 0: no early stopping."""
    calibrate: bool = True
    """True for temperature scaling: at the end, the classifier is divided by a temperature that is
    fitted on the validation split, so that the probabilities match the accuracy (Guo et al., arXiv
    1706.04599). It needs at least 50 validation photos."""
    tensorboard: bool = False
    """True to log every epoch for TensorBoard in RUN/tensorboard."""
    seed: Annotated[int, "[0, inf)"] = 0
    """Seed of the splits, the new weights, the order and views of photos, and dropout."""
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
                f"trained = {self.trained!r} trains on cached features, and a teacher needs "
                f"images; leave distillation.teacher out, or give {recipe_key('trained', 'all')}"
            )
        if self.trained == "later":
            unfit = {
                "data.phases": "[]", "averaging.reestimate": "0", "freezing.unfreeze_epochs": "0",
                "freezing.blocks": "0",
            }  # fmt: skip
            if given := [f"{key}={none}" for key, none in unfit.items() if self.get(key)]:
                raise RecipeError(
                    "trained = 'later' trains on cached feature maps of one size and cannot "
                    f"measure BatchNorm statistics again; set {' '.join(given)}, use recipe "
                    f"later-blocks, or give {recipe_key('trained', 'all')}"
                )
        if self.optimizer.name == "muon" and self.freezing.batch_norm == "frozen":
            raise RecipeError(
                "optimizer.name = 'muon' needs freezing.batch_norm = 'adapt', since it keeps the "
                "norm of the weights; set freezing.batch_norm=adapt, or another optimizer"
            )

    def get(self, key: str) -> Any:
        """Return the value of a key such as 'optimizer.momentum'."""
        return operator.attrgetter(key)(self)

    def changed(self, changes: Mapping[str, Any] | None = None, **more: Any) -> "Recipe":
        """Return a copy with other values of some keys; the values are checked.

        Args:
            changes: new values by key ('optimizer.momentum'), by older name ('momentum'), or by
                table ('optimizer').
            more: the same as keyword arguments: ``recipe.changed(epochs=3, momentum=0.8)``.

        Raises:
            RecipeError: a value is impossible.
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
    """Raise RecipeError if a recipe needs initial weights and has none, or lacks a part of
    distillation."""
    if recipe.trained != "all" and not from_weights:
        raise RecipeError(
            f"trained = {recipe.trained!r} needs initial weights; give weights, or train from "
            "scratch with trained = 'all'"
        )
    if recipe.freezing.blocks and not from_weights:
        raise RecipeError(
            f"freezing.blocks = {recipe.freezing.blocks} needs initial weights; give weights, or "
            "set freezing.blocks=0"
        )
    teacher, share = recipe.distillation.teacher, recipe.distillation.share
    if share and not teacher:
        raise RecipeError(
            f"distillation.share = {share:g} needs a teacher: set "
            "distillation.teacher=RUN/best, a model folder or an exported file (or train without "
            "a teacher: set distillation.share=0)"
        )
    if teacher and not share:
        raise RecipeError(
            "distillation.teacher needs a share of its probabilities in the targets: set "
            "distillation.share=0.7"
        )


TORCH_ONLY: dict[str, tuple[object, ...]] = {
    "trained": ("all", "head"), "optimizer.name": ("sgd", "adamw"),
    "optimizer.gradient_clip": (0.0,), "optimizer.layer_decay": (1.0,),
    "freezing.unfreeze_epochs": (0.0,), "computation.accumulate": (1,),
    "computation.replicas": (1,), "computation.precision": ("float32", "auto"),
    "computation.sync_batch_norm": (False,),
}  # fmt: skip
"""Key -> values that the Keras and JAX editions support; PyTorch supports all values."""
SUPPORTED: dict[str, dict[str, tuple[object, ...]]] = {
    "torch": {},
    # In Keras, freezing the statistics of a layer also freezes its scale and shift.
    "keras": TORCH_ONLY | {"freezing.batch_norm": ("adapt",)},
    "jax": TORCH_ONLY,
}
"""Edition -> key -> supported values; of all other keys every value is supported."""


def check_edition(recipe: Recipe, edition: str) -> None:
    """Raise RecipeError for the first key whose value an edition does not support."""
    for key, values in SUPPORTED[edition].items():
        value = recipe.get(key)
        if value not in values:
            raise RecipeError(
                f"{key} = {value!r} is not supported by the {edition} edition; "
                f"set {key}={values[0]}, or use edition torch"
            )
