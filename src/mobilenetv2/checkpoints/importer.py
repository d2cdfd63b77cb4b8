"""Import of a published checkpoint, in any dialect, as a config and canonical arrays.

:func:`read_checkpoint` is five steps: read, identify, describe, infer, decode. Where BatchNorm
came folded, :func:`import_network` puts measured statistics in.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.checkpoints.containers.reader import read_container
from mobilenetv2.checkpoints.containers.savedmodel import PROGRAM
from mobilenetv2.checkpoints.containers.tfjs import MODEL
from mobilenetv2.checkpoints.description import (
    HUB_WEIGHTS,
    Description,
    background_of,
    describe_config,
    digest,
    read_sidecar,
    usual_labels,
)
from mobilenetv2.checkpoints.description import ImportOptions as ImportOptions
from mobilenetv2.checkpoints.dialects.registry import Checkpoint, find_graph, open_named
from mobilenetv2.checkpoints.dialects.tensors import TensorCheckpoint, TensorDialect
from mobilenetv2.checkpoints.input_range import RANGES
from mobilenetv2.checkpoints.labels import find_labels
from mobilenetv2.checkpoints.preprocessing_choice import choose_preprocessing, red_first
from mobilenetv2.checkpoints.strides import choose_strides
from mobilenetv2.checkpoints.unreadable import explained
from mobilenetv2.documents import read_table
from mobilenetv2.errors import DialectError, SpecError, WeightsError, argument
from mobilenetv2.formats import FORMATS, GRAPHS
from mobilenetv2.model.arrays import Arrays, check_arrays, is_folded
from mobilenetv2.progress import say
from mobilenetv2.spec.catalogue import known_file
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing
from mobilenetv2.text import escaped, listed

ONE_FILE = (*(FORMATS[name].ending for name in (*GRAPHS, "keras")), ".h5")
"""Endings of a whole network; the only such file of a folder is taken."""
TEACHABLE_MACHINE = ("keras_model.h5", "model.savedmodel/saved_model.pb")
"""Model in an unpacked export; LiteRT files may be several, so that one has to be named."""


def import_network(
    path: Path,
    options: ImportOptions | None = None,
    photos: Sequence[Path] = (),
    rebase: bool = True,
) -> tuple[ModelConfig, Arrays]:
    """Import a checkpoint as a network that can be used and trained.

    Args:
        path, options: as :func:`read_checkpoint` takes them.
        photos: those that the statistics of a BatchNorm that came folded are measured on, the more
            like those of its use the better; none: those in the package.
        rebase: False leaves such a BatchNorm the identity that it is in the file.

    Returns:
        What ``read_checkpoint`` does, rebased where BatchNorm came folded.

    Raises:
        WeightsError, DialectError, MissingExtra: as ``read_checkpoint`` does.
        ImageError: one of the photos cannot be read.
    """
    config, arrays = read_checkpoint(path, options)
    if rebase and config.origin is not None and config.origin.folded:
        from mobilenetv2.checkpoints.rebasing import rebase_imported  # Pillow comes in with it

        return rebase_imported(config, arrays, photos)
    return config, arrays


def read_checkpoint(path: Path, options: ImportOptions | None = None) -> tuple[ModelConfig, Arrays]:
    """Read a file, a TensorFlow checkpoint's prefix, or a folder from a model hub.

    Returns:
        The config, and canonical float32 arrays. They are bit-identical to those of the file,
        except folded and quantised ones.

    Raises:
        WeightsError: not a weights file, damaged, or hostile.
        DialectError: not a MobileNetV2, or another network than the requested one.
        MissingExtra: the library that reads such a file is not installed.
    """
    options = options or ImportOptions()
    weights = weights_in(path) if path.is_dir() else path
    checkpoint = open_checkpoint(weights, options)  # read, identify
    try:
        said = describe(weights, checkpoint, options)
        asked = options.resize is not None or options.preprocessing not in (None, *RANGES)
        if said.unsupported_resize and not asked:  # a range says nothing of the resize
            raise DialectError(
                f"its config has {said.unsupported_resize}, which is not done here; to choose "
                f"another, give {argument('resize', 'stretch')} or {argument('resize', 'cover')}"
            )
        checkpoint = checkpoint.completed(options.labels or said.labels)
        spec = checkpoint.infer(said, options)
        if isinstance(checkpoint, TensorCheckpoint):
            name = checkpoint.dialect.name
            spec, why = choose_strides(spec, name, said, options, path.name)
            checkpoint = checkpoint.noted(said.note).noted(why)
        if not (options.labels or said.labels or checkpoint.inside.headless):
            said = with_labels_beside(said, weights, spec.classes)
        arrays = checkpoint.decode(spec)
        if options.bgr or said.bgr:
            arrays, said = red_first(arrays, said)
        check_arrays(spec, arrays, str(weights))
        return collect(path, weights, checkpoint, said, spec, arrays, options), arrays
    except (DialectError, SpecError) as error:
        raise DialectError(f"{weights}: {error}") from None


def open_checkpoint(weights: Path, options: ImportOptions) -> Checkpoint:
    """Read a file as named tensors or as a graph, and recognise its dialect.

    Raises:
        WeightsError: not a weights file, damaged, or hostile.
        DialectError: another network, or of an unknown dialect. A file of a recognised kind that is
            not read is called what it is.
    """
    with _called_what_it_is(weights):
        graph = find_graph(weights, options.dialect)
        if graph is None:
            return open_named(read_container(weights), options)
    for name in ("width", "size", "spec", "strides"):
        if getattr(options, name) is not None:
            raise DialectError(
                f"{weights}: {argument(name)} is not for {graph.name} files, whose graph says what "
                "they are"
            )
    with _called_what_it_is(weights):
        return graph.open(graph.read(weights), weights, options)


@contextmanager
def _called_what_it_is(weights: Path) -> Iterator[None]:
    """Give an error about a file of a recognised kind that is not read the kind's sentence."""
    try:
        with np.errstate(all="ignore"):  # a file's numbers may be anything
            yield
    except DialectError as error:
        raise explained(weights, DialectError(f"{weights}: {error}")) from None
    except WeightsError as error:
        raise explained(weights, error) from None


def describe(weights: Path, checkpoint: Checkpoint, options: ImportOptions) -> Description:
    """Return the description of a network: our sidecar, the publisher's config, or the file's own.

    The first one that exists is used. A description that contradicts the tensors is an error. What
    no description has follows from the shapes, or else from the dialect. A user's options override
    it, but a network that contradicts the description or the tensors is an error, too.
    """
    # Ours beside the file names it by its checksum and says everything.
    if config := read_sidecar(weights):
        note = config.origin.note if config.origin else ""
        return dataclasses.replace(describe_config(config), note=note)
    # The publisher's says what its own code would do with the file.
    dialect = checkpoint.dialect
    if isinstance(dialect, TensorDialect) and dialect.configs and weights.name in HUB_WEIGHTS:
        first, *others = (_json(weights.parent / name) for name in dialect.configs)
        if first is not None:
            return dialect.describe(first, *others, size=options.size)
    # What else is in the file: a whole config of ours, a Keras model's layers, labels.
    return checkpoint.inside


def with_labels_beside(said: Description, weights: Path, classes: int) -> Description:
    """Return a description with the class names of a list beside the weights, told on stderr."""
    found = find_labels(weights, classes)
    if found is None:
        return said
    say(f"note: the names of the classes are those of {found[1]}")
    return dataclasses.replace(said, labels=found[0])


def collect(
    path: Path, weights: Path, checkpoint: Checkpoint, said: Description, spec: NetworkSpec,
    arrays: Arrays, options: ImportOptions,
) -> ModelConfig:  # fmt: skip
    """Return the config of an import from the options, the description and the usual values."""
    untrained = checkpoint.inside.headless
    fresh = Labels.numbered if untrained else usual_labels  # a new classifier knows no names
    labels = options.labels or said.labels or fresh(spec.classes)
    spec = spec.replace(background=background_of(labels, spec.classes))
    dialect, sha256 = checkpoint.dialect, digest(weights)
    record, why = _fed(path, sha256, checkpoint, said, spec, options)
    origin = Origin(
        escaped(path.name), sha256, dialect.name, options.licence or said.licence,
        folded=said.folded or is_folded(arrays), note=checkpoint.note or said.note,
        untrained_classifier=untrained,
        preprocessing=why,
        history=said.history,
    )  # fmt: skip
    # Figures hold for the network as it was measured: fed so, and with these answers.
    as_measured = record == said.preprocessing and labels == said.labels and not untrained
    return ModelConfig(spec, record, labels, origin, dict(said.metrics) if as_measured else {})


def preprocessing_of(path: Path, options: ImportOptions) -> tuple[Preprocessing, str]:
    """Return the preprocessing that an import of a file chooses, and how, without an import.

    Args:
        path: a file with a MobileNetV2.
        options: the options; labels and what concerns the arrays are not looked at.

    Raises:
        WeightsError, DialectError, MissingExtra: as :func:`read_checkpoint` does.
    """
    checkpoint = open_checkpoint(path, options)
    said = describe(path, checkpoint, options)
    spec = checkpoint.completed(None).infer(said, options)
    return _fed(path, digest(path), checkpoint, said, spec, options)


def _fed(
    path: Path, sha256: str | None, checkpoint: Checkpoint, said: Description, spec: NetworkSpec,
    options: ImportOptions,
) -> tuple[Preprocessing, str]:  # fmt: skip
    dialect = checkpoint.dialect
    return choose_preprocessing(
        said, dialect.preprocessing(spec), dialect.name, spec, options,
        known_file(path.name, sha256),
    )  # fmt: skip


# ---------------------------------------------------------------- folders


def weights_in(folder: Path) -> Path:
    """Return the weights file of a model hub's folder, or a TensorFlow checkpoint's prefix.

    Raises:
        DialectError: the folder is a model folder of this package.
        WeightsError: the folder has no known weights file.
    """
    if "spec" in (_json(folder / "config.json") or {}):
        raise DialectError(f"{folder}: a model folder already; it can be used as it is")
    for name in (*HUB_WEIGHTS, MODEL, PROGRAM, *TEACHABLE_MACHINE):
        if (folder / name).is_file():
            return folder / name
    indices = sorted(folder.glob("*.index"))
    if len(indices) == 1:
        return indices[0].with_suffix("")
    if indices or (folder / "checkpoint").is_file():
        return folder  # several: its own list says which is the newest
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in ONE_FILE)
    if len(found) == 1:
        return found[0]
    held = f"; give one of its files: {listed([one.name for one in found], 5)}" if found else ""
    error = WeightsError(f"{folder}: a folder without {' or '.join(HUB_WEIGHTS)}{held}")
    raise explained(folder, error)


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    return read_table(path, WeightsError, constants=True)
