"""Verb ``weights``: list, fetch and import published checkpoints, and export weights."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenetv2.cli.main import json_line, table, tell
from mobilenetv2.cli.parser import DIALECTS, Parser, add_examples, add_page, size
from mobilenetv2.formats import FORMATS, GRAPHS
from mobilenetv2.progress import say

if TYPE_CHECKING:
    from mobilenetv2.hub.catalogue import Checkpoint
    from mobilenetv2.weights import Imported

EXAMPLES = """\
  mobilenetv2 weights list --dialect timm
  mobilenetv2 weights fetch timm-100
  mobilenetv2 weights import mobilenet_v2-7ebf99e0.pth imagenet
  mobilenetv2 weights export imagenet mobilenetv2.safetensors --dialect timm

For files that run in ONNX Runtime, LiteRT and so on:
  mobilenetv2 export imagenet imagenet.onnx
"""


def add_options(parser: Parser) -> None:
    """Add the verb's actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (help_, fill, _) in ACTIONS.items():
        add_page(actions, name, help_, fill)


def run(arguments: argparse.Namespace) -> int:
    """Run the action and return 0."""
    ACTIONS[arguments.action][2](arguments)
    return 0


def _add_list(parser: Parser) -> None:
    add_examples(
        parser,
        "  mobilenetv2 weights list\n"
        "  mobilenetv2 weights list --width 0.5 --sort top1\n",
    )  # fmt: skip
    parser.add_argument("--dialect", metavar="NAME", help="only this publisher, such as timm")
    parser.add_argument("--width", type=float, help="only this width multiplier")
    parser.add_argument(
        "--sort", choices=("name", "width", "size", "top1", "file_size"),
        help="column to sort by (default: by publisher)",
    )  # fmt: skip
    parser.add_shared("--json")


def list_published(arguments: argparse.Namespace) -> None:
    """Print the table of published checkpoints."""
    from mobilenetv2.hub import fetching
    from mobilenetv2.hub.catalogue import list_checkpoints

    entries = list_checkpoints(arguments.dialect, arguments.width, arguments.sort or "name")
    here = {entry.name for entry in entries if fetching.is_cached(entry)}
    if arguments.json:
        print(json_line([{**one.to_dict(), "cached": one.name in here} for one in entries]))
    else:
        show_list(entries, here)


def show_list(entries: Sequence["Checkpoint"], here: set[str]) -> None:
    """Print checkpoints as a table.

    Args:
        entries: the checkpoints.
        here: names of the cached ones.
    """
    from mobilenetv2.hub.catalogue import DEFAULT, EMBEDDED

    def known(value: Any, form: str = "") -> str:
        return "-" if value is None else format(value, form)

    def checksum(entry: "Checkpoint") -> str:
        if entry.sha256:
            return "SHA-256"
        return f"{len(entry.sha256_prefix)} digits" if entry.sha256_prefix else "unverified"

    columns = (
        "name", "width", "size", "classes", "top-1", "MB", "licence", "checksum", "cached", "",
    )  # fmt: skip
    rows = [
        (
            entry.name, f"{entry.width:g}", entry.size, known(entry.classes),
            known(entry.top1, ".2f"),
            known(None if entry.file_size is None else entry.file_size / 1e6, ".1f"),
            known(entry.licence), checksum(entry), "yes" if entry.name in here else "",
            entry.note,
        )
        for entry in entries
    ]  # fmt: skip
    table(None, columns, rows, texts=(0, 6, 7, 8, 9))
    unverified = sum(not entry.verified for entry in entries)
    print(f"{len(entries)} checkpoints; training starts from {DEFAULT}")
    print(f"{EMBEDDED} is inside the package: CIFAR-10's ten classes at 32 x 32 pixels")
    if unverified:
        print(
            f"{unverified} are unverified: no checksum is published; later downloads are compared "
            "with the first one"
        )


def _add_fetch(parser: Parser) -> None:
    add_examples(
        parser,
        "  mobilenetv2 weights fetch torchvision-v2\n"
        "  mobilenetv2 weights fetch hf://google/mobilenet_v2_1.0_224\n",
    )  # fmt: skip
    parser.add_argument(
        "name", metavar="NAME", help="a name from 'weights list', or hf://OWNER/NAME"
    )
    parser.add_shared("--json")


def fetch(arguments: argparse.Namespace) -> None:
    """Download a checkpoint, if it is not cached, and print its path."""
    from mobilenetv2.hub import fetching

    fetched = fetching.fetch(arguments.name)
    if arguments.json:
        print(json_line(fetched.to_dict()))
        return
    tell(f"{'path':8} {fetched.path}")
    print(f"{'sha-256':8} {fetched.sha256}")
    tell(f"{'checked':8} {fetched.checked}")
    if fetched.cached:
        say("found in the cache")


def _add_import(parser: Parser) -> None:
    add_examples(
        parser,
        "  mobilenetv2 weights import mobilenet_v2_1.0_224_quant.tflite imagenet\n"
        "  mobilenetv2 weights import mobilenet_v2-7ebf99e0.pth imagenet\n"
        "  mobilenetv2 weights import mobilenet_v2_1.0_224.tgz imagenet\n"
        "  mobilenetv2 weights import birds.tflite birds --labels birds.txt\n",
    )  # fmt: skip
    parser.add_argument(
        "file", metavar="FILE",
        help="a .pth, .safetensors, .h5, .keras, "
        f"{' or '.join(FORMATS[name].suffix for name in GRAPHS)} file; a TensorFlow checkpoint's "
        "prefix, folder or .tgz; or a downloaded folder of the Hugging Face hub",
    )  # fmt: skip
    parser.add_argument("out", metavar="OUT", help="model folder to create")
    parser.add_argument(
        "--dialect", choices=("auto", *DIALECTS), default="auto",
        help="naming scheme of the file's tensors (default: auto, which detects it)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", metavar="FILE", help="text file with the class names, one a line"
    )
    parser.add_argument("--width", type=float, help="width multiplier to require")
    parser.add_argument("--size", type=size, help="input size, if the file has none")
    parser.add_argument(
        "--spec", metavar="NAME|FILE",
        help="spec of a network that is not a published one: a JSON file or a model folder",
    )  # fmt: skip
    parser.add_argument(
        "--preprocessing", metavar="NAME|FILE",
        help="what the network is fed: 0..1, -1..1, 0..255 or imagenet (its mean and deviation); a "
        "publisher, such as keras or torchvision; or a JSON file, such as a config.json (default: "
        "what the file says, else the usual one; the result is printed)",
    )  # fmt: skip
    parser.add_argument(
        "--resize", choices=("stretch", "cover", "none"),
        help="resize of photos: stretched to the network's size, its central part, or none",
    )  # fmt: skip
    parser.add_flag("--bgr", "the network takes blue first, as OpenCV reads photos")
    parser.add_flag("--body", "import the body alone, with a new, untrained classifier")
    parser.add_argument(
        "--strides", metavar="NAME|NUMBERS",
        help="strides of a state dict's network, which it does not say: paper, cifar, small, or "
        "numbers for the stem and each stage, such as 1,1,2,2,2,1,2,1 (default: the paper's; "
        "cifar below 64 pixels)",
    )  # fmt: skip
    folded = parser.add_mutually_exclusive_group()
    folded.add_argument(
        "--photos", nargs="+", metavar="IMAGE|FOLDER",
        help="for files with folded BatchNorm (.tflite, most .onnx): photos to measure its "
        "statistics on, similar to those of your task (default: six built-in photos)",
    )  # fmt: skip
    folded.add_argument(
        "--no-rebase", action="store_true",
        help="keep a folded BatchNorm as it is; training would then destroy the weights",
    )  # fmt: skip
    parser.add_shared("--overwrite", help="replace an existing folder")
    parser.add_shared("--json")


def import_file(arguments: argparse.Namespace) -> None:
    """Import a file, a folder of a model hub, or a TensorFlow checkpoint."""
    from mobilenetv2.weights import import_checkpoint

    imported = import_checkpoint(
        arguments.file, dialect=arguments.dialect, labels=arguments.labels, width=arguments.width,
        size=arguments.size, spec=arguments.spec, strides=arguments.strides,
        preprocessing=arguments.preprocessing, resize=arguments.resize, bgr=arguments.bgr,
        body=arguments.body,
        photos=arguments.photos or (), rebase=not arguments.no_rebase, output=arguments.out,
        overwrite=arguments.overwrite,
    )  # fmt: skip
    if arguments.json:
        print(json_line({"model": arguments.out, **imported.to_dict()}))
    else:
        show_imported(imported, Path(arguments.out))


def show_imported(imported: "Imported", out: Path) -> None:
    """Print the imported network's facts, one a line."""
    config = imported.config
    for key, value in imported.to_dict().items():
        tell(f"{key.replace('_', ' '):14} {value:,}" if key in ("parameters", "multiply_adds")
             else f"{key:14} {value}")  # fmt: skip
    more = " ..." if len(config.labels) > 4 else ""
    tell(f"{'labels':14} {', '.join(config.labels.names[:4])}{more}")
    if config.labels.names[:1] == ("class 0",):
        say("the file has no class names; to add them, give --labels FILE")
    if config.origin and config.origin.note:
        say(config.origin.note)
    say("")
    say(f"model folder: {out}")


def _add_export(parser: Parser) -> None:
    add_examples(
        parser,
        "  mobilenetv2 weights export runs/photos/best photos.pth --dialect torchvision\n"
        "  mobilenetv2 weights export imagenet photos.weights.h5 --dialect keras\n"
        "  mobilenetv2 weights export imagenet hub/ --dialect huggingface\n"
        "\nFor verified files that run in ONNX Runtime, LiteRT and so on:\n"
        "  mobilenetv2 export runs/photos/best photos.onnx\n",
    )  # fmt: skip
    parser.add_shared("model")
    parser.add_argument(
        "out", metavar="OUT",
        help="file, whose ending sets the format (.pth, .safetensors, .h5, .weights.h5, .keras, "
        f".ckpt, {', '.join(FORMATS[name].suffix for name in GRAPHS)}); for huggingface, "
        "and for timm and tfjs without an ending, a folder",
    )  # fmt: skip
    parser.add_argument(
        "--dialect", choices=DIALECTS,
        help="naming scheme of the tensors (default: the only one that fits file and network)",
    )  # fmt: skip
    parser.add_flag("--ignore-numerics",
        "export although the other project computes differently, and report the effect",
    )  # fmt: skip
    parser.add_shared(
        "--photos",
        help="photos to measure the effect of --ignore-numerics on (default: two built-in photos)",
    )
    parser.add_shared("--overwrite", help="replace an existing file")
    parser.add_shared("--json")


def export_file(arguments: argparse.Namespace) -> None:
    """Write the checkpoint, and print notes and the effect of ignored numerics."""
    from mobilenetv2.weights import export_checkpoint

    made = export_checkpoint(
        arguments.model, arguments.out, dialect=arguments.dialect,
        ignore_numerics=arguments.ignore_numerics, photos=arguments.photos,
        overwrite=arguments.overwrite,
    )  # fmt: skip
    for note in made.notes:
        say(f"note: {note}")
    if arguments.json:
        print(json_line(made.to_dict()))
        return
    for path in made.paths:
        tell(str(path))
    if made.effect:
        say(f"numerics ignored: {made.effect}")


ACTIONS: dict[str, tuple[str, Callable[[Parser], None], Callable[[argparse.Namespace], None]]] = {
    "list": ("list the published checkpoints", _add_list, list_published),
    "fetch": (
        "download a published checkpoint into the cache, and verify it", _add_fetch, fetch,
    ),
    "import": ("convert a checkpoint into a model folder", _add_import, import_file),
    "export": (
        "write a model's weights for another library: torchvision, timm, Keras ...", _add_export,
        export_file,
    ),
}  # fmt: skip
"""Actions, each with its help, the function that adds its options and the one that runs it."""
