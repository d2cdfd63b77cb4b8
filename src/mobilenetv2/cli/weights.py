"""``mobilenetv2 weights``: published checkpoints listed, fetched and imported, ours written out."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mobilenetv2.cli.main import table
from mobilenetv2.cli.parser import DIALECTS, Parser, add_examples, add_page, size
from mobilenetv2.errors import DialectError, RunError, WeightsError
from mobilenetv2.files import read_file, require_only
from mobilenetv2.formats import FORMATS, GRAPHS
from mobilenetv2.hub.catalogue import DEFAULT, EMBEDDED, HUB, Checkpoint, catalogue
from mobilenetv2.progress import say
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import Labels, ModelConfig

EXAMPLES = """\
  mobilenetv2 weights list --dialect timm
  mobilenetv2 weights fetch timm-100
  mobilenetv2 weights import mobilenet_v2-7ebf99e0.pth imagenet
  mobilenetv2 weights export imagenet mobilenetv2.safetensors --dialect timm
"""
SORTS: dict[str, Callable[[Checkpoint], float]] = {
    "name": lambda entry: 0,  # the name alone
    "width": lambda entry: entry.width,
    "size": lambda entry: entry.size,
    "top1": lambda entry: math.inf if entry.top1 is None else -entry.top1,  # the best first
    "file_size": lambda entry: math.inf if entry.file_size is None else entry.file_size,
}
"""Keys of ``--sort``; what is not known comes last."""
VERIFIED = {
    "published": "the same as published",
    "prefix": "begins as published",
    "hub": "the same as the hub's",
    "first seen": "unverified: none is published; the same as at the first download",
    "recorded": "unverified: none is published; recorded to compare the next download with",
    "nothing": "unverified: the hub has none",
}
"""What is said of the SHA-256 of a download."""


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
        "--sort", choices=list(SORTS),
        help="the column to sort by (default: publisher by publisher)",
    )  # fmt: skip
    parser.add_shared("--json")


def list_published(arguments: argparse.Namespace) -> None:
    """Print the table of published checkpoints."""
    from mobilenetv2.hub import models
    from mobilenetv2.hub.catalogue import DEFAULT

    entries = chosen(arguments.dialect, arguments.width)
    entries.sort(key=lambda entry: (SORTS[arguments.sort or "name"](entry), entry.name))
    here = {entry.name for entry in entries if models.is_cached(entry)}
    if not arguments.json:
        show_list(entries, here)
        return
    fields = (
        "name dialect width size classes background top1 licence file_size sha256 sha256_prefix "
        "preprocessing where file note"
    ).split()
    print(json.dumps([
        {
            **{field: getattr(entry, field) for field in fields}, "verified": entry.verified,
            "cached": entry.name in here, "default": entry.name == DEFAULT,
        }
        for entry in entries
    ]))  # fmt: skip


def chosen(dialect: str | None, width: float | None) -> list[Checkpoint]:
    """Return the checkpoints of a dialect and a width."""
    entries = list(catalogue().values())
    dialects = {entry.dialect for entry in entries}
    if dialect is not None and dialect not in dialects:
        raise WeightsError(f"dialect {dialect!r}: none published; {suggestion(dialect, dialects)}")
    entries = [entry for entry in entries if dialect in (None, entry.dialect)]
    widths = sorted({entry.width for entry in entries})
    if width is not None and width not in widths:
        known = ", ".join(f"{one:g}" for one in widths)
        raise WeightsError(f"width {width:g}: none published; there are {known}")
    return [entry for entry in entries if width in (None, entry.width)]


def show_list(entries: list[Checkpoint], here: set[str]) -> None:
    """Print checkpoints as a table.

    Args:
        here: names of those in the cache.
    """

    def known(value: Any, form: str = "") -> str:
        return "-" if value is None else format(value, form)

    def checksum(entry: Checkpoint) -> str:
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
        print(json.dumps({
            "name": fetched.name, "path": str(fetched.path), "file": str(fetched.file),
            "sha256": fetched.sha256, "verified": fetched.verified, "cached": fetched.cached,
        }))  # fmt: skip
        return
    print(f"{'path':8} {fetched.path}")
    print(f"{'sha-256':8} {fetched.sha256}")
    print(f"{'checked':8} {VERIFIED[fetched.verified]}")
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
    from mobilenetv2.checkpoints.importer import ImportOptions, import_network
    from mobilenetv2.hub.models import find_spec, locate
    from mobilenetv2.model import store

    source, out = Path(arguments.file), Path(arguments.out)
    if out.exists() and not arguments.overwrite:
        raise RunError(f"{out} exists; choose another place, or give --overwrite to replace it")
    if out.exists() and not (out / store.CONFIG).is_file():
        raise RunError(f"{out}: not a model folder, so not overwritten")
    require_only(out, store.FILES)
    if arguments.file.startswith(HUB) or (not source.exists() and arguments.file in catalogue()):
        # A published checkpoint by name: what MODEL would be, as a folder of one's own.
        for option in ("labels", "width", "size", "spec", "photos", "no-rebase"):
            if getattr(arguments, option.replace("-", "_")):
                raise DialectError(
                    f"{arguments.file}: --{option} is for files; 'weights fetch' gives one"
                )
        config, arrays = store.load(locate(arguments.file))
    elif source.exists() or source.with_name(f"{source.name}.index").is_file():
        options = ImportOptions(
            dialect=arguments.dialect,
            labels=label_file(Path(arguments.labels)) if arguments.labels else None,
            width=arguments.width,
            size=arguments.size,
            spec=find_spec(arguments.spec) if arguments.spec else None,
        )
        photos: Sequence[Path] = ()
        if arguments.photos:
            from mobilenetv2.data.sources import find_photos

            photos = find_photos(arguments.photos)
        config, arrays = import_network(source, options, photos, rebase=not arguments.no_rebase)
    else:
        raise WeightsError(f"{source}: no such file")
    store.save(out, config, arrays)
    if arguments.json:
        print(json.dumps({"model": str(out), **facts(config)}))
    else:
        show_imported(config, out)


def label_file(path: Path) -> Labels:
    """Read names of the outputs, one a line.

    Raises:
        DialectError: not a text.
    """
    from mobilenetv2.checkpoints.description import read_labels

    try:
        return read_labels(read_file(path).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DialectError(f"{path}: not a text in UTF-8 ({error})") from None


def facts(config: ModelConfig) -> dict[str, object]:
    """Return what was read from a file, as plain values."""
    spec = config.spec
    return {
        "dialect": config.origin.dialect if config.origin else None,
        "width": spec.width,
        "size": list(spec.size),
        "classes": spec.classes,
        "background": config.labels.background,
        "padding": spec.numerics.padding,
        "epsilon": spec.numerics.epsilon,
        "parameters": parameters(spec),
        "multiply_adds": multiply_adds(spec),
        "mean": list(config.preprocessing.mean),
        "std": list(config.preprocessing.std),
    }


def show_imported(config: ModelConfig, out: Path) -> None:
    """Print the same in words."""
    for key, value in facts(config).items():
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
        "  mobilenetv2 weights export imagenet hub/ --dialect huggingface\n",
    )  # fmt: skip
    parser.add_shared("model")
    parser.add_argument(
        "out", metavar="OUT",
        help="the file, whose ending chooses its kind (.pth, .safetensors; .h5, .weights.h5, "
        f".keras; .ckpt; {'; '.join(FORMATS[name].suffix for name in GRAPHS)}), or a folder for "
        "huggingface",
    )  # fmt: skip
    parser.add_argument("--dialect", choices=DIALECTS, required=True, help="whose names")
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
    import numpy as np

    from mobilenetv2.checkpoints.exporter import export_checkpoint
    from mobilenetv2.data.sources import find_photos
    from mobilenetv2.evaluation.predictions import load_pictures
    from mobilenetv2.hub.models import locate
    from mobilenetv2.images.preprocess import preprocess
    from mobilenetv2.model import store

    config, arrays = store.load(locate(arguments.model))
    record, shown = config.preprocessing, None
    if arguments.ignore_numerics:  # before anything is written: a photo may be unreadable
        if arguments.photos:
            shown = load_pictures(find_photos(arguments.photos), record)
        else:
            from mobilenetv2.data.sources import photographs

            built_in = [preprocess(photo, record, "a built-in photo") for photo in photographs()]
            shown = np.stack(built_in)
    made = export_checkpoint(
        config, arrays, arguments.dialect, Path(arguments.out),
        arguments.ignore_numerics, arguments.overwrite,
    )  # fmt: skip
    for note in made.notes:
        say(f"note: {note}")
    effect = None
    if shown is not None and made.config.spec.numerics != config.spec.numerics:
        from mobilenetv2.evaluation.parity import numerics_effect

        effect = numerics_effect(config, made.config, arrays, shown)
    if arguments.json:
        written: dict[str, object] = {
            "paths": [str(path) for path in made.paths], "notes": list(made.notes),
        }  # fmt: skip
        if effect:
            written |= {"photos": effect.pictures, "agreements": effect.agreements,
                        "logits_difference": effect.difference}  # fmt: skip
        print(json.dumps(written))
        return
    for path in made.paths:
        print(path)
    if effect:
        print(f"numerics ignored: {effect}", file=sys.stderr)


ACTIONS: dict[str, tuple[str, Callable[[Parser], None], Callable[[argparse.Namespace], None]]] = {
    "list": ("show what is published, by name", _add_list, list_published),
    "fetch": (
        "download a published checkpoint into the cache, verified", _add_fetch, fetch,
    ),
    "import": ("turn a published checkpoint into a model folder", _add_import, import_file),
    "export": (
        "write a model folder as another project's checkpoint", _add_export, export_file,
    ),
}  # fmt: skip
"""Action -> (its help, what adds its options, what runs it)."""
