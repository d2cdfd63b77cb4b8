"""Records that accompany a network: preprocessing, labels, origin, metrics."""

import dataclasses
import json
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, SupportsIndex

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.mapping import (
    UNSTORED,
    check_types,
    from_mapping,
    short_repr,
    shown,
    to_mapping,
)
from mobilenetv2.spec.network import MOST_CLASSES, NetworkSpec, Outputs, Size
from mobilenetv2.text import counted, encodable, visible

FORMAT_VERSION = 1
Interpolation = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]

SHOWN_NAMES, LONGEST_NAME = 3, 24
"""Labels that a ``repr`` shows, and the characters of each."""

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Conversion of a decoded image into the network's input.

    The steps are: keep the central part of each side, resize (always antialiased), crop the centre,
    then compute ``(value - mean) / std`` on values from 0 to 255.

    Raises:
        SpecError: a field has an impossible value.

    Example:
        >>> record = mn.Preprocessing(size=(96, 96), resize=(96, 96), fit="stretch")
        >>> record.at((128, 128)).size
        (128, 128)
    """

    size: Size = (224, 224)
    """Height and width of the network's input, in pixels."""
    resize: Size = (256, 256)
    """Height and width of the resized image before the centre crop, in pixels."""
    fit: Literal["cover", "stretch", "none"] = "cover"
    """Rule for the aspect ratio: 'cover' keeps it, 'stretch' does not.

    'cover' scales the image until it covers ``resize``; for a square that fits its shorter side.
    'stretch' resizes to exactly ``resize``. 'none' does not resize: the centre of ``size`` pixels
    is cut out, and a smaller image is an error.
    """
    central_fraction: float = 1.0
    """Share of each side that is kept before resizing (TF-slim: 0.875)."""
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Mean per channel, on the scale 0 to 255."""
    std: tuple[float, ...] = IMAGENET_STD
    decode: Literal["whole", "reduced"] = "whole"
    """Size at which JPEG files are decoded. 'whole': their own; 'reduced': the smallest of 1, 1/2,
    1/4 and 1/8 of it that is at least as large as what it is resized to, which is several times as
    fast and changes pixels slightly. With ``fit`` 'none' they are decoded whole."""

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("size", "resize"):
            value = getattr(self, name)
            if not all(1 <= side <= 8192 for side in value):
                raise SpecError(
                    f"preprocessing {name} {shown(value)} must be (height, width) in pixels"
                )
        if any(small > large for small, large in zip(self.size, self.resize, strict=True)):
            raise SpecError(
                f"preprocessing resizes to {self.resize}, too small to crop {self.size} from"
            )
        if not 0 < self.central_fraction <= 1:
            raise SpecError(f"central_fraction {self.central_fraction!r} must be in (0, 1]")
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise SpecError("preprocessing mean and std must both have 1 or 3 values")
        if not all(math.isfinite(value) for value in self.mean):
            raise SpecError(f"preprocessing mean {self.mean!r} must be finite")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise SpecError(f"preprocessing std {self.std!r} must be finite and above 0")

    def __repr__(self) -> str:
        return short_repr(self, "size", "resize")

    @property
    def channels(self) -> int:
        """Number of channels: 3 (red, green, blue) or 1 (grey)."""
        return len(self.mean)

    def at(self, size: Size) -> "Preprocessing":
        """Return the same rules for another input size; the margin scales with it.

        A part of a pixel is cut off, as timm does: 160 of 182 pixels for 224 of 256.
        """
        if size == self.size:
            return self
        height, width = (
            max(side, side * resize // old)
            for side, resize, old in zip(size, self.resize, self.size, strict=True)
        )
        return dataclasses.replace(self, size=size, resize=(height, width))

    def largest(self) -> "Preprocessing":
        """Return the same rules, with the largest centred crop of the image and no margin."""
        return dataclasses.replace(self, resize=self.size, fit="cover", central_fraction=1.0)

    def stretched(self) -> "Preprocessing":
        """Return the same rules, with the whole image stretched to the network's size."""
        return dataclasses.replace(self, resize=self.size, fit="stretch", central_fraction=1.0)

    def unresized(self) -> "Preprocessing":
        """Return the same rules without a resize: the centre of the image at its own size."""
        return dataclasses.replace(self, resize=self.size, fit="none", central_fraction=1.0)

    @classmethod
    def default(cls, spec: NetworkSpec) -> "Preprocessing":
        """Return the preprocessing of a new network: ImageNet statistics, a 7/8 centre crop.

        Up to 64 pixels there is no margin and the whole image is used.
        """
        margin = 1.0 if max(spec.size) <= 64 else 8 / 7
        resize = (round(spec.size[0] * margin), round(spec.size[1] * margin))
        if spec.input_channels == 3:
            return cls(spec.size, resize)
        grey = (sum(IMAGENET_MEAN) / 3,), (sum(IMAGENET_STD) / 3,)
        return cls(spec.size, resize, mean=grey[0], std=grey[1])


@dataclass(frozen=True, slots=True)
class Labels:
    """Names of the classifier's outputs, by index.

    Raises:
        SpecError: the WordNet ids or the background do not fit the names.

    Example:
        >>> labels = mn.Labels(("hat", "shoes"))
        >>> labels.names[1], len(labels)
        ('shoes', 2)
    """

    names: tuple[str, ...]
    wordnet: tuple[str | None, ...] = ()
    """WordNet ids such as n01440764 if the label table has them, otherwise empty."""
    background: int | None = None
    """Index of the class that means 'none of these', if there is one."""

    def __post_init__(self) -> None:
        if any(not name.isascii() for name in self.names):
            object.__setattr__(self, "names", tuple(map(encodable, self.names)))
        if self.wordnet and len(self.wordnet) != len(self.names):
            raise SpecError(
                f"labels have {len(self.names)} names but {len(self.wordnet)} WordNet ids"
            )
        if self.background is not None and not 0 <= self.background < len(self.names):
            raise SpecError(f"background index {self.background} is outside the labels")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def background_place(self) -> Literal["first", "last"] | None:
        """Place of the background class among the classes, if there is one."""
        return None if self.background is None else "last" if self.background else "first"

    def __repr__(self) -> str:
        shown = ", ".join(visible(name[:LONGEST_NAME]) for name in self.names[:SHOWN_NAMES])
        more = ", ..." if len(self) > SHOWN_NAMES else ""
        background = "" if self.background is None else f"; background: {self.background}"
        return f"Labels({len(self)}: {' '.join(shown.split())}{more}{background})"

    @classmethod
    def of(cls, classes: "Labels | int | Iterable[str]") -> "Labels":
        """Return the labels of classes that are given by name or by number.

        Args:
            classes: names in the order of the outputs; or how many classes, which are then called
                'class 0', 'class 1' ...; or labels, which are returned as they are.

        Raises:
            SpecError: there is no class, or something that is no name.

        Example:
            >>> mn.Labels.of(["hat", "shoes"])
            Labels(2: hat, shoes)
        """
        if isinstance(classes, Labels):
            return classes
        if isinstance(classes, SupportsIndex) and not isinstance(classes, bool):
            count = operator.index(classes)
            if count < 1:
                raise SpecError(f"classes {count} must be at least 1")
            return cls.numbered(count)
        names = tuple(classes) if isinstance(classes, Iterable) else ()
        if isinstance(classes, str | Mapping) or not names or not all(map(_is_name, names)):
            raise SpecError(f"classes {shown(classes)} must be a number, or a list of names")
        return cls(tuple(map(str, names)))

    @classmethod
    def numbered(cls, classes: int, background: Literal["first", "last"] | None = None) -> "Labels":
        """Return labels without meaning: 'class 0', 'class 1' ...

        Raises:
            SpecError: there are more than :data:`~mobilenetv2.spec.network.MOST_CLASSES`.
        """
        if classes > MOST_CLASSES:
            raise SpecError(f"{classes:,} classes; at most {MOST_CLASSES:,} are allowed")
        names = tuple(f"class {index}" for index in range(classes))
        return cls(names, (), {"first": 0, "last": classes - 1, None: None}[background])

    @classmethod
    def of_folders(cls, classes: tuple[str, ...]) -> "Labels":
        """Return labels by the names of class folders: ImageNet's, if these are its WordNet ids."""
        imagenet = cls.imagenet()
        return imagenet if classes == imagenet.wordnet else cls(classes)

    @classmethod
    def imagenet(cls, background: Literal["first", "last"] | None = None) -> "Labels":
        """Return the 1,000 ImageNet classes, if requested with a background class."""
        names, ids = imagenet_classes()
        if background is None:
            return cls(names, ids)
        if background == "first":
            return cls(("background", *names), (None, *ids), 0)
        return cls((*names, "background"), (*ids, None), len(names))


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name)


@lru_cache(maxsize=1)
def imagenet_classes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names and the WordNet ids of ImageNet's 1,000 classes, in index order."""
    text = files("mobilenetv2.spec").joinpath("imagenet.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return tuple(row[2] for row in rows), tuple(row[1] for row in rows)


Resize = Literal["stretch", "cover", "none"]
"""Way to the network's size: the photo stretched, its central part, or no resize at all."""
RebasedOn = Literal["", "built-in photos", "given photos", "training photos"]


TRAINED_HERE = "trained here"
MOST_STEPS = 16
"""Maximum number of steps of a history."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Source of the weights, and what was done to them on import."""

    source: str
    """File name, catalogue name, or :data:`TRAINED_HERE`."""
    sha256: str | None = None
    dialect: str | None = None
    licence: str | None = None
    folded: bool = False
    """True if BatchNorm was folded into the convolutions before the import.

    Such a BatchNorm is an identity that carries the bias. The network is rebased on photos before
    it is trained.
    """
    note: str = ""
    rebased_on: RebasedOn = ""
    """Photos on which the import measured the statistics of a folded BatchNorm.

    '' means that the statistics are the checkpoint's own, or that BatchNorm is still folded.
    """
    preprocessing: str = ""
    """Sentence on how the import chose the preprocessing; '' if the file's own config said it."""
    untrained_classifier: bool = False
    """True if the file had no classifier, so that the network gives features, not classes."""
    history: tuple[str, ...] = ()
    """Steps that made these weights, a sentence each, the latest first."""

    def __post_init__(self) -> None:
        for name in ("source", "note", "preprocessing"):
            object.__setattr__(self, name, encodable(getattr(self, name)))
        if len(self.history) > MOST_STEPS:  # the last is where the weights come from
            object.__setattr__(self, "history", (*self.history[: MOST_STEPS - 1], self.history[-1]))

    def __repr__(self) -> str:
        return short_repr(self, sha256=f"'{(self.sha256 or '')[:12]}...'", note="")

    def followed_by(self, step: str) -> "Origin":
        """Return the origin of a network that a step has made of this one.

        What was true of the old network alone is left out: its file and checksum, its note, how its
        import chose the preprocessing, and that its classifier was untrained.
        """
        return Origin(
            TRAINED_HERE, licence=self.licence, folded=self.folded, rebased_on=self.rebased_on,
            history=(step, *self.history),
        )  # fmt: skip

    @property
    def needs_own_photos(self) -> bool:
        """True if training first measures the BatchNorm statistics on its own photos."""
        return self.folded or self.rebased_on == "built-in photos"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Model folder that a network in memory came from, with a fingerprint of its weights."""

    name: str
    """Name of the model in the history of another one."""
    origin: Origin | None
    """Origin of the weights at that time."""
    body: str
    """Checksum of all weights but the classifier's."""
    classifier: str


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Contents of ``config.json``: everything but the arrays."""

    spec: NetworkSpec
    preprocessing: Preprocessing
    labels: Labels
    origin: Origin | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """Measured figures by name, e.g. ``validation.top1``, as fractions, not percent."""
    format_version: int = FORMAT_VERSION
    loaded: Loaded | None = field(default=None, compare=False, metadata=UNSTORED)
    """Weights that a network was loaded with; no file has it."""

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise SpecError(
                f"format_version {self.format_version!r} is not {FORMAT_VERSION}; "
                "this model folder needs another version of mobilenetv2"
            )
        if len(self.labels) != self.spec.classes:
            raise SpecError(f"{len(self.labels)} labels for {self.spec.classes} classes")
        expected = {"first": 0, "last": self.spec.classes - 1, None: None}[self.spec.background]
        if self.labels.background != expected:
            raise SpecError(
                f"the labels' background class is {self.labels.background}, "
                f"the network's is {expected}"
            )
        if self.preprocessing.channels != self.spec.input_channels:
            raise SpecError(
                f"preprocessing gives {self.preprocessing.channels} channels, "
                f"the network takes {self.spec.input_channels}"
            )
        if self.preprocessing.size != self.spec.size:
            raise SpecError(
                f"preprocessing gives {self.preprocessing.size} pixels, "
                f"the network takes {self.spec.size}"
            )

    def __repr__(self) -> str:
        return short_repr(self, metrics=f"<{len(self.metrics)} figures>")

    @property
    def size(self) -> Size:
        """Height and width of the network's input, in pixels."""
        return self.spec.size

    @property
    def channels(self) -> int:
        """Number of channels of the network's input."""
        return self.spec.input_channels

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.spec.classes

    @property
    def outputs(self) -> Outputs:
        """Meaning of the outputs."""
        return self.spec.classifier.outputs

    @property
    def name(self) -> str:
        """Name of the network in the history of another one."""
        if self.loaded is not None:
            return self.loaded.name
        if self.origin is not None and self.origin.source != TRAINED_HERE:
            return self.origin.source
        return f"a network of {counted(self.classes, 'class')}"

    @property
    def output_names(self) -> tuple[str, ...]:
        """Class name of each logit; a single logit stands for the second of two classes."""
        return self.labels.names[-self.spec.logits :]

    @classmethod
    def default(cls, spec: NetworkSpec) -> "ModelConfig":
        """Return a config for a new network: default preprocessing and numbered labels."""
        return cls(
            spec, Preprocessing.default(spec), Labels.numbered(spec.classes, spec.background)
        )

    def to_json(self) -> str:
        """Return indented JSON that ends in a newline."""
        return json.dumps(to_mapping(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], where: str) -> "ModelConfig":
        """Build a config from what :meth:`to_json` wrote.

        Raises:
            SpecError: a key or value does not fit; the message begins with ``where``.
        """
        return from_mapping(cls, mapping, where)
