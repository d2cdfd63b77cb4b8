"""Training of a study's networks: the project's own loop on a share of CIFAR-10.

All studies that compare accuracies train by this module, with one recipe. A run's seed sets the
initial weights, the order of the photos and their random views. The photos are the same for all
runs. So two networks with the same seed are a pair: they see the same views in the same order.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mobilenetv2.data.dataset import Split, open_dataset, stratified_split
from mobilenetv2.evaluation.metrics import measure
from mobilenetv2.files import temporary_folder
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.studies.data import folder
from mobilenetv2.studies.study import Options
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.initial_model import untrained
from mobilenetv2.training.job import Job, Run
from mobilenetv2.training.loop import fit
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import Splits
from mobilenetv2.training.steps import find_steps

DATASET, TRAIN, TEST = "cifar10", "train.zip", "test.zip"
PACKAGES = ("torch", "sklearn")
"""Packages that a training needs; scikit-learn's keep its arithmetic in one thread."""
WATCHED = 0.002
"""Share of the training photos that the loop evaluates after each epoch, 100 of 50,000. They choose
nothing: the weights after the last epoch are tested."""
MANY = 10_000
"""Number of training photos above which a step has :data:`LARGE_BATCH` photos."""
BATCH, LARGE_BATCH = 32, 256
RATE, LARGE_RATE = 0.05, 0.15
"""Learning rates at the schedule's peak for the two sizes of a batch; their ratio is about the
square root of that of the sizes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Number of photos and epochs of a study's trainings."""

    photos: int
    """Number of training photos, 0 for all."""
    epochs: int
    """Passes over the training photos."""
    tested: int = 5_000
    """Number of test photos, which are never trained on."""

    def of(self, options: Options) -> "Plan":
        """Return the plan with what a person chose; a quick one is tiny."""
        plan = QUICK if options.quick else self
        photos = plan.photos if options.photos is None else options.photos
        return Plan(photos, options.epochs or plan.epochs, plan.tested)


LIMITS = (
    "The networks are small, the photos a share of CIFAR-10, the epochs few, and one recipe with "
    "one learning rate is used for all: long training, larger networks, or a rate chosen for each "
    "may change the result. Intervals are those of the seeds; all runs share their photos."
)
"""Limits of all studies that train."""
QUICK = Plan(photos=1_000, epochs=3, tested=500)
"""Plan of ``--quick``: networks just learn, at 10 to 20 points above chance, and a run takes about
ten seconds. It shows that a study works; two seeds tell little about its claims."""


def train(spec: NetworkSpec, seed: int, options: Options, plan: Plan) -> dict[str, float]:
    """Train a network from scratch, and test it on photos that it has not seen.

    On a CPU with one thread, the same arguments give the same numbers.

    Args:
        spec: the network, with 10 classes.
        seed: seed of the initial weights, the order of the photos and their views.
        options: data, device, and what a person chose instead of ``plan``.
        plan: the study's own number of photos and epochs.

    Returns:
        'top1' (a share) and 'loss' (nats) on the test photos, 'train_loss' of the last epoch, and
        the network's 'parameters', 'multiply_adds' and 'width'.

    Raises:
        DataError: the photos are not there.
        RunError: the training diverged.
    """
    chosen = plan.of(options)
    splits = photos(str(folder(options, DATASET, TRAIN, TEST)), chosen.photos, chosen.tested)
    recipe = recipe_for(len(splits.train), chosen.epochs, seed)
    config = ModelConfig.default(spec)
    trainer = find_steps("torch").make_trainer(
        config, untrained(spec, recipe), recipe, options.device
    )
    with temporary_folder() as place:
        job = Job(DATASET, place, None, recipe, device=options.device)
        run = Run(job, RunFolder(place), recipe, config, splits, trainer)
        fit(run)
        tested = measure(run.predict(splits.held_out, "test"))
    return {
        "top1": tested.top1, "loss": tested.loss, "train_loss": run.rows[-1]["train_loss"],
        **costs(spec),
    }  # fmt: skip


def costs(spec: NetworkSpec) -> dict[str, float]:
    """Return a network's parameters, multiply-adds and width as measures."""
    return {
        "parameters": parameters(spec), "multiply_adds": multiply_adds(spec), "width": spec.width,
    }  # fmt: skip


def recipe_for(count: int, epochs: int, seed: int) -> Recipe:
    """Return the recipe of all studies: SGD with Nesterov momentum, a cosine, plain views.

    The rate was chosen once, for the paper's block, and is the same for all networks.

    Args:
        count: number of training photos.
        epochs: passes over them.
        seed: seed of the run.
    """
    many = count > MANY
    return Recipe().changed(
        {
            "epochs": epochs,
            "batch_size": LARGE_BATCH if many else BATCH,
            "label_smoothing": 0.0,
            "calibrate": False,
            "seed": seed,
            "optimizer.name": "sgd",
            "optimizer.learning_rate": LARGE_RATE if many else RATE,
            "optimizer.momentum": 0.9,
            "optimizer.weight_decay": 5e-4,
            "schedule.name": "cosine",
            "schedule.warmup_epochs": 0.5,
            "augmentation.crop": "shifted",
            "augmentation.border": "reflection",
            "augmentation.flip": True,
            "augmentation.jitter": 0.0,
            "computation.precision": "float32",
        }
    )


@lru_cache(maxsize=2)
def photos(place: str, count: int, tested: int) -> Splits:
    """Return the same training and test photos for every run, with all classes equally often.

    Args:
        place: folder with ``train.zip`` and ``test.zip``.
        count: number of training photos, 0 for all; rounded to whole classes.
        tested: number of test photos.
    """
    rest, watched = _divided(_only(Path(place, TRAIN)), WATCHED, ("train", "selection"))
    held_out = _only(Path(place, TEST))
    train = _divided(rest, count / len(rest), ("rest", "train"))[1] if count else rest
    if tested < len(held_out):
        _, held_out = _divided(held_out, tested / len(held_out), ("rest", "test"))
    return Splits(train, watched, held_out)


def _only(archive: Path) -> Split:
    """Return the one split of an archive."""
    (split,) = open_dataset(archive).splits.values()
    return split


def _divided(split: Split, share: float, names: tuple[str, str]) -> tuple[Split, Split]:
    """Divide a split in two, by the names of its photos."""
    if share >= 1:
        return split.with_photos((), names[0]), split.with_photos(split.photos, names[1])
    return stratified_split(split, share, 0, names, {})
