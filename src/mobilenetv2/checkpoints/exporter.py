"""A network written in another project's dialect, where that dialect can express it."""

import dataclasses
import errno
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mobilenetv2.checkpoints.containers import hdf5, pytorch, tensorflow
from mobilenetv2.checkpoints.containers.safetensors import safetensors_bytes
from mobilenetv2.checkpoints.dialects import huggingface_config, keras, keras_model, registry
from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.inference import express, unlike
from mobilenetv2.checkpoints.sidecar import DATA, digest, sidecar_path
from mobilenetv2.errors import DialectError
from mobilenetv2.files import atomic_folder, require_only, write_atomically
from mobilenetv2.formats import FORMATS, GRAPHS
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.records import ModelConfig, Origin

PYTORCH_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
KERAS_SUFFIXES = (".weights.h5", ".h5", ".keras")
FORMAT = {"format": "pt"}
"""What loaders of PyTorch look for in the metadata of a safetensors file."""
HUB_FILES = {"model.safetensors", "config.json", "preprocessor_config.json"}
SUFFIXES = {
    "keras": KERAS_SUFFIXES, **{name: (FORMATS[name].suffix,) for name in GRAPHS},
    "tf-slim": (".ckpt",), "huggingface": (),
}  # fmt: skip
"""What a file of a dialect may end in; the others are PyTorch's. Hugging Face's is a folder."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    paths: tuple[Path, ...]
    config: ModelConfig
    """Of the network that the other project's code makes of the file."""
    notes: tuple[str, ...]
    """What a person should know, a sentence each."""


def express_in(config: ModelConfig, name: str, ignore_numerics: bool = False) -> Exported:
    """What an export would be, without writing anything: see :func:`export_checkpoint`."""
    if name in registry.GRAPHS:
        return Exported((), config, ())
    dialect = registry.find(name)
    spec = config.spec
    theirs = express(dialect, spec)
    if theirs is None:
        inverted = {stage.kind for stage in spec.stages} == {"inverted"}
        way_out = ". --dialect onnx takes any MobileNetV2" if inverted else ""
        raise DialectError(
            f"{name} has no such network: it differs in {unlike(dialect, spec)}{way_out}"
        )
    others = dialect.other_numerics(spec)
    changes = ", ".join(f"{field} {ours} -> {them}" for field, (ours, them) in others.items())
    if others and not ignore_numerics:
        raise DialectError(
            f"{name} would compute something else with these weights ({changes}); choose a dialect "
            f"that can say it ({', '.join(_fitting(config))}), or give --ignore-numerics to write "
            "them all the same"
        )
    numerics = dataclasses.replace(
        spec.numerics, **{field: them for field, (_, them) in others.items()}
    )
    notes = []
    origin = config.origin or Origin("trained here")
    if others:
        note = f"Numerics ignored on the way to {name}: {changes}."
        origin = dataclasses.replace(origin, note=f"{origin.note} {note}".strip())
        notes.append(note)
    usual, rate = dialect.bases[0], dialect.update_rate
    if spec.dropout != usual.dropout and name != "huggingface":
        notes.append(f"{name}'s own model has a dropout of {usual.dropout:g}, not {spec.dropout:g}")
    if spec.numerics.update_rate != rate:
        notes.append(
            f"trained on in {name}, BatchNorm's statistics move by {rate:g} a batch, not "
            f"{spec.numerics.update_rate:g}"
        )
    if name == "huggingface" and huggingface_config.approximated(config.preprocessing):
        notes.append(f"{name} cannot say how pictures are resized here; its own way comes near")
    if config.preprocessing != dialect.preprocessing(spec) and name != "huggingface":
        notes.append(
            f"give it pixels as (value - {_mean(config.preprocessing.mean)}) / "
            f"{_mean(config.preprocessing.std)}: {name} files do not say so"
        )
    spec = theirs.replace(numerics=numerics, dropout=spec.dropout, background=spec.background)
    return Exported((), dataclasses.replace(config, spec=spec, origin=origin), tuple(notes))


def export_checkpoint(
    config: ModelConfig, arrays: Arrays, name: str, out: Path,
    ignore_numerics: bool = False, overwrite: bool = False,
) -> Exported:  # fmt: skip
    """Write a checkpoint; the file is there whole, or not at all.

    Args:
        arrays: canonical.
        name: the dialect.
        out: a file whose suffix chooses the container; a folder for Hugging Face; a prefix ending
            in .ckpt for TF-slim.
        ignore_numerics: write weights that the other project's code will compute otherwise with.

    Raises:
        DialectError: the dialect cannot express the network, or the suffix is none of its.
        MissingExtra: the library that writes such a file is not installed.
        OSError: ``out`` is there already, or cannot be written.
    """
    made = express_in(config, name, ignore_numerics)
    check_arrays(config.spec, arrays, str(out))
    suffix = _suffix(name, out)
    for place in _places(name, out):
        if place.exists() and not overwrite:
            raise FileExistsError(
                errno.EEXIST, "is there already; choose another place or give --overwrite",
                str(place),
            )  # fmt: skip
    if name == "huggingface":
        require_only(out, HUB_FILES)
    if name in registry.GRAPHS:
        _write_file(out, _graph(config, arrays, name))
        return dataclasses.replace(made, paths=(out,))
    dialect = registry.find(name)
    foreign = dialect.encode(made.config.spec, arrays)
    if name == "huggingface":
        paths = _write_hub_folder(made.config, foreign, out)
    elif name == "tf-slim":
        paths = _write_slim(foreign, out)
    else:
        _write_file(out, _content(dialect, made.config, foreign, suffix))
        paths = (out,)
    if name != "huggingface":  # whose folder says all of it
        origin = dataclasses.replace(
            made.config.origin or Origin("trained here"), sha256=digest(out)
        )
        beside = dataclasses.replace(made.config, origin=origin)
        write_atomically(sidecar_path(out), beside.to_json())
        paths = (*paths, sidecar_path(out))
    return dataclasses.replace(made, paths=paths)


def _fitting(config: ModelConfig) -> list[str]:
    """Dialects in which the network can be written as it is."""
    found = [
        name for name, dialect in registry.DIALECTS.items()
        if not dialect.other_numerics(config.spec) and express(dialect, config.spec)
    ]  # fmt: skip
    return [*found, *registry.GRAPHS]


def _mean(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"({', '.join(f'{v:g}' for v in values)})"


def _suffix(name: str, out: Path) -> str:
    known = SUFFIXES.get(name, PYTORCH_SUFFIXES)
    found = next((suffix for suffix in known if out.name.lower().endswith(suffix)), None)
    if known and found is None:
        raise DialectError(f"{out}: a {name} file ends in {' or '.join(known)}")
    return found or ""


def _places(name: str, out: Path) -> list[Path]:
    if name == "tf-slim":
        return [out.with_name(f"{out.name}{end}") for end in (".index", DATA, ".json")]
    beside = [] if name == "huggingface" or name in registry.GRAPHS else [sidecar_path(out)]
    return [out, *beside]


def _write_file(out: Path, content: bytes) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, content)


def _graph(config: ModelConfig, arrays: Arrays, name: str) -> bytes:
    if name == "onnx":
        return write_onnx(lower(config, arrays, folded=False))  # so that every tensor comes back
    return write_litert(lower(config, arrays))


def _content(dialect: Dialect, config: ModelConfig, foreign: Arrays, suffix: str) -> bytes:
    if suffix == ".safetensors":
        return safetensors_bytes(foreign, FORMAT)
    if suffix == ".keras":
        return keras_model.write(config.spec, foreign)
    layers = keras.by_layer(foreign) if dialect.name == "keras" else {}
    if suffix == ".weights.h5":
        folders = keras.numbered_layers(config.spec)
        return hdf5.keras3_bytes(
            [(folder, list(layers[layer].values())) for folder, layer in folders.items()]
        )
    if suffix == ".h5":
        return hdf5.legacy_keras_bytes([
            (layer, [(f"{layer}/{variable}:0", array) for variable, array in parts.items()])
            for layer, parts in layers.items()
        ])  # fmt: skip
    return pytorch.pytorch_bytes(foreign)


def _write_hub_folder(config: ModelConfig, foreign: Arrays, out: Path) -> tuple[Path, ...]:
    network, preprocessor = huggingface_config.written(config)
    with atomic_folder(out) as folder:
        write_atomically(folder / "model.safetensors", safetensors_bytes(foreign, FORMAT))
        for name, content in (("config", network), ("preprocessor_config", preprocessor)):
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
            write_atomically(folder / f"{name}.json", text + "\n")
    return (out,)


def _write_slim(foreign: Arrays, out: Path) -> tuple[Path, ...]:
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out.parent) as folder:
        prefix = Path(folder) / out.name
        tensorflow.write_tensorflow(foreign, prefix)
        # The old index first, the new one last: without it there is no checkpoint.
        index, data, _ = _places("tf-slim", out)
        paths = (data, index)
        index.unlink(missing_ok=True)
        for path in paths:
            with (prefix.parent / path.name).open("rb") as file:
                os.fsync(file.fileno())
            os.replace(prefix.parent / path.name, path)
    return paths
