"""What writes a contestant's file, in a process of its own: a converter that crashes takes nothing
else with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.export.format import Options, module_of
from mobilenetv2.formats import FORMATS, INT8
from mobilenetv2.model import store
from mobilenetv2.model.folding import Folded, fold
from mobilenetv2.quantize import job
from mobilenetv2.quantize.scheme import Range, Scheme
from mobilenetv2.spec.records import ModelConfig


def write(request: dict[str, Any]) -> dict[str, Any]:
    """One file.

    Args:
        request: 'model' (folder), 'format', 'precision', 'out'; of int8 'scheme' (as
            :func:`save_scheme` makes it) and 'calibration' (a .npy of uint8 pictures), too.

    Raises:
        MobileNetV2Error: it cannot be written.
    """
    config, arrays = store.load(Path(request["model"]))
    out, name = Path(request["out"]), request["format"]
    if request["precision"] == INT8:
        scheme = load_scheme(Path(request["scheme"]), config)
        pictures = np.load(request["calibration"])
        job.write(name, scheme, fold(config.spec, arrays), pictures, out)
    else:
        options = Options(precision=request["precision"])
        module_of(FORMATS[name]).write(config, arrays, out, options)
    return {}


def save_scheme(scheme: Scheme, path: Path) -> None:
    """A scheme as an .npz, for another process; its config is the model folder's."""
    arrays = {
        f"{name}/{part}": values
        for name, pair in scheme.folded.items()
        for part, values in zip(("weight", "bias"), pair, strict=True)
    }
    facts = {
        "ranges": {name: [each.low, each.high] for name, each in scheme.ranges.items()},
        "per_channel": scheme.per_channel, "method": scheme.method,
        "weight_bits": scheme.weight_bits,
    }  # fmt: skip
    np.savez(path, facts=np.array(json.dumps(facts)), **arrays)  # type: ignore[arg-type]


def load_scheme(path: Path, config: ModelConfig) -> Scheme:
    """What :func:`save_scheme` wrote."""
    with np.load(path) as stored:
        facts = json.loads(str(stored["facts"]))
        names = [name.removesuffix("/weight") for name in stored.files if name.endswith("/weight")]
        folded: Folded = {
            name: (stored[f"{name}/weight"], stored[f"{name}/bias"]) for name in names
        }
    ranges = {name: Range(*ends) for name, ends in facts.pop("ranges").items()}
    return Scheme(config, folded, ranges, **facts)
