"""``mobilenetv2 weights import``: a published checkpoint becomes a model folder."""

import argparse
import json
import sys
from pathlib import Path

from mobilenetv2.checkpoints.importer import ImportOptions, import_checkpoint
from mobilenetv2.checkpoints.labels import read_labels
from mobilenetv2.cli.describe import find_spec
from mobilenetv2.errors import DialectError, RunError, WeightsError
from mobilenetv2.files import read_file, require_only
from mobilenetv2.hub.catalogue import HUB, catalogue
from mobilenetv2.hub.models import locate
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.progress import say
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.records import Labels, ModelConfig


def run(arguments: argparse.Namespace) -> int:
    """Import a file, a folder of a model hub, or a TensorFlow checkpoint; 0."""
    source, out = Path(arguments.file), Path(arguments.out)
    if out.exists() and not arguments.overwrite:
        raise RunError(f"{out} exists; choose another place, or give --overwrite to replace it")
    if out.exists() and not (out / store.CONFIG).is_file():
        raise RunError(f"{out}: not a model folder, so not overwritten")
    require_only(out, store.FILES)
    if arguments.file.startswith(HUB) or (not source.exists() and arguments.file in catalogue()):
        return copied(arguments, out)
    if not source.exists() and not source.with_name(f"{source.name}.index").is_file():
        raise WeightsError(f"{source}: no such file")
    wishes = ImportOptions(
        dialect=arguments.dialect,
        labels=label_file(Path(arguments.labels)) if arguments.labels else None,
        width=arguments.width,
        size=arguments.size,
        spec=find_spec(arguments.spec) if arguments.spec else None,
    )
    return finished(arguments, out, *import_checkpoint(source, wishes))


def finished(arguments: argparse.Namespace, out: Path, config: ModelConfig, arrays: Arrays) -> int:
    """Write the model folder and say what it is; 0."""
    store.save(out, config, arrays)
    if arguments.json:
        print(json.dumps({"model": str(out), **facts(config)}))
    else:
        show(config, out)
    return 0


def copied(arguments: argparse.Namespace, out: Path) -> int:
    """A published checkpoint by name: what MODEL would be, as a folder of one's own.

    Raises:
        DialectError: options that are for files.
    """
    for option in ("labels", "width", "size", "spec"):
        if getattr(arguments, option) is not None:
            raise DialectError(
                f"{arguments.file}: --{option} is for files; 'weights fetch' gives one"
            )
    config, arrays = store.load(locate(arguments.file))
    return finished(arguments, out, config, arrays)


def label_file(path: Path) -> Labels:
    """Names of the outputs, one a line.

    Raises:
        DialectError: not a text.
    """
    try:
        return read_labels(read_file(path).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DialectError(f"{path}: not a text in UTF-8 ({error})") from None


def facts(config: ModelConfig) -> dict[str, object]:
    """What was read from the file."""
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


def show(config: ModelConfig, out: Path) -> None:
    """The same in words."""
    for key, value in facts(config).items():
        print(f"{key.replace('_', ' '):14} {value:,}" if key in ("parameters", "multiply_adds")
              else f"{key:14} {value}")  # fmt: skip
    print(f"{'labels':14} {', '.join(config.labels.names[:4])} ...")
    if config.labels.names[:1] == ("class 0",):
        say("no labels in the file; --labels FILE gives them")
    if config.origin and config.origin.note:
        say(config.origin.note)
    print(f"\nthe model: {out}", file=sys.stderr)
