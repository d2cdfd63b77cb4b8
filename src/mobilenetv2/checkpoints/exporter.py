"""Export of a network in another project's dialect, if that dialect can express it."""

import contextlib
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mobilenetv2.checkpoints.description import digest, sidecar_path
from mobilenetv2.checkpoints.dialects.registry import DIALECTS, GRAPHS, TENSORS, find
from mobilenetv2.checkpoints.graphs.network import GraphDialect
from mobilenetv2.errors import ArtifactError, DialectError, argument
from mobilenetv2.files import require_only, write_atomically
from mobilenetv2.locks import hold
from mobilenetv2.model.arrays import Arrays, check_arrays
from mobilenetv2.spec.records import TRAINED_HERE, ModelConfig, Origin


@dataclass(frozen=True, slots=True)
class Written:
    """Files of an export, and remarks for the user."""

    paths: tuple[Path, ...]
    config: ModelConfig
    """Config of the network that the other project's code builds from the file."""
    notes: tuple[str, ...]
    """Remarks for the user, one sentence each."""


def dialects_of(out: Path) -> list[str]:
    """Return the dialects whose files end as a path does, in the order in which they are tried."""
    name = out.name.lower()
    return [one.name for one in DIALECTS.values() if one.suffixes and name.endswith(one.suffixes)]


def fitting_dialects(config: ModelConfig, names: Iterable[str]) -> list[str]:
    """Return the dialects of these that express a network and compute with it as here."""
    fitting = []
    for name in names:
        with contextlib.suppress(DialectError):
            express_in(config, name)
            fitting.append(name)
    return fitting


def express_in(
    config: ModelConfig, name: str, ignore_numerics: bool = False, out: Path | None = None
) -> Written:
    """Return what an export would be, without writing anything: see :func:`write_checkpoint`."""
    dialect, spec, origin = find(name, out), config.spec, config.origin
    if isinstance(dialect, GraphDialect):
        return Written((), config, ())  # it says and computes any network
    theirs = dialect.express(spec)
    if theirs is None:
        # The others can be written as ONNX, too, but not imported again.
        ours = {stage.kind for stage in spec.stages} == {"inverted"} and spec.projection == "linear"
        way_out = f". {argument('dialect', 'onnx')} takes any MobileNetV2" if ours else ""
        raise DialectError(
            f"{name} has no such network: it differs in {dialect.unlike(spec)}{way_out}"
        )
    others = dialect.other_numerics(spec)
    changes = ", ".join(f"{field} {ours} -> {them}" for field, (ours, them) in others.items())
    if others and not ignore_numerics:
        fitting = [
            other.name for other in TENSORS.values()
            if not other.other_numerics(spec) and other.express(spec)
        ] + [*GRAPHS]  # fmt: skip
        raise DialectError(
            f"{name} would compute something else with these weights ({changes}); choose a dialect "
            f"that can say it ({', '.join(fitting)}), or give "
            f"{argument('ignore_numerics', True)} to write them all the same"
        )
    numerics = dataclasses.replace(
        spec.numerics, **{field: them for field, (_, them) in others.items()}
    )
    notes = []
    if others:
        notes = [f"Numerics ignored on the way to {name}: {changes}."]
        origin = origin or Origin(TRAINED_HERE)
        origin = dataclasses.replace(origin, note=f"{origin.note} {notes[0]}".strip())
    notes += dialect.remarks(config)
    # With other numerics, the measured figures are no longer true.
    metrics = {} if others else config.metrics
    spec = theirs.replace(numerics=numerics, dropout=spec.dropout, background=spec.background)
    written = dataclasses.replace(config, spec=spec, origin=origin, metrics=metrics)
    return Written((), written, tuple(notes))


def write_checkpoint(
    config: ModelConfig, arrays: Arrays, name: str, out: Path,
    ignore_numerics: bool = False, overwrite: bool = False,
) -> Written:  # fmt: skip
    """Write a checkpoint; the file is there whole, or not at all.

    Args:
        arrays: canonical.
        name: the dialect.
        out: a file whose suffix chooses the container; a folder for Hugging Face, and for timm if
            it has no suffix; a prefix that ends in .ckpt for TF-slim.
        ignore_numerics: write the weights although the other project's code computes other outputs
            with them.

    Raises:
        DialectError: the dialect cannot express the network, or does not use the suffix.
        MissingExtra: the library that writes such a file is not installed.
        ArtifactError: ``out`` exists already.
        InUse: another process writes ``out``.
        OSError: ``out`` cannot be written.
    """
    dialect, made = find(name, out), express_in(config, name, ignore_numerics, out)
    check_arrays(config.spec, arrays, str(out))
    if dialect.suffixes and not out.name.lower().endswith(dialect.suffixes):
        raise DialectError(f"{out}: a {name} file ends in {' or '.join(dialect.suffixes)}")
    paths = dialect.places(out)
    with hold(out, allowed=None if overwrite else partial(_require_new, paths)):
        if dialect.folder:
            require_only(out, dialect.folder)
        dialect.write(made.config, arrays, out)
        if not dialect.says_all:
            origin = made.config.origin or Origin(TRAINED_HERE)
            beside = dataclasses.replace(
                made.config, origin=dataclasses.replace(origin, sha256=digest(out))
            )
            write_atomically(sidecar_path(out), beside.to_json())
    return dataclasses.replace(made, paths=tuple(paths))


def _require_new(places: Iterable[Path]) -> None:
    for place in places:
        if place.exists():
            raise ArtifactError(
                f"{place}: exists already; choose another path, or give "
                f"{argument('overwrite', True)} to replace it"
            )
