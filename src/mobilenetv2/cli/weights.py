"""``mobilenetv2 weights``: published checkpoints to model folders."""

import argparse
import json
import sys
from pathlib import Path

from mobilenetv2.errors import DialectError, RunError, WeightsError
from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.weights import store
from mobilenetv2.weights.dialects import litert


def run(arguments: argparse.Namespace) -> int:
    """Import a file; 0."""
    source, out = Path(arguments.file), Path(arguments.out)
    if out.exists() and not arguments.overwrite:
        raise RunError(f"{out} exists; choose another place, or give --overwrite to replace it")
    if out.exists() and not (out / store.CONFIG).is_file():
        raise RunError(f"{out}: not a model folder, so not overwritten")
    if not source.is_file():
        raise WeightsError(f"{source}: no such file")
    if arguments.dialect == "auto" and source.suffix.lower() != ".tflite":
        raise DialectError(f"{source}: only LiteRT (.tflite) files are read so far")
    labels = None
    if arguments.labels:
        try:
            labels = litert.read_labels(Path(arguments.labels).read_text("utf-8"))
        except UnicodeDecodeError as error:
            raise DialectError(f"{arguments.labels}: not a text in UTF-8 ({error})") from None
    config, arrays = litert.import_file(source, labels)
    store.save(out, config, arrays)
    if arguments.json:
        print(json.dumps({"model": str(out), **facts(config)}))
    else:
        show(config, out)
    return 0


def facts(config: ModelConfig) -> dict[str, object]:
    """What was read from the file."""
    spec = config.spec
    return {
        "width": spec.width,
        "size": list(spec.size),
        "classes": spec.classes,
        "background": config.labels.background,
        "padding": spec.numerics.padding,
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
        print("no labels in the file; --labels FILE gives them", file=sys.stderr)
    print(f"\nthe model: {out}", file=sys.stderr)
