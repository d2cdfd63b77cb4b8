"""Verbs, options and examples. Imports only the standard library, so that --help is quick."""

import argparse

from mobilenetv2.cli.options import (
    DATA_HELP,
    MODEL_HELP,
    RUN_HELP,
    Parser,
    Verbs,
    add_device,
    add_json,
    add_runtime,
    make_verb,
    size,
)
from mobilenetv2.cli.parser_deployment import add_deployment
from mobilenetv2.cli.parser_weights import add_weights
from mobilenetv2.version import __version__

EXAMPLES = """\
examples:
  mobilenetv2 train digits --output runs/digits          try it: built-in data, a minute or two
  mobilenetv2 weights import model.tflite imagenet       published weights become a model folder
  mobilenetv2 audit photos/                              leaks, copies, damage: before training
  mobilenetv2 train photos/ --weights imagenet --output runs/photos
  mobilenetv2 evaluate photos/ --model runs/photos/best
  mobilenetv2 predict new.jpg --model runs/photos/best
  mobilenetv2 explain new.jpg --model runs/photos/best   where on the photo the evidence lies
  mobilenetv2 export runs/photos/best photos.onnx        for other runtimes, verified
  mobilenetv2 quantize runs/photos/best int8/ --data photos/ --format onnx,litert
  mobilenetv2 parity runs/photos/best                    the same in every framework?
"""


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(
        prog="mobilenetv2",
        description="MobileNetV2 on your own photos: train, evaluate, predict, convert weights.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"mobilenetv2 {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _describe(verbs)
    _audit(verbs)
    _train(verbs)
    _evaluate(verbs)
    _predict(verbs)
    _explain(verbs)
    add_weights(verbs)
    add_deployment(verbs)
    _parity(verbs)
    return parser


def _describe(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "describe", "show a network layer by layer, and what it costs",
        "  mobilenetv2 describe --width 0.5 --size 160 --classes 10\n"
        "  mobilenetv2 describe --spec tonylins\n"
        "  mobilenetv2 describe --spec runs/photos/best --json\n",
    )  # fmt: skip
    verb.add_argument("--width", type=float, help="width multiplier (default: 1.0)")
    verb.add_argument("--size", type=size, help="input size: 224, or 192x256 (height x width)")
    verb.add_argument("--classes", type=int, help="outputs of the classifier (default: 1000)")
    verb.add_argument(
        "--spec", metavar="NAME|FILE", default="torchvision",
        help="a published network by name, a model folder, or a JSON file (default: torchvision)",
    )  # fmt: skip
    add_json(verb)


def _audit(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "audit", "find what is wrong with a folder of photos: copies, leaks, wrong labels",
        "  mobilenetv2 audit photos/\n"
        "  mobilenetv2 audit photos.zip --output audit\n"
        "  mobilenetv2 audit photos/ --model runs/photos/best --output audit\n",
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
        "weights, fitted to the photos and the machine; else scratch)",
    )  # fmt: skip
    verb.add_argument(
        "--edition",
        choices=("torch", "keras", "jax"),
        help="the framework that trains (default: torch); KERAS_BACKEND chooses Keras's",
    )
    verb.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe's key"
    )
    verb.add_argument("--epochs", type=int, help="the same as --set epochs=N")
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
    verb.add_argument("--model", required=True, metavar="MODEL", help=RUN_HELP)
    verb.add_argument(
        "--split", metavar="NAME",
        help="train, validation or test (default: test, else validation, else all)",
    )  # fmt: skip
    verb.add_argument(
        "--report", metavar="DIR", help="write the figures as JSON and pictures into a folder"
    )
    add_runtime(verb)
    add_device(verb)
    add_json(verb)


def _predict(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "predict", "name what is on photos",
        "  mobilenetv2 predict cat.jpg --model imagenet\n"
        "  mobilenetv2 predict holiday/ --model runs/photos/best --top 3 --csv holiday.csv\n"
        "  mobilenetv2 predict *.jpg --model runs/photos/best --json\n",
    )  # fmt: skip
    verb.add_argument(
        "images", nargs="+", metavar="IMAGE|FOLDER", help="photos, or folders of photos"
    )
    verb.add_argument("--model", required=True, metavar="MODEL", help=RUN_HELP)
    verb.add_argument("--top", type=int, default=5, metavar="N", help="answers (default: 5)")
    verb.add_argument(
        "--features", action="store_true", help="give the pooled features instead of classes"
    )
    add_runtime(verb)
    add_device(verb)
    out = verb.add_mutually_exclusive_group()
    out.add_argument("--json", action="store_true", help="print one JSON object a line")
    out.add_argument("--csv", metavar="FILE", help="write a table")


def _explain(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "explain", "draw where on photos the evidence for each answer lies (Grad-CAM)",
        "  mobilenetv2 explain cat.jpg --model imagenet\n"
        "  mobilenetv2 explain holiday/ --model runs/photos/best --output holiday-explained\n"
        "  mobilenetv2 explain cat.jpg --model imagenet --class lynx --output lynx.png\n",
    )  # fmt: skip
    verb.add_argument(
        "images", nargs="+", metavar="IMAGE|FOLDER", help="photos, or folders of photos"
    )
    verb.add_argument("--model", required=True, metavar="MODEL", help=RUN_HELP)
    which = verb.add_mutually_exclusive_group()
    which.add_argument("--top", type=int, default=3, metavar="N", help="answers (default: 3)")
    which.add_argument(
        "--class", dest="classes", action="append", default=[], metavar="NAME|INDEX",
        help="explain this class, whatever the answer is; may be given several times",
    )  # fmt: skip
    verb.add_argument(
        "--output", metavar="FILE|DIR",
        help="a .png file, or a folder for several (default: NAME-explained.png in this folder)",
    )  # fmt: skip
    verb.add_argument("--overwrite", action="store_true", help="replace pictures that are there")
    add_runtime(verb)
    add_json(verb)


def _parity(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "parity", "prove that every framework's edition computes the same, layer by layer",
        "  mobilenetv2 parity runs/photos/best\n"
        "  mobilenetv2 parity imagenet --editions torch,keras:jax --size 225x193\n"
        "  mobilenetv2 parity imagenet --photos holiday/ --json\n",
    )  # fmt: skip
    verb.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    verb.add_argument(
        "--editions", metavar="NAMES",
        help="of torch, keras, jax, numpy; keras:tensorflow, keras:jax and keras:torch choose its "
        "backend (default: those that are installed)",
    )  # fmt: skip
    verb.add_argument("--size", type=size, help="input size, if not the model's own")
    verb.add_argument(
        "--photos", nargs="+", default=[], metavar="IMAGE|FOLDER",
        help="compare on these (default: two pictures of noise)",
    )  # fmt: skip
    verb.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="X",
        help="largest difference as a share of max(1, the reference's largest value) "
        "(default: 1e-4)",
    )  # fmt: skip
    add_json(verb)
