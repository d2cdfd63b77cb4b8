"""Dialects that name their tensors, and a file's tensors in one of them.

:mod:`~mobilenetv2.checkpoints.dialects.inference` finds the network off the shapes. Strides do not
follow from them (:mod:`~mobilenetv2.checkpoints.strides`).
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.pytorch import pytorch_bytes
from mobilenetv2.checkpoints.containers.safetensors import safetensors_bytes
from mobilenetv2.checkpoints.description import (
    Description,
    ImportOptions,
    sidecar_path,
    usual_preprocessing,
)
from mobilenetv2.checkpoints.dialects.candidates import WIDTHS as WIDTHS
from mobilenetv2.checkpoints.dialects.candidates import (
    Candidate,
    candidates,
    cut,
    has_width,
    same_network,
)
from mobilenetv2.checkpoints.dialects.inference import infer
from mobilenetv2.checkpoints.dialects.state_dict import read_state_dict
from mobilenetv2.checkpoints.dialects.state_head import StateHead
from mobilenetv2.checkpoints.dialects.tables import PYTORCH, Key, KeyTable, Words, keys
from mobilenetv2.checkpoints.dialects.wrappings import BodyEnd, joined
from mobilenetv2.errors import DialectError, argument
from mobilenetv2.files import write_atomically
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec, Numerics
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

COUNTER = "num_batches_tracked"
"""Name of PyTorch's count of batches in a BatchNorm.

It matters only to a BatchNorm without momentum. So it has no canonical name, is dropped on import
and starts at 0 on export.
"""
COMPUTED = ("padding", "epsilon", "activation")
"""Numerics that change the outputs of a trained network; the others only matter in training."""
HEADLESS = "Came without a classifier: this one is new, and says nothing before it is trained."
ENDS_EARLY = "Its body ends with a block: the last 1x1 convolution was not in the file."
LEFT_OUT = "Its head was left out: the classifier is new, and says nothing before it is trained."


def save_pytorch(_: ModelConfig, foreign: Arrays, out: Path) -> None:
    """Write a state dict as safetensors or as PyTorch's own file, depending on the suffix."""
    if out.name.lower().endswith(".safetensors"):
        content = safetensors_bytes(foreign, {"format": "pt"})  # PyTorch's loaders expect this
    else:
        content = pytorch_bytes(foreign)
    write_atomically(out, content)


@dataclass(frozen=True, slots=True)
class TensorDialect:
    """One implementation's files: names, networks, and functions to read and write them."""

    name: str
    families: tuple[str, ...]
    """Names in :data:`PUBLISHED` of the families in its files; the first is the usual one."""
    table: KeyTable
    signature: tuple[str, ...]
    """Foreign names that together occur only in its files."""
    words: Words = PYTORCH
    trunk: str = ""
    """Prefix of all names of its body, which a body that was saved alone lacks."""
    dropped: str = r"$^"
    """Pattern of known foreign names that the network does not need."""
    repairs: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Corrections of fields in which the implementation's code differs from its intention."""
    records: frozenset[str] = frozenset()
    """Numerics that its files can describe; all others are those of its code."""
    inside: Callable[[Container], tuple[Arrays, Description]] = lambda container: (
        container.arrays,
        Description(),
    )
    """Function that returns a container's arrays and the description of the network in it."""
    prepare: Callable[[Arrays], Arrays] = dict
    """Function that changes the names in a file into those of the table."""
    configs: tuple[str, ...] = ()
    """Names of the JSON files beside the weights on a model hub."""
    describe: Callable[..., Description] = Description
    """Function that returns the description in these files; it takes their contents.

    The first content always exists; others are None if the file does not exist.
    """
    suffixes: tuple[str, ...] = (".pth", ".pt", ".bin", ".safetensors")
    """Suffixes of an exported file; empty for a folder."""
    parts: tuple[str, ...] = ("",)
    """Suffixes that the files of an export add to its name."""
    folder: frozenset[str] = frozenset()
    """Names of the files in an export that is a folder; its configs replace the sidecar."""
    save: Callable[[ModelConfig, Arrays, Path], None] = save_pytorch
    """Function that writes foreign arrays."""
    approximates: Callable[[Preprocessing], bool] = lambda _: False
    """Function that returns True if the folder's configs describe a preprocessing only roughly."""

    @property
    def bases(self) -> tuple[NetworkSpec, ...]:
        """Spec of every family at width 1.0, with the corrections."""
        return tuple(PUBLISHED[name].spec.replace(**self.repairs) for name in self.families)

    @property
    def numerics(self) -> Numerics:
        """Numerics of its files, if they do not describe them."""
        return self.bases[0].numerics

    @property
    def says_all(self) -> bool:
        """True if its files contain labels and preprocessing, so that they need no sidecar."""
        return bool(self.folder)

    def other_numerics(self, spec: NetworkSpec) -> dict[str, tuple[Any, Any]]:
        """Return the numerics of ``spec`` that its files will not have: (ours, theirs) by field."""
        return {
            name: pair
            for name, pair in differences(spec.numerics, self.numerics).items()
            if name not in self.records
        }

    def preprocessing(self, spec: NetworkSpec) -> Preprocessing:
        """Return the usual preprocessing of its files, at the network's size and channels."""
        record = usual_preprocessing(self.families[0], spec)
        if spec.stem_stride == 1 and self.words == PYTORCH:  # small pictures are fed whole
            return dataclasses.replace(record, resize=record.size)
        return record

    def keys(self, spec: NetworkSpec) -> tuple[Key, ...]:
        """Return the foreign name, layout and shape of every tensor."""
        return keys(self.table, self.words, spec)

    def ignores(self, name: str) -> bool:
        """Return True if a foreign tensor is known and not needed."""
        counts = self.words == PYTORCH and name.endswith(f".{COUNTER}")
        return counts or re.search(self.dropped, name) is not None

    def open(self, container: Container, body: bool = False) -> "TensorCheckpoint | None":
        """Return the file's tensors under the table's names; None for another dialect's.

        Args:
            body: True to leave the file's head out.
        """
        if self.words == PYTORCH:
            found = read_state_dict(container, self.table, self.signature, self.trunk)
            if found is None:
                return None
            return TensorCheckpoint(
                self, found.arrays, found.said, found.note, found.end, found.head, found.problem,
                body,
            )  # fmt: skip
        arrays, said = self.inside(container)
        arrays = self.prepare(arrays)
        if not set(self.signature) <= arrays.keys():
            return None
        kept = {name: array for name, array in arrays.items() if not self.ignores(name)}
        return TensorCheckpoint(self, kept, said, body=body)

    def decode(self, spec: NetworkSpec, foreign: Arrays) -> Arrays:
        """Return canonical float32 arrays for foreign ones that fit ``spec``."""
        return {
            key.canonical: key.to_canonical(np.asarray(foreign[key.foreign], np.float32))
            for key in self.keys(spec)
        }

    def encode(self, spec: NetworkSpec, arrays: Arrays) -> Arrays:
        """Return foreign arrays for canonical ones, with PyTorch's counters."""
        foreign: Arrays = {}
        for key in self.keys(spec):
            array = np.ascontiguousarray(arrays[key.canonical], np.float32)
            foreign[key.foreign] = key.from_canonical(array)
            if self.words == PYTORCH and key.canonical.endswith(".bn.variance"):
                layer = key.foreign.removesuffix(self.words.variance)
                foreign[f"{layer}.{COUNTER}"] = np.zeros((), np.int64)
        return foreign

    def express(self, spec: NetworkSpec) -> NetworkSpec | None:
        """Return the dialect's network with the same layers as ``spec``, or None."""
        head, plain = spec.classifier, spec
        if head == ClassifierSpec(outputs="sigmoid") and not self.says_all:
            plain = spec.replace(classifier=ClassifierSpec())  # the sidecar has their meaning
        usual = plain.replace(classifier=ClassifierSpec())
        likely = self.candidates(usual, self.families, (spec.width, *WIDTHS))
        stem = plain.channels("stem")  # a cheap test that excludes most
        found = next(
            (
                one.spec
                for one in likely
                if one.spec.channels("stem") == stem and same_network(plain, one.spec)
            ),
            None,
        )
        return found and found.replace(classifier=head)

    def candidates(
        self, target: NetworkSpec, families: Iterable[str], widths: Iterable[float] = WIDTHS,
        divisor: int | None = None,
    ) -> Iterator[Candidate]:  # fmt: skip
        """Yield the networks that its files may hold, the likeliest first."""
        own = dict(zip(self.families, self.bases, strict=True))
        return candidates(own, target, families, widths, divisor)

    def unlike(self, spec: NetworkSpec) -> str:
        """Return the fields in which a network differs from the usual one, for a message."""
        names = (
            "stages", "stem_stride", "stem_channels", "head_channels", "head", "shortcut", "expand",
            "projection", "conv_bias", "classifier", "rounding", "stem_fixed", "first_stage_fixed",
            "divisor",
        )  # fmt: skip
        found = [name for name in names if getattr(spec, name) != getattr(self.bases[0], name)]
        return ", ".join(found) or f"width {spec.width:g}"

    def remarks(self, config: ModelConfig) -> Iterator[str]:
        """Yield remarks for a user who loads such a file with the dialect's own code."""
        spec, usual, name = config.spec, self.bases[0], self.name
        if spec.classifier.outputs == "sigmoid":
            yield f"{name}'s own code takes the logits for a softmax's, and they are sigmoids'"
        if spec.dropout != usual.dropout and not self.says_all:
            yield f"{name}'s own model has a dropout of {usual.dropout:g}, not {spec.dropout:g}"
        # The rate at which its code updates BatchNorm's statistics, without corrections.
        rate = PUBLISHED[self.families[0]].spec.numerics.update_rate
        if spec.numerics.update_rate != rate:
            yield (
                f"trained on in {name}, BatchNorm's statistics move by {rate:g} a batch, not "
                f"{spec.numerics.update_rate:g}"
            )
        record = config.preprocessing
        if self.approximates(record):
            yield f"{name} cannot describe the resizing of photos here; its own is similar"
        fed = self.preprocessing(spec)
        if not self.says_all and (record.mean, record.std) != (fed.mean, fed.std):
            yield (
                f"give it pixels as (value - {_per_channel(record.mean)}) / "
                f"{_per_channel(record.std)}: {name} files do not describe it"
            )

    def places(self, out: Path) -> list[Path]:
        """Return the paths that an export to ``out`` writes."""
        beside = [] if self.says_all else [sidecar_path(out)]
        return [*(out.with_name(f"{out.name}{part}") for part in self.parts), *beside]

    def write(self, config: ModelConfig, arrays: Arrays, out: Path) -> None:
        """Write canonical arrays of a network that the dialect can express, without a sidecar."""
        self.save(config, self.encode(config.spec, arrays), out)


def differences(one: Numerics, other: Numerics) -> dict[str, tuple[Any, Any]]:
    """Return the numerics that change outputs and differ: both values by field."""
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in COMPUTED}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _per_channel(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"({', '.join(f'{v:g}' for v in values)})"


@dataclass(frozen=True, slots=True, eq=False)
class TensorCheckpoint:
    """Tensors of a file whose dialect is known, and the description in it."""

    dialect: TensorDialect
    foreign: Arrays
    """Arrays under the names of the dialect's table, without those that it drops."""
    inside: Description
    note: str = ""
    end: BodyEnd | None = None
    """End of the body of a PyTorch file."""
    head: StateHead | None = None
    """Head of a PyTorch file."""
    problem: str = ""
    """Reason why the head cannot be read, in a sentence; the body can be read all the same."""
    body: bool = False
    """True if the body alone is wanted."""

    def completed(self, labels: Labels | None) -> "TensorCheckpoint":
        """Return the checkpoint with a classifier, a new one if the file has none.

        Args:
            labels: names of the outputs of a new classifier.

        Raises:
            DialectError: the head cannot be read, and the body alone is not wanted.
        """
        if self.problem and not self.body:
            raise DialectError(self.problem)
        keys = {key.canonical: key for key in self.dialect.keys(self.dialect.bases[0])}
        weight, bias = keys["classifier.weight"], keys["classifier.bias"]
        last = self.foreign.get(keys["head.bn.scale"].foreign)
        there = weight.foreign in self.foreign or bias.foreign in self.foreign
        features = self.end.features if self.end else last.size if last is not None else 0
        if not features or (there and not self.body):
            return self
        classes = len(labels or Labels.imagenet())
        made = initialise({"classifier.weight": (classes, features)}, "torchvision", seed=0)
        own = [self.dialect.table.classifier, *self._hidden_layers()]
        if self.body and self.end is None:  # every layer that holds a matrix
            own += [n.rpartition("/")[0] for n, a in self.foreign.items() if a.ndim == 2]
        foreign = {n: a for n, a in self.foreign.items() if not n.startswith(tuple(own))} | {
            weight.foreign: weight.from_canonical(made["classifier.weight"]),
            bias.foreign: np.zeros(classes, np.float32),
        }
        inside = dataclasses.replace(self.inside, headless=True)
        end = ENDS_EARLY if self.end and not self.end.head else ""
        note = joined((self.note, LEFT_OUT if there or self.problem else HEADLESS, end))
        return dataclasses.replace(
            self, foreign=foreign, inside=inside, note=note, head=None, problem=""
        )

    def _hidden_layers(self) -> list[str]:
        hidden = self.head.spec.hidden if self.head else ()
        return [self.dialect.table.hidden.format(n=index) for index in range(len(hidden))]

    def _target(self, spec: NetworkSpec) -> NetworkSpec:
        """Return a network with the file's own head and end, of which shapes say more."""
        plain = spec.classifier
        if self.head and not plain.hidden and plain.outputs != "logit":
            head = dataclasses.replace(self.head.spec, pooling=plain.pooling)
            if head.outputs == "softmax":  # a sigmoid has the same shapes
                head = dataclasses.replace(head, outputs=plain.outputs)
            spec = spec.replace(classes=self.head.classes, background=None)
            spec = spec.replace(classifier=head)
        if self.end and not self.end.head:
            spec = cut(spec, self.end.blocks)
        return spec

    def infer(self, said: Description, options: ImportOptions) -> NetworkSpec:
        """Return the network that fits the description, the shapes and the options.

        Args:
            said: description beside or in the file.

        Raises:
            DialectError: they contradict each other, or no known network fits.
        """
        shapes = {name: tuple(array.shape) for name, array in self.foreign.items()}
        stated = said.spec
        target = stated or options.spec or self.dialect.bases[0]
        if stated is None:
            # A bare file cannot describe numerics, so a user's own stages have the dialect's.
            target = target.replace(numerics=self.dialect.numerics)
        target = self._target(target)
        size = options.size or (said.preprocessing.size if said.preprocessing else None)
        size = size or said.size or target.size
        exactly = "its config describes" if stated else "was requested" if options.spec else ""
        target = target.replace(size=size, background=None)
        spec = infer(self.dialect, shapes, target, None if exactly else options.width, exactly)
        for what, told, found in (
            ("classes", said.classes, self.head and self.head.outputs),
            ("channels", said.channels, spec.input_channels),
        ):
            if None not in (told, found) and told != found:
                raise DialectError(f"its config says {told} {what}, and its tensors have {found}")
        require_asked(spec, options, described=stated is not None)
        return spec

    def noted(self, sentence: str) -> "TensorCheckpoint":
        """Return the checkpoint with one more sentence in its note."""
        return dataclasses.replace(self, note=joined((self.note, sentence)))

    def decode(self, spec: NetworkSpec) -> Arrays:
        """Return canonical float32 arrays."""
        return self.dialect.decode(spec, self.foreign)


def require_asked(spec: NetworkSpec, options: ImportOptions, described: bool = True) -> None:
    """Raise unless a network is the one that the options ask for.

    Args:
        described: True if the file, or a config beside it, describes the network.

    Raises:
        DialectError: it has another width, or other stages.
    """
    if options.width is not None and not has_width(spec, options.width):
        raise DialectError(
            f"it is of width {spec.width:g}, but width {options.width:g} was requested"
        )
    if described and options.spec is not None:
        asked = options.spec.replace(
            classes=spec.classes, input_channels=spec.input_channels, classifier=spec.classifier
        )
        others = differences(asked.numerics, spec.numerics)
        if others or not same_network(spec, asked):
            raise DialectError(
                f"it describes itself, and {argument('spec')} describes something else "
                f"({', '.join(others) or 'other strides'}); leave it out"
            )
