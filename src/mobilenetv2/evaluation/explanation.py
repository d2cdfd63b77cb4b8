"""Explanations of answers: the parts of a photo that support a class (Grad-CAM), with drawings."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.data.photos import Photos, collect, is_several
from mobilenetv2.errors import DataError, ImageError, MobileNetV2Error, OutputError, argument
from mobilenetv2.evaluation.gradcam import (
    Whereabouts,
    class_weights,
    colours,
    heat,
    overlay,
    whereabouts,
)
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.stage_maps import StageMaps, draw_stage_maps, load_stage_maps
from mobilenetv2.files import write_atomically
from mobilenetv2.hub.catalogue import EMBEDDED
from mobilenetv2.images.display import Legend, Tile, enlarge_picture, legible, sheet
from mobilenetv2.images.notes import Note, summaries
from mobilenetv2.images.photo import Photo, network_picture_noted, path_of
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.networks.given_model import AnyModel
from mobilenetv2.progress import say, track
from mobilenetv2.runtime.answers import Answer, Guess, Unreadable
from mobilenetv2.runtime.loading import load_network
from mobilenetv2.runtime.predictor import FeatureMap
from mobilenetv2.runtime.stream import MEMORY
from mobilenetv2.spec.records import Labels
from mobilenetv2.text import escaped, nearest, percent

TOP = 3
"""Default number of classes to explain."""
SIDE = 288
"""Longer side of a drawn image in pixels."""
ENDING, LAYERS_ENDING = "-explained", "-layers"
"""Suffixes of the names of drawings in a folder: heat maps, and maps of the stages."""
PNG = ".png"
TEXT = "Coloured parts support the class, grey parts do not. Each image has its own colour scale."
"""Legend of a drawing."""
MOST_NAMED = 10
"""Largest number of classes in an error message."""


@dataclass(frozen=True, slots=True, repr=False)
class Evidence:
    """The evidence for one class on one photo."""

    index: int
    label: str
    probability: float
    heat: NDArray
    """Evidence in each cell of the last feature map, float32 (height', width') from 0 to 1."""
    place: Whereabouts
    """Place of the evidence on the photo, in numbers and words."""

    @property
    def where(self) -> str:
        """Place of the evidence: 'upper left', 'right', 'centre' ...; 'nowhere' without any."""
        return self.place.words

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "index": self.index, "label": self.label, "probability": self.probability,
            "heat": {
                "where": self.place.words, "centre": self.place.centre, "rows": self.place.rows,
                "columns": self.place.columns, "cells": self.heat.shape,
            },
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"Evidence({self.label} {percent(self.probability)}, {self.where})"


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """The answer to one photo, and the places on the photo that support its classes."""

    answer: Answer
    evidence: tuple[Evidence, ...]
    """Evidence for the requested classes, else for the most probable ones, best first."""
    picture: NDArray
    """Input of the network before normalisation, uint8 (height, width, channels)."""
    written: Path | None = None
    """Path of the drawing; None without ``output``."""
    layers: tuple[StageMaps, ...] = ()
    """Strongest channels of each stage's output; only with ``layers=True``."""

    @property
    def photo(self) -> Path | None:
        """Path of the photo; None for a photo in memory."""
        return self.answer.photo

    @property
    def error(self) -> None:
        """Always None, since the photo was read; unlike in :class:`runtime.answers.Unreadable`."""

    @property
    def heat(self) -> NDArray:
        """Evidence for the first class, float32 (height', width') from 0 to 1."""
        return self.evidence[0].heat

    @property
    def where(self) -> str:
        """Place of the evidence for the first class: 'upper left', 'right', 'centre' ..."""
        return self.evidence[0].where

    @property
    def image(self) -> Image.Image:
        """Heat map of the first class over the photo in grey, as a Pillow image."""
        return Image.fromarray(overlay(enlarge_picture(self.picture, SIDE), self.heat))

    def top(self, count: int = 5) -> list[Guess]:
        """Return the most probable classes, best first."""
        return self.answer.top(count)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a PNG file with the photo and the heat map of each class, or with the layers.

        Raises:
            OSError: the file cannot be written.
        """
        write_atomically(Path(path), self._repr_png_())

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON, as ``mobilenetv2 explain --json`` prints them."""
        found: dict[str, object] = {
            "image": None if self.photo is None else escaped(self.photo),
            "picture": None if self.written is None else escaped(self.written),
            "explanations": [one.to_dict() for one in self.evidence],
        }
        if self.layers:
            found["layers"] = [one.to_dict() for one in self.layers]
        return found

    def __repr__(self) -> str:
        name = "" if self.photo is None else f"{escaped(self.photo)}: "
        shares = "; ".join(repr(one).removeprefix("Evidence(")[:-1] for one in self.evidence)
        return f"Explanation({name}{shares})"

    def _repr_png_(self) -> bytes:
        height, width = self.picture.shape[:2]
        name = escaped(self.photo.name) if self.photo else "photo"
        if self.layers:
            return draw_stage_maps(self.picture, name, self.layers)
        large = enlarge_picture(self.picture, SIDE)
        tiles = [Tile(large, name, f"as the network sees it, {height} x {width}")]
        for one in self.evidence:
            detail = percent(one.probability)
            if legible(one.label).count("?") > one.label.count("?"):
                detail += f", class {one.index}"
            tiles.append(Tile(overlay(large, one.heat), one.label, detail))
        strip = np.asarray(colours(np.linspace(0, 1, 64)), np.uint8)
        return sheet(tiles, Legend(TEXT, strip, "some", "most"))


Classes = str | int | Sequence[str | int]
Several = list[Any] | tuple[Any, ...] | Iterator[Any]
"""Several photos, each a :data:`images.photo.Photo` or a folder."""


@overload
def explain(
    photos: Photo, model: AnyModel = EMBEDDED, *, classes: Classes = (),
    top: int = TOP, runtime: str | None = None, threads: int | None = None,
    output: str | PathLike[str] | None = None, overwrite: bool = False, layers: bool = False,
) -> Explanation: ...  # fmt: skip


@overload
def explain(
    photos: Several, model: AnyModel = EMBEDDED, *, classes: Classes = (),
    top: int = TOP, runtime: str | None = None, threads: int | None = None,
    output: str | PathLike[str] | None = None, overwrite: bool = False, layers: bool = False,
) -> list[Explanation | Unreadable]: ...  # fmt: skip


def explain(
    photos: Photo | Several,
    model: AnyModel = EMBEDDED,
    *,
    classes: Classes = (),
    top: int = TOP,
    runtime: str | None = None,
    threads: int | None = None,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    layers: bool = False,
) -> Explanation | list[Explanation | Unreadable]:
    """Explain answers by the parts of a photo that support each class (Grad-CAM).

    Args:
        photos: a path, a file's bytes, a Pillow image, or an array uint8 (height, width, 3); a list
            of them; or a folder, which is searched recursively.
        model: a model folder, an exported ONNX or Keras file, a catalogue name,
            ``hf://OWNER/NAME``, a network of any edition, or the run of ``train``. Default: the
            embedded model of CIFAR-10's ten classes.
        classes: classes to explain, by label, WordNet id or index. Default: the ``top`` most
            probable classes.
        top: number of classes to explain. Default: 3.
        runtime: the library that runs the model: 'onnxruntime', 'openvino', 'litert' or 'torch'.
            Default: ONNX Runtime.
        threads: number of threads of the runtime. Default: chosen by the runtime.
        output: a .png file for the drawing of one photo, or a folder for several. Default: nothing
            is written.
        overwrite: replace existing drawings. Default: False.
        layers: also compute the feature maps of the photo at the end of each stage, and draw them
            instead of the heat maps: the six channels with the largest standard deviation over the
            map. It takes a model folder, a name or a network, no exported file. Default: False.

    Returns:
        One explanation for one photo; a list for several photos or a folder, in which a photo that
        cannot be read is an :class:`runtime.answers.Unreadable`.

    Raises:
        ImageError: the only photo cannot be read.
        DataError: a photo or class does not exist, or a folder has no photos.
        WeightsError, ArtifactError, SpecError: the model cannot be found, read, run or explained.
        MissingExtra: the runtime is not installed.
        MobileNetV2Error: a drawing exists already, or ``output`` is impossible.

    Example:
        >>> import mobilenetv2 as mn
        >>> explanation = mn.explain(photo)
        >>> explanation.answer.label == explanation.top(1)[0].label
        True
        >>> explanation.where
        '...'
        >>> explanation.image.size
        (288, 288)
        >>> explanation.save("why.png")
        >>> mn.explain(photo, classes="cat").evidence
        (Evidence(cat ...%, ...),)
    """
    named = [classes] if isinstance(classes, str | int) else classes
    made = list(
        explanations(
            photos, model, classes=[str(name) for name in named], top=top, runtime=runtime,
            threads=threads, output=output, overwrite=overwrite, layers=layers,
        )
    )  # fmt: skip
    if isinstance(photos, list | tuple | Iterator) or is_several(photos):
        return made
    (one,) = made
    if isinstance(one, Unreadable):
        raise one.error
    return one


def explanations(
    photos: Photos,
    model: AnyModel = EMBEDDED,
    *,
    classes: Sequence[str] = (),
    top: int = TOP,
    runtime: str | None = None,
    threads: int | None = None,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    layers: bool = False,
    progress: bool = False,
) -> Iterator[Explanation | Unreadable]:
    """Yield the explanations of photos one by one, after writing each drawing.

    Notes on how photos were read are said at the end, on stderr.

    Args:
        progress: show the progress on stderr. Default: False. The other arguments are those of
            :func:`explain`.

    Raises:
        MobileNetV2Error: as in :func:`explain`, before the first explanation.
    """
    if top < 1:
        raise MobileNetV2Error(f"top {top} must be at least 1")
    found = list(collect(photos))
    targets: Iterable[Path | None] = [None] * len(found)
    if output is not None:
        ending = LAYERS_ENDING if layers else ENDING
        paths = [path_of(photo) for photo in found]
        targets = plan_drawings(paths, fspath(output), overwrite, ending)
    stages = load_stage_maps(model) if layers else None
    network = load_network(model, runtime, threads)
    indices = [find_class(name, network.config.labels) for name in classes]

    noted: list[tuple[str, Note]] = []

    def explained() -> Iterator[Explanation | Unreadable]:
        for photo, target in zip(found, targets, strict=True):
            try:
                picture, notes = network_picture_noted(photo, network.config.preprocessing)
                noted.extend((str(path_of(photo) or MEMORY), note) for note in notes)
            except ImageError as error:
                yield Unreadable(error, path_of(photo))
                continue
            try:
                made = explain_picture(network, picture, path_of(photo), target, indices, top)
                if stages is not None:
                    made = replace(made, layers=stages(picture))
            except OutputError as error:
                name = str(path_of(photo) or MEMORY)
                yield Unreadable(OutputError(f"{name}: {error}"), path_of(photo))
                continue
            if target is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.save(target)
            yield made
        for sentence in summaries(noted):
            say(f"note: {sentence}")

    return track(explained(), "explaining", len(found)) if progress else explained()


def explain_picture(
    network: FeatureMap, picture: NDArray, photo: Path | None, target: Path | None,
    indices: list[int], top: int,
) -> Explanation:  # fmt: skip
    """Return the explanation of one picture.

    Args:
        network: the network with its feature map.
        picture: uint8 (height, width, channels) at the network's size.
        photo: path of its photo; None for one in memory.
        target: path where its drawing will be; None for nowhere.
        indices: classes to explain; empty for the ``top`` most probable ones.
        top: number of the most probable classes.

    Raises:
        OutputError: the network's outputs are not finite.
    """
    logits, maps = network.answer(picture[None])
    config = network.config
    outputs, names = config.spec.classifier.outputs, config.labels.names
    shares = probabilities(logits[0], outputs)
    answer = Answer(shares, config.labels, outputs, photo)
    weights = partial(class_weights, config.spec, network.arrays, maps[0])
    evidence = []
    for index in indices or [guess.index for guess in answer.top(top)]:
        map_ = heat(maps[0], weights(index))
        evidence.append(
            Evidence(index, names[index], float(shares[index]), map_, whereabouts(map_))
        )
    return Explanation(answer, tuple(evidence), picture, target)


def plan_drawings(
    photos: Sequence[Path | None], output: str, overwrite: bool = False, ending: str = ENDING
) -> list[Path]:
    """Return the path of the drawing of each photo; equal names get numbers.

    Args:
        photos: paths of the photos; None for photos in memory, which are called 'photo'.
        output: a .png file for one photo, or a folder for any number.
        overwrite: allow existing drawings. Default: False.
        ending: suffix of the names in a folder. Default: '-explained'.

    Raises:
        MobileNetV2Error: ``output`` is one file for several photos, or neither a .png file nor a
            folder; a drawing exists already, or would replace a photo.
    """
    single = output.lower().endswith(PNG) and not Path(output).is_dir()
    if single and len(photos) > 1:
        raise MobileNetV2Error(f"output {output}: one file for {len(photos)} photos; name a folder")
    folder = Path(output)
    if not single and folder.exists() and not folder.is_dir():
        raise MobileNetV2Error(f"output {output}: neither a {PNG} file nor a folder")
    targets: list[Path] = []
    taken: set[str] = set()
    following: dict[str, int] = {}
    for path in photos:
        name = path.stem if path else "photo"
        target, stem = folder, name.casefold()  # some file systems ignore case
        if not single:
            target = folder / f"{name}{ending}{PNG}"
            while target.name.casefold() in taken:
                number = following.get(stem, 2)
                target = folder / f"{name}{ending}-{number}{PNG}"
                following[stem] = number + 1
        taken.add(target.name.casefold())
        targets.append(target)
    there = [target for target in targets if target.exists()]
    # A set, since 10,000 photos and drawings would need 100 million comparisons.
    given = {_file(path) for path in photos if path} if there else set()
    for target in there:
        if _file(target) in given:
            raise MobileNetV2Error(
                f"{target}: is one of the photos; choose another {argument('output')}"
            )
        if not overwrite or target.is_dir():
            raise MobileNetV2Error(
                f"{target}: exists already; choose another {argument('output')}, or give "
                f"{argument('overwrite', True)} to replace it"
            )
    return targets


def _file(path: Path) -> tuple[int, int]:
    """Return the device and inode number of a file, which are equal for two names of one file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def find_class(name: str, labels: Labels) -> int:
    """Return the index of a class, given by label, synonym, WordNet id or index.

    Raises:
        DataError: no class or several classes match; the message names the nearest ones.
    """
    try:
        return match((name,), labels, "class")[0]
    except DataError:
        same = [i for i, label in enumerate(labels.names) if name.casefold() in _synonyms(label)]
        if len(same) > 1:
            raise DataError(
                f"class {name}: {len(same)} classes have this name; give the index instead: "
                f"{' or '.join(map(str, same))}"
            ) from None
        known = {synonym for label in labels.names for synonym in _synonyms(label)}
        near = nearest(name.casefold(), sorted(known))
        some = ", ".join(labels.names[:MOST_NAMED]) + ", ..." * (len(labels) > MOST_NAMED)
        hint = f"did you mean {near[0]!r}?" if near else f"its classes are: {some}"
        raise DataError(
            f"class {name}: the model has no class with this label, WordNet id or index; {hint}"
        ) from None


def _synonyms(label: str) -> list[str]:
    return [synonym.strip().casefold() for synonym in label.split(",")]
