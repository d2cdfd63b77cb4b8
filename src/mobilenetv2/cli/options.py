"""What the verbs' parsers share: options, errors, help texts. Standard library only."""

import argparse
from typing import TypeAlias

from mobilenetv2.formats import ENGINES, GRAPHS

Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"
"""Where verbs, or actions of one, are added."""

DATA_HELP = (
    "a folder with train/, validation/ (or val/) and test/, each with a folder of photos for every "
    "class; or a folder of class folders; a .zip or .tar of either, or a folder with one for "
    "each split; or 'digits', built in"
)
MODEL_HELP = (
    "a model folder, such as RUN/best, or a name of 'weights list', hf://OWNER/NAME or 'embedded'"
)
RUN_HELP = f"{MODEL_HELP}, or an exported file"
DIALECTS = (
    "torchvision", "timm", "keras", "tf-slim", "huggingface", "tonylins", "d-li14", "article",
    *GRAPHS,
)  # fmt: skip
"""As in ``weights.dialects.registry``, which would have to be imported for it."""


class Parser(argparse.ArgumentParser):
    """argparse with errors like ours: one sentence, then exit status 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """One sentence, and where to read on."""
        self.exit(2, f"mobilenetv2: error: {message}; see '{self.prog} --help'\n")


def make_verb(verbs: Verbs, name: str, help_: str, examples: str) -> "Parser":
    """A verb whose page begins with its help and ends with examples."""
    verb: Parser = verbs.add_parser(
        name, help=help_, description=help_[0].upper() + help_[1:] + ".",
        epilog=f"examples:\n{examples}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    return verb


def add_model(verb: argparse.ArgumentParser) -> None:
    """``--model``, which may be left out."""
    verb.add_argument(
        "--model", metavar="MODEL",
        help=f"{RUN_HELP} (default: the embedded model of CIFAR-10's ten classes)",
    )  # fmt: skip


def add_json(verb: argparse.ArgumentParser) -> None:
    """``--json``."""
    verb.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def add_device(verb: argparse.ArgumentParser) -> None:
    """``--device``."""
    verb.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (default: cpu)")


def add_runtime(verb: argparse.ArgumentParser) -> None:
    """``--runtime`` and ``--threads``."""
    verb.add_argument(
        "--runtime", choices=(*ENGINES, "torch"), metavar="NAME",
        help=f"what computes: {', '.join(ENGINES)} or torch (default: onnxruntime, or what runs "
        "such an exported file; torch for another --device than the cpu)",
    )  # fmt: skip
    verb.add_argument("--threads", type=int, metavar="N", help="of the runtime (default: its own)")


def add_flips(verb: argparse.ArgumentParser) -> None:
    """``--flips``."""
    verb.add_argument(
        "--flips", action="store_true",
        help="answer each photo and its mirror image, and take the mean: surer, twice the time",
    )  # fmt: skip


def size(text: str) -> tuple[int, int]:
    """'224' or '192x256' as (height, width)."""
    height, times, width = text.lower().partition("x")
    try:
        return int(height), int(width if times else height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 224 or 192x256") from None
