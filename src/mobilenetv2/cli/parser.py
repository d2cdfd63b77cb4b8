"""Verbs of the command line, and the options that several verbs share.

Each verb's module, ``mobilenetv2.cli.VERB``, has three names: ``EXAMPLES``, ``add_options(parser)``
and ``run(arguments)``. It is imported when its verb is given, and imports the standard library only
until it runs, so that every ``--help`` is fast.
"""

import argparse
import importlib
import re
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from os.path import exists  # unlike Path.exists, it takes a name of any length
from typing import Any, NoReturn

from mobilenetv2 import __version__
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.formats import ALIASES, ENGINES, GRAPH_ENDINGS, GRAPHS, INT8
from mobilenetv2.text import line, nearest

EXAMPLES = """\
examples with built-in data:
  mobilenetv2 train digits --output runs/digits          train a model in one to two minutes
  mobilenetv2 evaluate digits --model runs/digits/best   evaluate it on the test split (360 photos)
  mobilenetv2 describe                                   show the layers of the network
examples with your photos in photos/CLASS/, and a new photo new.jpg:
  mobilenetv2 predict new.jpg                            predict with the embedded model (CIFAR-10)
  mobilenetv2 audit photos/                              find leaks, copies and damaged photos
  mobilenetv2 train photos/ --output runs/photos         train from published weights
  mobilenetv2 evaluate photos/ --model runs/photos/best
  mobilenetv2 predict new.jpg --model runs/photos/best
  mobilenetv2 explain new.jpg --model runs/photos/best   draw a Grad-CAM heat map
  mobilenetv2 export runs/photos/best photos.onnx        write a verified file for other runtimes
  mobilenetv2 quantize runs/photos/best int8/ --data photos/ --format onnx
  mobilenetv2 parity runs/photos/best                    compare the frameworks' results
"""
VERBS = {
    "describe": "show the layers, parameters, multiply-adds and memory of a network",
    "data": "show what a place of photos holds, and copy it into shards for large-scale work",
    "audit": "find problems in a folder of photos: copies, leaks, wrong labels",
    "train": "train a classifier on a folder of photos",
    "evaluate": "measure the accuracy of a model on labelled photos",
    "predict": "predict the classes of photos",
    "explain": "draw heat maps of the evidence for the predicted classes (Grad-CAM)",
    "weights": "import published weights, and export weights for other libraries",
    "export": "export a model to ONNX, LiteRT, Core ML and other formats, and verify the file",
    "quantize": "quantize a model to int8, and compare its accuracy with the float model",
    "benchmark": "compare runtimes and precisions: speed, accuracy, size, memory",
    "parity": "compare the outputs of every layer between PyTorch, Keras, JAX and NumPy",
    "serve": "answer photos over HTTP",
    "study": "run an experiment on a claim of the paper, with intervals and verdicts",
}
"""Verbs, each with its line of the help."""

DATA_HELP = (
    "a folder with train/, validation/ (or val/) and test/, each with a folder of photos for every "
    "class; a folder of class folders; a .zip, .tar, .tar.gz, .tar.xz or .tar.zst of either; a "
    "folder with an archive for each split; a table of photos and labels (.csv, .jsonl, .parquet); "
    "a folder of shards from 'data shard'; an address of shards, an archive or a table (s3://, "
    "gs://, hf://, https:// ...); or 'digits' (built-in data)"
)
MODEL_HELP = (
    "a model folder, such as RUN/best; a name of torchvision, timm or Keras, such as "
    "mobilenetv2_100; a name from 'weights list'; hf://OWNER/NAME; or 'embedded'"
)
RUN_HELP = f"an exported file; {MODEL_HELP}"
DIALECTS = (
    "torchvision", "timm", "keras", "tf-slim", "huggingface", "tonylins", "d-li14", "article",
    *GRAPHS, "tfjs",
)  # fmt: skip
"""Dialects of ``checkpoints.dialects.registry``, repeated here because its import is slow."""


MOST_PARTS = 8
"""Largest number of words in which a path is looked for."""


SHARED: dict[str, dict[str, Any]] = {
    "data": {"metavar": "DATA", "help": DATA_HELP},
    "images": {
        "nargs": "+",
        "metavar": "IMAGE|FOLDER",
        "help": "photos, folders of photos, or lists of photos: @list.txt with a path on each "
        "line, @- for standard input, or a table (.csv)",
    },
    "model": {"metavar": "MODEL", "help": MODEL_HELP},
    "out": {
        "metavar": "OUT",
        "help": "a file, whose ending sets the format, or a folder for several files",
    },
    "--model": {
        "metavar": "MODEL",
        "help": f"{RUN_HELP} (default: the embedded model of CIFAR-10's ten classes)",
    },
    "--split": {
        "metavar": "NAME",
        "help": "split of DATA to measure on, such as validation (default: test, else validation)",
    },
    "--photos": {"nargs": "+", "default": [], "metavar": "IMAGE|FOLDER"},
    "--overwrite": {"action": "store_true", "help": "replace existing files"},
    "--runtime": {
        "choices": (*ENGINES, "torch"),
        "metavar": "NAME",
        "help": f"runtime of the computation: {', '.join(ENGINES)} or torch (default: onnxruntime; "
        "for an exported file, the runtime of its format; with --device cuda or mps, torch)",
    },
    "--fast-decode": {
        "action": "store_true",
        "help": "decode JPEG files no larger than the network needs, which is several times as "
        "fast for photos of phones (default: as the model's preprocessing says)",
    },
    "--threads": {
        "type": int,
        "metavar": "N",
        "help": "number of CPU threads (default: the runtime's own choice)",
    },
    "--labels": {
        "metavar": "FILE",
        "help": f"names of the classes of a {GRAPH_ENDINGS} file of another program (default: "
        "those in the file, or in a file beside it)",
    },
    "--preprocessing": {
        "metavar": "NAME|FILE",
        "help": "how such a file is fed: 0..1, -1..1, 0..255, imagenet, a publisher such as keras, "
        "or a JSON file (default: its metadata, or an assumption that is told)",
    },
    "--resize": {
        "choices": ("stretch", "cover", "none"),
        "help": "resize of photos for such a file (default: its metadata, or stretch)",
    },
    "--flips": {
        "action": "store_true",
        "help": "average the predictions for each photo and its mirror image (takes twice as long)",
    },
    "--device": {"default": "cpu", "help": "device: cpu, cuda, cuda:1 or mps (default: cpu)"},
    "--json": {"action": "store_true", "help": "print the result as JSON on stdout"},
    "--ignore": {
        "action": "append",
        "default": [],
        "metavar": "PATTERN",
        "help": "pass over files and folders of this name, such as 'raw*', or of this path below "
        "the data, such as 'hat/old' (may be given several times)",
    },
    "--zip-encoding": {
        "metavar": "NAME",
        "help": "encoding of the names in an archive that are not marked as UTF-8, such as gbk or "
        "shift_jis (default: UTF-8, else cp437)",
    },
}
"""Options that several verbs share, with their arguments of ``add_argument``."""


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one sentence and exit status 2.

    Args:
        words: arguments of ``argparse.ArgumentParser``.
        fill: function that adds options and examples when they are needed.
        options: keyword arguments of ``argparse.ArgumentParser``.
    """

    def __init__(
        self, *words: Any, fill: "Callable[[Parser], None] | None" = None, **options: Any
    ) -> None:
        options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        super().__init__(*words, **options)
        # '--preprocessing -1..1' has a value, as a negative number is one.
        self._negative_number_matcher = re.compile(r"-\.?\d")
        self._fill = fill
        self._words: list[str] = []

    def fill(self) -> None:
        """Add the options, once."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Add the options and parse as argparse does, but refuse unknown words at once.

        Here the parser is that of the verb, and knows which options the user may have meant.
        """
        self.fill()
        self._words = sys.argv[1:] if args is None else list(args)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            word = next((word for word in unknown if word.startswith("-")), unknown[0])
            near = nearest(word.partition("=")[0], self._option_string_actions)
            hint = f"; did you mean {near[0]}?" if near and word.startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found, unknown

    def add_shared(self, *names: str, **changes: Any) -> None:
        """Add options of :data:`SHARED`, with changed arguments such as another help."""
        for name in names:
            self.add_argument(name, **SHARED[name] | changes)

    def add_fastest(self) -> None:
        """Add ``--runtime``, which may be 'auto', and ``--precision``."""
        self.add_shared(
            "--runtime", choices=(*ENGINES, "torch", "auto"),
            help=f"runtime of the computation: {', '.join(ENGINES)}, torch, or auto for the "
            "fastest one on this machine (default: onnxruntime; for an exported file, the runtime "
            "of its format; with --device cuda or mps, torch)",
        )  # fmt: skip
        self.add_argument(
            "--precision", choices=("exact", "auto"), default="exact",
            help="exact: answers of float32; auto: of the fastest precision on this machine, with "
            "a word on how the answers differ (default: exact)",
        )  # fmt: skip

    def add_threads(self) -> None:
        """Add ``--threads`` of a verb that takes many photos."""
        self.add_shared(
            "--threads",
            help="number of threads, each of which reads photos and computes (default: one for "
            "each core)",
        )

    def add_flag(self, name: str, help_: str) -> None:
        """Add an option without a value."""
        self.add_argument(name, action="store_true", help=help_)

    def error(self, message: str) -> NoReturn:
        """Exit with one sentence that refers to the help, with the nearest word for a wrong one."""
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            near = nearest(wrong[1], re.findall(r"[\w-]+", wrong[2]))
            if near:
                message = f"{message.partition(' (choose')[0]}; did you mean {near[0]!r}?"
        hint = unquoted(self._words)
        sentence = line(f"{message}{hint}; see '{self.prog} --help'")
        self.exit(2, f"mobilenetv2: error: {sentence}\n")


def unquoted(words: Sequence[str]) -> str:
    """Return a hint if words of a command line are the parts of an existing path; else ''."""
    for start, first in enumerate(words):
        if first.startswith("-"):
            continue
        for end in range(start + 2, min(start + MOST_PARTS, len(words)) + 1):
            path = " ".join(words[start:end])
            if exists(path) and not all(map(exists, words[start:end])):  # noqa: PTH110
                return f"; a path with spaces needs quotes: {shlex.quote(path)}"
    return ""


Verbs = Any
"""Type of the result of ``add_subparsers``, which has no public name in argparse."""


def make_parser() -> Parser:
    """Return the parser of the command line; a verb's options are added when it is parsed."""
    parser = Parser(
        prog="mobilenetv2",
        description="MobileNetV2 on your own photos: train, evaluate, predict, convert weights.",
        epilog=EXAMPLES,
    )
    parser.add_argument("-V", "--version", action="version", version=f"mobilenetv2 {__version__}")
    parser.add_argument(
        "--completion", choices=("bash", "zsh"), action=_PrintScript,
        help="print a script for completion with Tab; to install it, add this line to ~/.bashrc "
        '(or ~/.zshrc, with zsh): eval "$(mobilenetv2 --completion bash)"',
    )  # fmt: skip
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, help_ in VERBS.items():
        add_page(verbs, name, help_, _fill_verb)
    return parser


class _PrintScript(argparse.Action):
    """Action that prints the script for a shell and exits."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        print(importlib.import_module("mobilenetv2.cli.completion").script(values))
        parser.exit()


def _fill_verb(parser: Parser) -> None:
    module = importlib.import_module(f"mobilenetv2.cli.{parser.prog.rpartition(' ')[2]}")
    add_examples(parser, module.EXAMPLES)
    module.add_options(parser)


def add_page(verbs: Verbs, name: str, help_: str, fill: Callable[[Parser], None]) -> None:
    """Add a verb, or an action of a verb, whose help page opens with its line of help."""
    verbs.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.", fill=fill)


def add_examples(parser: Parser, examples: str) -> None:
    """End the help page with examples, one command a line."""
    parser.epilog = f"examples:\n{examples}"


def require_positive(option: str, value: int | None) -> None:
    """Raise MobileNetV2Error if a given number is below 1."""
    if value is not None and value < 1:
        raise MobileNetV2Error(f"{option} {value} must be at least 1")


def size(text: str) -> tuple[int, int]:
    """Return (height, width) of '224' or '192x256'."""
    height, times, width = text.lower().partition("x")
    try:
        return int(height), int(width if times else height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 224 or 192x256") from None


class Names:
    """Parser of 'A,B' and 'all' to a list of names, as the type of an option.

    Args:
        known: the names that there are.
        every: those that 'all' means; None for all.
    """

    def __init__(self, known: Collection[str], every: Collection[str] | None = None) -> None:
        self.known = tuple(known)
        self.every = self.known if every is None else tuple(every)

    def __call__(self, text: str) -> list[str]:
        """Return the names in a text, each once.

        Raises:
            ArgumentTypeError: a name is unknown.
        """
        words = self.every if text == "all" else [word.strip() for word in text.split(",")]
        found = [ALIASES.get(word, word) for word in words]
        for name in found:
            if name == INT8 and name not in self.known:
                raise argparse.ArgumentTypeError("for int8, use 'mobilenetv2 quantize'")
            if name not in self.known:
                raise argparse.ArgumentTypeError(
                    f"{name!r} is unknown; choose from {', '.join(self.known)}"
                )
        return list(dict.fromkeys(found))
