"""Verbs, options and examples. Imports only the standard library, so that --help is quick."""

import argparse

from mobilenetv2.cli.options import (
    MODEL_HELP,
    Parser,
    Verbs,
    add_device,
    add_flips,
    add_json,
    add_model,
    add_runtime,
    make_verb,
    size,
)
from mobilenetv2.cli.parser_deployment import add_deployment
from mobilenetv2.cli.parser_training import add_training
from mobilenetv2.cli.parser_weights import add_weights
from mobilenetv2.version import __version__

EXAMPLES = """\
examples:
  mobilenetv2 predict cat.jpg                            at once: a small model comes with it
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
    add_training(verbs)
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


def _predict(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "predict", "name what is on photos",
        "  mobilenetv2 predict cat.jpg\n"
        "  mobilenetv2 predict cat.jpg --model imagenet\n"
        "  mobilenetv2 predict holiday/ --model runs/photos/best --top 3 --csv holiday.csv\n"
        "  mobilenetv2 predict *.jpg --model runs/photos/best --json\n",
    )  # fmt: skip
    verb.add_argument(
        "images", nargs="+", metavar="IMAGE|FOLDER", help="photos, or folders of photos"
    )
    add_model(verb)
    verb.add_argument("--top", type=int, default=5, metavar="N", help="answers (default: 5)")
    verb.add_argument(
        "--features", action="store_true", help="give the pooled features instead of classes"
    )
    add_runtime(verb)
    add_flips(verb)
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
    add_model(verb)
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
