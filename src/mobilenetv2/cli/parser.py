"""The command line: its verbs, and the options that several of them have.

Each verb's module, ``mobilenetv2.cli.VERB``, has three names: ``EXAMPLES``, ``add_options(parser)``
and ``run(arguments)``. It is imported once its verb is given, and imports the standard library
alone until it runs, so that every ``--help`` is quick.
"""

import argparse
import importlib
from collections.abc import Callable, Collection
from typing import Any

from mobilenetv2 import __version__
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.formats import ALIASES, ENGINES, GRAPHS, INT8

EXAMPLES = """\
examples, which need no files of yours:
  mobilenetv2 train digits --output runs/digits          built-in photos: a minute or two
  mobilenetv2 evaluate digits --model runs/digits/best   on 360 photos that it never saw
  mobilenetv2 describe                                   the network, layer by layer
examples with your photos, in photos/CLASS/, and a new one, new.jpg:
  mobilenetv2 predict new.jpg                            a small model comes with it: ten classes
  mobilenetv2 audit photos/                              leaks, copies, damage: before training
  mobilenetv2 train photos/ --output runs/photos         from published weights, fetched once
  mobilenetv2 evaluate photos/ --model runs/photos/best
  mobilenetv2 predict new.jpg --model runs/photos/best
  mobilenetv2 explain new.jpg --model runs/photos/best   where on the photo the evidence lies
  mobilenetv2 export runs/photos/best photos.onnx        for other runtimes, verified
  mobilenetv2 quantize runs/photos/best int8/ --data photos/ --format onnx,litert
  mobilenetv2 parity runs/photos/best                    the same in every framework?
"""
VERBS = {
    "describe": "show a network layer by layer, and what it costs",
    "audit": "find what is wrong with a folder of photos: copies, leaks, wrong labels",
    "train": "train a classifier on a folder of photos",
    "evaluate": "measure a model on labelled photos",
    "predict": "name what is on photos",
    "explain": "draw where on photos the evidence for each answer lies (Grad-CAM)",
    "weights": "import published weights, and export weights for other libraries",
    "export": "write a model as a file to run: ONNX, LiteRT, Core ML ..., verified",
    "quantize": "make a model int8, measured against its float self on held-out photos",
    "benchmark": "compare runtimes and precisions: speed, accuracy, size, memory",
    "parity": "prove that every framework's edition computes the same, layer by layer",
}
"""Verb -> its line in the help."""

DATA_HELP = (
    "a folder with train/, validation/ (or val/) and test/, each with a folder of photos for every "
    "class; or a folder of class folders; a .zip or .tar of either, or a folder with one for "
    "each split; or 'digits', built in"
)
MODEL_HELP = (
    "a model folder, such as RUN/best, or a name such as mobilenetv2_100 (torchvision's, timm's, "
    "Keras', or of 'weights list'), hf://OWNER/NAME or 'embedded'"
)
RUN_HELP = f"{MODEL_HELP}, or an exported file"
DIALECTS = (
    "torchvision", "timm", "keras", "tf-slim", "huggingface", "tonylins", "d-li14", "article",
    *GRAPHS,
)  # fmt: skip
"""Names of ``checkpoints.dialects.registry``, which would have to be imported for them."""


SHARED: dict[str, dict[str, Any]] = {
    "data": {"metavar": "DATA", "help": DATA_HELP},
    "images": {"nargs": "+", "metavar": "IMAGE|FOLDER", "help": "photos, or folders of photos"},
    "model": {"metavar": "MODEL", "help": MODEL_HELP},
    "out": {
        "metavar": "OUT",
        "help": "a file, whose ending says the format, or a folder for several",
    },
    "--model": {
        "metavar": "MODEL",
        "help": f"{RUN_HELP} (default: the embedded model of CIFAR-10's ten classes)",
    },
    "--split": {"metavar": "NAME", "help": "of DATA: what is measured on"},
    "--photos": {"nargs": "+", "default": [], "metavar": "IMAGE|FOLDER"},
    "--overwrite": {"action": "store_true", "help": "replace existing files"},
    "--runtime": {
        "choices": (*ENGINES, "torch"),
        "metavar": "NAME",
        "help": f"what computes: {', '.join(ENGINES)} or torch (default: onnxruntime, or what runs "
        "such an exported file; torch for another --device than the cpu)",
    },
    "--threads": {"type": int, "metavar": "N", "help": "of the runtime (default: its own)"},
    "--flips": {
        "action": "store_true",
        "help": "answer each photo and its mirror image, and take the mean: surer, twice the time",
    },
    "--device": {"default": "cpu", "help": "cpu, cuda, cuda:1, mps (default: cpu)"},
    "--json": {"action": "store_true", "help": "print the result as JSON on stdout"},
}
"""Options that several verbs have -> what argparse is told of them."""


class Parser(argparse.ArgumentParser):
    """argparse with errors like ours: one sentence, then exit status 2.

    Args:
        fill: adds options and examples as soon as they are needed.
    """

    def __init__(
        self, *words: Any, fill: "Callable[[Parser], None] | None" = None, **options: Any
    ) -> None:
        options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        super().__init__(*words, **options)
        self._fill = fill

    def fill(self) -> None:
        """Add the options, if that is not done."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does."""
        self.fill()
        return super().parse_known_args(args, namespace)

    def add_shared(self, *names: str, **changes: Any) -> None:
        """Add options of :data:`SHARED`, with changes such as another help."""
        for name in names:
            self.add_argument(name, **SHARED[name] | changes)

    def add_flag(self, name: str, help_: str) -> None:
        """Add an option without a value."""
        self.add_argument(name, action="store_true", help=help_)

    def error(self, message: str) -> None:  # type: ignore[override]
        """Exit with one sentence, and where to read on."""
        self.exit(2, f"mobilenetv2: error: {message}; see '{self.prog} --help'\n")


Verbs = Any
"""Type of what ``add_subparsers`` returns; argparse has no public name for it."""


def make_parser() -> Parser:
    """Return the whole command line; a verb's options are added when it is parsed."""
    parser = Parser(
        prog="mobilenetv2",
        description="MobileNetV2 on your own photos: train, evaluate, predict, convert weights.",
        epilog=EXAMPLES,
    )
    parser.add_argument("-V", "--version", action="version", version=f"mobilenetv2 {__version__}")
    parser.add_argument(
        "--completion", choices=("bash", "zsh"), action=_PrintScript,
        help="print a script that completes this command with Tab; in ~/.bashrc or ~/.zshrc: "
        'eval "$(mobilenetv2 --completion bash)"',
    )  # fmt: skip
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, help_ in VERBS.items():
        add_page(verbs, name, help_, _fill_verb)
    return parser


class _PrintScript(argparse.Action):
    """An option that prints the script for a shell, and ends."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        print(importlib.import_module("mobilenetv2.cli.completion").script(values))
        parser.exit()


def _fill_verb(parser: Parser) -> None:
    module = importlib.import_module(f"mobilenetv2.cli.{parser.prog.rpartition(' ')[2]}")
    add_examples(parser, module.EXAMPLES)
    module.add_options(parser)


def add_page(verbs: Verbs, name: str, help_: str, fill: Callable[[Parser], None]) -> None:
    """Add a verb, or an action of one, whose page begins with its help."""
    verbs.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.", fill=fill)


def add_examples(parser: Parser, examples: str) -> None:
    """End the page with examples, a command a line."""
    parser.epilog = f"examples:\n{examples}"


def require_positive(option: str, value: int | None) -> None:
    """Raise MobileNetV2Error unless a number that was given is at least 1."""
    if value is not None and value < 1:
        raise MobileNetV2Error(f"{option} {value} must be at least 1")


def size(text: str) -> tuple[int, int]:
    """Return '224' or '192x256' as (height, width)."""
    height, times, width = text.lower().partition("x")
    try:
        return int(height), int(width if times else height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 224 or 192x256") from None


def names(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return a parser of 'A,B' and of 'all'."""

    def parse(text: str) -> list[str]:
        words = list(known) if text == "all" else [word.strip() for word in text.split(",")]
        found = [ALIASES.get(word, word) for word in words]
        for name in found:
            if name == INT8 and name not in known:
                raise argparse.ArgumentTypeError("int8 is made by 'mobilenetv2 quantize'")
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"{name!r} is unknown; choose from {', '.join(known)}"
                )
        return list(dict.fromkeys(found))

    parse.known = (*known, "all")  # type: ignore[attr-defined]  # for the completion
    return parse
