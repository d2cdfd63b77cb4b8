"""``mobilenetv2 weights``: published checkpoints listed, fetched and imported, ours written out."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilenetv2.cli.main import table
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

A file to run in ONNX Runtime, LiteRT and so on:
  mobilenetv2 export imagenet imagenet.onnx
"""


def add_options(parser: Parser) -> None:
    """Add the verb's actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (help_, fill, _) in ACTIONS.items():
        add_page(actions, name, help_, fill)


def run(arguments: argparse.Namespace) -> int:
    """Run the action; 0."""
    ACTIONS[arguments.action][2](arguments)
    return 0


def _add_list(parser: Parser) -> None:
    add_examples(
        parser,
        "  mobilenetv2 weights list\n"
        "  mobilenetv2 weights list --width 0.5 --sort top1\n",
    )  # fmt: skip
    parser.add_argument("--dialect", metavar="NAME", help="only this publisher's")
    parser.add_argument("--width", type=float, help="only this width multiplier")
    parser.add_argument(
        "--sort", choices=("name", "width", "size", "top1", "file_size"),
        help="the column to sort by (default: publisher by publisher)",
    )  # fmt: skip
    parser.add_shared("--json")


def list_published(arguments: argparse.Namespace) -> None:
    """Print the table of published checkpoints."""
    from mobilenetv2.hub import models
    from mobilenetv2.hub.catalogue import list_checkpoints

    entries = list_checkpoints(arguments.dialect, arguments.width, arguments.sort or "name")
    here = {entry.name for entry in entries if models.is_cached(entry)}
    if arguments.json:
        print(json.dumps([{**one.to_dict(), "cached": one.name in here} for one in entries]))
    else:
        show_list(entries, here)


def show_list(entries: Sequence["Checkpoint"], here: set[str]) -> None:
    """Print checkpoints as a table.

    Args:
        here: names of those in the cache.
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
            f"{unverified} are unverified: no checksum is published, and the first download "
            "records what it saw"
        )


def _add_fetch(parser: Parser) -> None:
    add_examples(
        parser,
        "  mobilenetv2 weights fetch torchvision-v2\n"
        "  mobilenetv2 weights fetch hf://google/mobilenet_v2_1.0_224\n",
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", help="of 'weights list', or hf://OWNER/NAME")
    parser.add_shared("--json")


def fetch(arguments: argparse.Namespace) -> None:
    """Fetch a checkpoint, unless it is there."""
    from mobilenetv2.hub import models

    fetched = models.fetch(arguments.name)
    if arguments.json:
        print(json.dumps(fetched.to_dict()))
        return
    print(f"{'path':8} {fetched.path}")
    print(f"{'sha-256':8} {fetched.sha256}")
    print(f"{'checked':8} {fetched.checked}")
    if fetched.cached:
        say("it was in the cache already")


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
        "prefix, folder or .tgz; or a folder from the Hugging Face hub",
    )  # fmt: skip
    parser.add_argument("out", metavar="OUT", help="the model folder, made new")
    parser.add_argument(
        "--dialect", choices=("auto", *DIALECTS), default="auto", help="of the file (default: auto)"
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="names of the outputs, one a line, if not in the file"
    )
    parser.add_argument("--width", type=float, help="the width that it must have")
    parser.add_argument("--size", type=size, help="input size, if the file does not say it")
    parser.add_argument(
        "--spec", metavar="NAME|FILE",
        help="the whole network, where it is none that was published: a JSON file or model folder",
    )  # fmt: skip
    folded = parser.add_mutually_exclusive_group()
    folded.add_argument(
        "--photos", nargs="+", metavar="IMAGE|FOLDER",
        help="where BatchNorm came folded (.tflite, most .onnx): photos to measure its statistics "
        "on, like those that the network is for (default: six in the package)",
    )  # fmt: skip
    folded.add_argument(
        "--no-rebase", action="store_true",
        help="leave a BatchNorm that came folded an identity, which training destroys",
    )  # fmt: skip
    parser.add_shared("--overwrite", help="replace an existing folder")
    parser.add_shared("--json")


def import_file(arguments: argparse.Namespace) -> None:
    """Import a file, a folder of a model hub, or a TensorFlow checkpoint."""
    from mobilenetv2.weights import import_checkpoint

    imported = import_checkpoint(
        arguments.file, dialect=arguments.dialect, labels=arguments.labels, width=arguments.width,
        size=arguments.size, spec=arguments.spec, photos=arguments.photos or (),
        rebase=not arguments.no_rebase, output=arguments.out, overwrite=arguments.overwrite,
    )  # fmt: skip
    if arguments.json:
        print(json.dumps({"model": arguments.out, **imported.to_dict()}))
    else:
        show_imported(imported, Path(arguments.out))


def show_imported(imported: "Imported", out: Path) -> None:
    """Print the same in words."""
    config = imported.config
    for key, value in imported.to_dict().items():
        print(f"{key.replace('_', ' '):14} {value:,}" if key in ("parameters", "multiply_adds")
              else f"{key:14} {value}")  # fmt: skip
    print(f"{'labels':14} {', '.join(config.labels.names[:4])} ...")
    if config.labels.names[:1] == ("class 0",):
        say("no labels in the file; --labels FILE gives them")
    if config.origin and config.origin.note:
        say(config.origin.note)
    say(f"\nthe model: {out}")


def _add_export(parser: Parser) -> None:
    add_examples(
        parser,
        "  mobilenetv2 weights export runs/photos/best photos.pth --dialect torchvision\n"
        "  mobilenetv2 weights export imagenet photos.weights.h5 --dialect keras\n"
        "  mobilenetv2 weights export imagenet hub/ --dialect huggingface\n"
        "\nA file to run in ONNX Runtime, LiteRT and so on, verified:\n"
        "  mobilenetv2 export runs/photos/best photos.onnx\n",
    )  # fmt: skip
    parser.add_shared("model")
    parser.add_argument(
        "out", metavar="OUT",
        help="the file, whose ending chooses its kind (.pth, .safetensors; .h5, .weights.h5, "
        f".keras; .ckpt; {'; '.join(FORMATS[name].suffix for name in GRAPHS)}), or a folder for "
        "huggingface",
    )  # fmt: skip
    parser.add_argument(
        "--dialect", choices=DIALECTS,
        help="whose names (default: the only one that such a file and network allow)",
    )  # fmt: skip
    parser.add_flag("--ignore-numerics",
        "write them although the other project computes otherwise; says what that changes",
    )  # fmt: skip
    parser.add_shared(
        "--photos",
        help="with --ignore-numerics: photos to see the change on (default: two built in)",
    )
    parser.add_shared("--overwrite", help="replace an existing file")
    parser.add_shared("--json")


def export_file(arguments: argparse.Namespace) -> None:
    """Write the checkpoint, say what a person should know of it, and what it changes."""
    from mobilenetv2.weights import export_checkpoint

    made = export_checkpoint(
        arguments.model, arguments.out, dialect=arguments.dialect,
        ignore_numerics=arguments.ignore_numerics, photos=arguments.photos,
        overwrite=arguments.overwrite,
    )  # fmt: skip
    for note in made.notes:
        say(f"note: {note}")
    if arguments.json:
        print(json.dumps(made.to_dict()))
        return
    for path in made.paths:
        print(path)
    if made.effect:
        print(f"numerics ignored: {made.effect}", file=sys.stderr)


ACTIONS: dict[str, tuple[str, Callable[[Parser], None], Callable[[argparse.Namespace], None]]] = {
    "list": ("show what is published, by name", _add_list, list_published),
    "fetch": (
        "download a published checkpoint into the cache, verified", _add_fetch, fetch,
    ),
    "import": ("turn a published checkpoint into a model folder", _add_import, import_file),
    "export": (
        "write a model's weights for another library: torchvision, timm, Keras ...", _add_export,
        export_file,
    ),
}  # fmt: skip
"""Action -> (its help, what adds its options, what runs it)."""
