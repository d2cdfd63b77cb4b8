"""The verbs of labelled photos: audit, train, evaluate. Standard library only."""

from mobilenetv2.cli.options import (
    DATA_HELP,
    MODEL_HELP,
    RUN_HELP,
    Verbs,
    add_device,
    add_flips,
    add_json,
    add_model,
    add_runtime,
    make_verb,
)


def add_training(verbs: Verbs) -> None:
    """Add them."""
    _audit(verbs)
    _train(verbs)
    _evaluate(verbs)


def _audit(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "audit", "find what is wrong with a folder of photos: copies, leaks, wrong labels",
        "  mobilenetv2 audit photos/\n"
        "  mobilenetv2 audit photos.zip --output audit\n"
        "  mobilenetv2 audit photos/ --model runs/photos/best --output audit\n"
        "\nThe exit status is 0 whatever is found; --json has a level for each finding.\n",
    )  # fmt: skip
    verb.add_argument("data", metavar="DATA", help=DATA_HELP)
    verb.add_argument(
        "--model", metavar="MODEL", help=f"also find the labels that a model doubts: {RUN_HELP}"
    )
    verb.add_argument(
        "--output", metavar="DIR",
        help="write audit.html, a page with thumbnails, and audit.json; an older audit is replaced",
    )  # fmt: skip
    add_runtime(verb)
    add_flips(verb)
    add_device(verb)
    add_json(verb)


def _train(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "train", "train a classifier on a folder of photos",
        "  mobilenetv2 train digits --output runs/digits\n"
        "  mobilenetv2 train photos/ --weights imagenet --output runs/photos\n"
        "  mobilenetv2 train photos/ --weights imagenet --recipe head-only --output runs/quick\n"
        "  mobilenetv2 train text/ --weights imagenet --set augmentation.flip=false"
        " --output runs/text\n"
        "  mobilenetv2 train photos/ --output runs/photos --resume\n",
    )  # fmt: skip
    verb.add_argument("data", metavar="DATA", help=DATA_HELP)
    verb.add_argument("--output", required=True, metavar="RUN", help="the run folder, made new")
    verb.add_argument(
        "--weights", metavar="MODEL|none",
        help=f"{MODEL_HELP}; 'none' trains from scratch (digits: the default)",
    )  # fmt: skip
    verb.add_argument(
        "--recipe", metavar="NAME|FILE",
        help="finetune, head-only, later-blocks, distill, scratch, scratch-small, digits, "
        "imagenet-paper, imagenet-modern, or a TOML file (default: finetune where there are "
        "weights, fitted to the photos; else scratch)",
    )  # fmt: skip
    verb.add_argument(
        "--edition",
        choices=("torch", "keras", "jax"),
        help="the framework that trains (default: torch); KERAS_BACKEND chooses Keras's",
    )
    verb.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe's key"
    )
    long = verb.add_mutually_exclusive_group()
    long.add_argument("--epochs", type=int, help="the same as --set epochs=N")
    long.add_argument(
        "--minutes", type=float, metavar="N",
        help="as many epochs as fit into about N minutes at the speed measured here; recipe.toml "
        "says how many these are",
    )  # fmt: skip
    verb.add_argument("--seed", type=int, help="the same as --set seed=N")
    verb.add_argument(
        "--find-rate", action="store_true",
        help="take the learning rate from a short trial; its picture goes into RUN",
    )  # fmt: skip
    add_device(verb)
    again = verb.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    again.add_argument("--overwrite", action="store_true", help="replace an existing run")
    add_json(verb)


def _evaluate(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "evaluate", "measure a model on labelled photos",
        "  mobilenetv2 evaluate photos/ --model runs/photos/best\n"
        "  mobilenetv2 evaluate photos/ --model runs/photos/best --split validation --report out\n",
    )  # fmt: skip
    verb.add_argument("data", metavar="DATA", help=DATA_HELP)
    add_model(verb)
    verb.add_argument(
        "--split", metavar="NAME",
        help="train, validation or test, or selection of the photos that a run divided (default: "
        "test, else validation, else all)",
    )  # fmt: skip
    verb.add_argument(
        "--report",
        metavar="DIR",
        help="write report.html (all on one page), figures as JSON and pictures into a folder",
    )
    add_runtime(verb)
    add_flips(verb)
    add_device(verb)
    add_json(verb)
