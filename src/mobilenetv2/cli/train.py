"""``mobilenetv2 train``: a folder of photos becomes a classifier."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenetv2.cli.main import INTERRUPTED
from mobilenetv2.cli.parser import DATA_HELP, MODEL_HELP, Parser
from mobilenetv2.errors import RecipeError, RunError, WeightsError
from mobilenetv2.hub.catalogue import DEFAULT
from mobilenetv2.process import prepare_process
from mobilenetv2.progress import say

if TYPE_CHECKING:
    from mobilenetv2.training.recipe import Recipe

CHANGING = ("weights", "recipe", "set", "epochs", "minutes", "seed", "find_rate", "edition")
"""Options that would make another run of it."""
EXAMPLES = """\
  mobilenetv2 train digits --output runs/digits
  mobilenetv2 train photos/ --weights imagenet --output runs/photos
  mobilenetv2 train photos/ --weights imagenet --recipe head-only --output runs/quick
  mobilenetv2 train text/ --weights imagenet --set augmentation.flip=false --output runs/text
  mobilenetv2 train photos/ --set classifier.outputs=sigmoid --output runs/sigmoid
  mobilenetv2 train photos/ --set 'classifier.hidden=[100]' --output runs/hidden
  mobilenetv2 train photos/ --output runs/photos --resume
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared(
        "data",
        help=f"{DATA_HELP}. A part of train/ is the validation split, which selects the best "
        "epoch; validation/ (else test/, else a part of all) gives the final figures, once",
    )
    parser.add_argument("--output", required=True, metavar="RUN", help="the run folder, made new")
    parser.add_argument(
        "--weights", metavar="MODEL|none",
        help=f"{MODEL_HELP}; 'none' trains from scratch (digits: the default)",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", metavar="NAME|FILE",
        help="finetune, head-only, later-blocks, distill, scratch, scratch-small, digits, "
        "imagenet-paper, imagenet-modern, or a TOML file (default: finetune where there are "
        "weights, fitted to the photos; else scratch)",
    )  # fmt: skip
    parser.add_argument(
        "--edition", choices=("torch", "keras", "jax"),
        help="the framework that trains (default: torch); KERAS_BACKEND chooses Keras's",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="change a key of the recipe, such as optimizer.learning_rate=0.001 (docs/recipe.md "
        "lists all)",
    )  # fmt: skip
    long = parser.add_mutually_exclusive_group()
    long.add_argument("--epochs", type=int, help="the same as --set epochs=N")
    long.add_argument(
        "--minutes", type=float, metavar="N",
        help="as many epochs as fit into about N minutes at the speed measured here; recipe.toml "
        "says how many these are",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="the same as --set seed=N")
    parser.add_flag("--find-rate",
        "take the learning rate from a short trial; its picture goes into RUN",
    )  # fmt: skip
    parser.add_shared("--device")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    again.add_argument("--overwrite", action="store_true", help="replace an existing run")
    parser.add_shared("--json")


def run(arguments: argparse.Namespace) -> int:
    """Train; 0, or 130 after Ctrl-C."""
    prepare_process()
    from mobilenetv2.training.loop import Stopped
    from mobilenetv2.training.run import Job, train
    from mobilenetv2.training.steps import find_steps

    output = Path(arguments.output)
    if arguments.resume:
        weights, recipe, edition = resumed(arguments)
    else:
        edition = arguments.edition or "torch"
        find_steps(edition)  # before weights are fetched for a framework that is not there
        weights, recipe = chosen(arguments)
    job = Job(
        data=arguments.data, output=output, weights=weights, recipe=recipe, edition=edition,
        device=arguments.device, resume=arguments.resume, overwrite=arguments.overwrite,
        # The data may choose only where nobody named a recipe.
        kept=kept(arguments) if arguments.recipe is None and weights is not None else None,
        find_rate=arguments.find_rate, minutes=arguments.minutes,
    )  # fmt: skip
    try:
        run = train(job)
    except Stopped:
        device = [] if arguments.device == "cpu" else ["--device", arguments.device]
        again = ["train", arguments.data, "--output", arguments.output, *device, "--resume"]
        say(f"stopped; go on with: {shlex.join(['mobilenetv2', *again])}")
        return INTERRUPTED
    if arguments.json:
        print(json.dumps(run.to_dict()))
    else:
        text = run.folder.summary.read_text("utf-8")
        print("\n".join(line for line in text.splitlines() if not line.startswith("![")).strip())
        print(f"\nthe model: {run.best}", file=sys.stderr)
    return 0


def kept(arguments: argparse.Namespace) -> frozenset[str]:
    """Return the recipe's keys that the options set."""
    from mobilenetv2.training.recipe_file import keys_of

    keys = keys_of(arguments.set)
    if arguments.epochs is not None or arguments.minutes is not None:
        keys |= {"epochs"}
    return frozenset(keys | ({"optimizer.learning_rate"} if arguments.find_rate else set()))


def resumed(arguments: argparse.Namespace) -> tuple[Path | None, Recipe, str]:
    """Return the weights, the recipe and the edition that an interrupted run was begun with."""
    from mobilenetv2.training.folder import open_run
    from mobilenetv2.training.recipe_file import read_recipe

    folder = open_run(Path(arguments.output), resume=True)
    values = {name: getattr(arguments, name) for name in CHANGING}
    given = [name for name, v in values.items() if v not in (None, []) and v is not False]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise RunError(
            f"--resume goes on with the run's own recipe, weights and edition; leave out {options}"
        )
    weights, edition = folder.read_start()
    return weights, read_recipe(str(folder.recipe)), edition


def chosen(arguments: argparse.Namespace) -> tuple[Path | None, Recipe]:
    """Return the weights (None: from scratch) and the recipe that the options ask for."""
    from mobilenetv2.training.recipe_file import keys_of, read_recipe

    if arguments.weights == "none" or (arguments.weights is None and arguments.data == "digits"):
        weights = None
    else:
        weights = starting(arguments.weights)
    scratch = "digits" if arguments.data == "digits" else "scratch"
    changes = list(arguments.set)
    for option, asked, key in (
        ("--find-rate", arguments.find_rate, "optimizer.learning_rate"),
        ("--minutes", arguments.minutes is not None, "epochs"),
    ):
        if asked and key in keys_of(arguments.set):
            raise RecipeError(f"{option} chooses the {key} that --set gives; leave one out")
    changes += [f"epochs={arguments.epochs}"] if arguments.epochs is not None else []
    changes += [f"seed={arguments.seed}"] if arguments.seed is not None else []
    recipe = read_recipe(arguments.recipe or ("finetune" if weights else scratch), changes)
    if recipe.trained == "head" and (arguments.epochs, arguments.minutes) != (None, None):
        option = "--minutes" if arguments.epochs is None else "--epochs"
        raise RecipeError(
            f"{option} counts passes over the photos, and trained = 'head' takes none; leave it "
            "out, or add --set trained=all"
        )
    return weights, recipe


def starting(weights: str | None) -> Path:
    """Return the model folder to begin with; without one, the published default is fetched."""
    from mobilenetv2.hub.models import locate

    if weights is not None:
        return locate(weights)
    say(f"starting from {DEFAULT}, published ImageNet weights; --weights takes others")
    try:
        return locate(DEFAULT)
    except WeightsError as error:
        raise WeightsError(
            f"no --weights given, and the default cannot be had: {error}; turn a published file "
            "into a model folder with 'mobilenetv2 weights import FILE imagenet' and give "
            "--weights imagenet, or train from scratch with --weights none"
        ) from None
