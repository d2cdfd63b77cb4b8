"""Verb ``train``: train a classifier on a folder of photos."""

import argparse
import shlex

from mobilenetv2.cli.main import INTERRUPTED, json_line
from mobilenetv2.cli.parser import DATA_HELP, MODEL_HELP, Parser
from mobilenetv2.errors import Stopped
from mobilenetv2.process import prepare_process
from mobilenetv2.progress import say
from mobilenetv2.text import visible

EXAMPLES = """\
  mobilenetv2 train digits
  mobilenetv2 train photos/ --weights imagenet --output runs/photos
  mobilenetv2 train photos/ --weights imagenet --recipe head-only --output runs/quick
  mobilenetv2 train text/ --weights imagenet --set augmentation.flip=false --output runs/text
  mobilenetv2 train photos/ --set classifier.outputs=sigmoid --output runs/sigmoid
  mobilenetv2 train photos/ --set 'classifier.hidden=[100]' --output runs/hidden
  mobilenetv2 train photos/ --output runs/photos --resume
  torchrun --nproc-per-node 2 -m mobilenetv2 train photos/ --output runs/photos
  mobilenetv2 train photos/ --output runs/photos --on ray --workers 2
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_shared(
        "data",
        help=f"{DATA_HELP}. A part of train/ becomes the validation split, which selects the "
        "checkpoint; validation/ (else test/, else a part of all photos) becomes the test split, "
        "used once, for the final figures",
    )
    parser.add_argument(
        "--output", metavar="RUN",
        help="run folder to create (default: runs/NAME with the name of DATA, and a number if it "
        "exists)",
    )  # fmt: skip
    parser.add_argument(
        "--weights", metavar="MODEL|none", default="default",
        help=f"initial weights: {MODEL_HELP}. 'none' trains from scratch (default: published "
        "ImageNet weights; for digits, none)",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", metavar="NAME|FILE",
        help="recipe: finetune, head-only, later-blocks, distill, scratch, scratch-small, digits, "
        "imagenet-paper, imagenet-modern, or a TOML file (default: with weights, finetune adapted "
        "to the number of photos; else scratch)",
    )  # fmt: skip
    parser.add_argument(
        "--edition", choices=("torch", "keras", "jax"),
        help="framework for the training (default: torch); KERAS_BACKEND sets Keras's backend",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="set a key of the recipe, such as optimizer.learning_rate=0.001 (docs/recipe.md "
        "lists all)",
    )  # fmt: skip
    long = parser.add_mutually_exclusive_group()
    long.add_argument("--epochs", type=int, help="number of epochs, as with --set epochs=N")
    long.add_argument(
        "--minutes", type=float, metavar="N",
        help="train for about N minutes: the number of epochs is computed from a short speed test "
        "and written to recipe.toml",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="random seed, as with --set seed=N")
    parser.add_flag("--find-rate",
        "choose the learning rate by a short learning-rate range test; its figure is saved in RUN",
    )  # fmt: skip
    parser.add_shared("--device", "--ignore", "--zip-encoding")
    parser.add_flag("--deterministic",
        "compute in one thread, so that the number of cores does not change a bit of the result; "
        "with torch on the CPU",
    )  # fmt: skip
    parser.add_argument(
        "--on", metavar="ray[://HOST:PORT]",
        help="train by Ray: on this machine, or on the cluster with this address, all of whose "
        "machines reach DATA and RUN",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, metavar="N",
        help="number of Ray's processes, which train one network together (default: 1)",
    )  # fmt: skip
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue an interrupted run")
    again.add_argument("--overwrite", action="store_true", help="replace an existing run")
    parser.add_flag("--private",
        "omit photos, file names and paths from report.html, summary.md and the figures, so that "
        "they can be shared (split.csv, start.json, recipe.toml and checkpoint.safetensors still "
        "contain file names or paths)",
    )  # fmt: skip
    parser.add_shared("--json")


def run(arguments: argparse.Namespace) -> int:
    """Train; return 0, or 130 after Ctrl-C."""
    prepare_process()
    from mobilenetv2.training.run import train

    try:
        run = train(
            arguments.data, arguments.output, weights=arguments.weights, recipe=arguments.recipe,
            changes=arguments.set, epochs=arguments.epochs, minutes=arguments.minutes,
            seed=arguments.seed, find_rate=arguments.find_rate, edition=arguments.edition,
            device=arguments.device, resume=arguments.resume, overwrite=arguments.overwrite,
            private=arguments.private, ignore=arguments.ignore,
            zip_encoding=arguments.zip_encoding, deterministic=arguments.deterministic,
            on=arguments.on, workers=arguments.workers,
        )  # fmt: skip
    except Stopped as stopped:
        if getattr(stopped, "told", False):
            return INTERRUPTED
        device = [] if arguments.device == "cpu" else ["--device", arguments.device]
        by = ["--on", arguments.on] if arguments.on else []
        by += ["--workers", str(arguments.workers)] if arguments.workers else []
        again = ["train", arguments.data, "--output", stopped.folder, *device, *by, "--resume"]
        say(f"stopped; continue with: {shlex.join(['mobilenetv2', *again])}")
        return INTERRUPTED
    if not run.group.writes:
        return 0
    if arguments.json:
        print(json_line(run.to_dict()))
    else:
        shown = (line for line in run.summary.splitlines() if not line.startswith("!["))
        print(visible("\n".join(shown).strip()))
        for fact in ("", f"model folder: {run.best}", f"report: {run.report}"):
            say(fact)
    return 0
