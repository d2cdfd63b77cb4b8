"""Audit of labelled photos before training: all problems in one record."""

import errno
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.auditing.inspection import Inspection, LabelError, find_label_errors, inspect
from mobilenetv2.auditing.issues import LEVELS, Evidence, Issue, find_issues
from mobilenetv2.auditing.page import audit_html
from mobilenetv2.data.dataset import Dataset, open_dataset
from mobilenetv2.errors import ArtifactError, MobileNetV2Error, argument
from mobilenetv2.evaluation.matching import index_note, match
from mobilenetv2.evaluation.report.html import element
from mobilenetv2.evaluation.run_record import TrainedOn, trained_on
from mobilenetv2.files import atomic_folder, require_only, write_atomically
from mobilenetv2.locks import hold
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.progress import say
from mobilenetv2.runtime.loading import load_model
from mobilenetv2.text import counted, json_text, visible

PAGE, FIGURES = "audit.html", "audit.json"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Photo whose label contradicts a model's prediction."""

    photo: str
    """Name of the photo in the data."""
    label: str
    """Label of the photo, from its folder."""
    label_probability: float
    answer: str
    """Class that the model predicts."""
    answer_probability: float
    trained_on: bool
    """True if the model was trained on this photo with this label."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, repr=False)
class Audit:
    """Issues of a set of labelled photos, the most severe first."""

    inspection: Inspection
    """Facts about every photo, and the copies among them."""
    issues: tuple[Issue, ...]
    """Issues, the most severe first; 'grave' issues spoil training or its figures."""
    suspicious: tuple[Doubt, ...]
    """Photos whose labels contradict the predictions, the most confident prediction first."""
    model: str | None
    """Name of the model that checked the labels; None without one."""
    trained_on: int
    """Number of the photos that the model was trained on."""
    _dataset: Dataset = field(compare=False)

    @property
    def counts(self) -> dict[str, int]:
        """Number of readable photos of each class."""
        return dict(zip(self.inspection.classes, self.inspection.counts(), strict=True))

    def photos(self, issue: Issue) -> list[tuple[str, ...]]:
        """Return the names of an issue's photos; a tuple is a group, such as copies."""
        entries = self.inspection.photos
        return [tuple(entries[place].name for place in group) for group in issue.groups]

    def __repr__(self) -> str:
        photos = counted(len(self.inspection.photos), "photo")
        kinds = ", ".join(one.kind for one in self.issues) or "no problems"
        return f"<Audit of {self.inspection.place}, {photos}: {kinds}>"

    def _repr_html_(self) -> str:
        rows = [
            [LEVELS[one.level], one.title, one.advice]
            for one in self.issues
        ] or [["", "No problems found.", ""]]  # fmt: skip
        photos = counted(len(self.inspection.photos), "photo")
        return element(
            "table",
            element("caption", f"{self.inspection.place}: {photos}"),
            [element("tr", [element("td", cell) for cell in row]) for row in rows],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **self.inspection.to_dict(),
            "model": self.model,
            "trained_on": self.trained_on,
            "suspicious": [one.to_dict() for one in self.suspicious] if self.model else None,
            "findings": [one.to_dict(self.inspection) for one in self.issues],
        }

    def save(self, folder: str | PathLike[str]) -> None:
        """Write ``audit.html``, a page with thumbnails, and ``audit.json`` to a folder.

        An earlier audit is replaced as a whole. The page contains small copies of photos.

        Args:
            folder: path of the folder to create.

        Raises:
            InUse: another process writes the folder.
            MobileNetV2Error: the path is the current folder.
            OSError: the folder contains other files, or cannot be written.
        """
        place = Path(folder)
        with hold(place, allowed=partial(require_place, place)), atomic_folder(place) as made:
            write_atomically(made / FIGURES, json_text(self.to_dict(), indent=1) + "\n")
            write_atomically(made / PAGE, audit_html(self.inspection, self.issues, self._dataset))
        say(f"audit: {visible(str(place / PAGE))}")


def audit(
    data: str | PathLike[str],
    *,
    model: AnyModel | None = None,
    output: str | PathLike[str] | None = None,
    runtime: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    flips: bool = False,
    ignore: str | Sequence[str] = (),
    zip_encoding: str | None = None,
) -> Audit:
    """Find problems in labelled photos: leaks, copies, damaged files, wrong labels.

    Args:
        data: folder or archive of class folders, with or without splits; a table of photos and
            labels (.csv, .tsv, .jsonl, .parquet); or 'digits'.
        model: model folder, published name, exported file, or network of any edition, with the
            classes of the photos. It finds labels that contradict its confident predictions.
            Default: labels are not checked.
        output: folder for a page with thumbnails and the findings as JSON; an earlier audit in it
            is replaced. Default: nothing is written.
        runtime: runtime of the model, such as 'openvino' or 'torch'; default: the model's default.
        device: 'cpu' (default), or a device of PyTorch such as 'cuda' or 'mps'.
        threads: number of threads; default: the runtime's own choice.
        flips: True to average the predictions for each photo and its mirror image.
        ignore: patterns of names of files and folders that are passed over, such as "raw*" or
            "hat/old"; a pattern with a '/' is matched with the path below the data.
        zip_encoding: encoding of names in an archive that are not marked as UTF-8, such as 'gbk'.
            Default: UTF-8, else code page 437.

    Returns:
        The findings, the most severe first.

    Raises:
        DataError: there are no labelled photos, or the model has other classes.
        WeightsError: the model cannot be downloaded or read.
        ArtifactError: options of a model are given without one, or the runtime cannot run it.
        MissingExtra: the runtime is not installed.
        InUse: another process writes ``output``.

    Example:
        >>> found = mn.audit(photos, output="audit")
        >>> found.counts
        {'hat': 12, 'shoes': 12}
        >>> [issue.level for issue in found.issues if issue.kind == "leak"]
        []
        >>> sorted(path.name for path in (folder / "audit").iterdir())
        ['audit.html', 'audit.json']
    """
    place = None if output is None else Path(output)
    allowed = None if place is None else partial(require_place, place)
    if place is not None:
        # Listing photos may take long, so the disk is tried first. The folder is given back,
        # because it may lie among the photos, where it would look like a class.
        with hold(place, allowed=allowed):
            pass
    dataset = open_dataset(fspath(data), ignore, zip_encoding)
    with nullcontext() if place is None else hold(place, allowed=allowed):
        if model is None:
            if runtime is not None or threads is not None or device != "cpu" or flips:
                options = ", ".join(map(argument, ("runtime", "threads", "device", "flips")))
                raise ArtifactError(f"{options} are for a model; give {argument('model')}, too")
            inspection, _ = inspect(dataset)
            found = Audit(
                inspection, tuple(find_issues(Evidence(inspection))), (), None, 0, dataset
            )
        else:
            with located(model) as given:
                loaded = load_model(
                    given.place, runtime=runtime, device=device, threads=threads, flips=flips
                )
                config = loaded.config
                outputs = np.array(match(dataset.classes, config.labels, dataset.place))
                if by_index := index_note(dataset.classes, config.labels):
                    say(f"note: {by_index}")
                inspection, logits = inspect(dataset, config.preprocessing, loaded.predict)
                known = trained_on(given.place)
            errors: list[LabelError] = []
            learnt, here = 0, True
            if logits is not None:
                likely = probabilities(logits, config.outputs)[:, outputs]
                errors, learnt = _doubted(inspection, likely, known)
                here = known.here(fspath(data))
            evidence = Evidence(inspection, errors, config.preprocessing.size, learnt, here)
            doubts = tuple(_named(inspection, error) for error in errors)
            issues = tuple(find_issues(evidence))
            found = Audit(inspection, issues, doubts, given.name, learnt, dataset)
        if place is not None:
            found.save(place)
    return found


def require_place(folder: Path) -> None:
    """Raise if a folder can neither be created nor is an earlier audit to replace."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", str(folder))
    if folder.exists() and folder.samefile(Path.cwd()):
        raise MobileNetV2Error(f"output {folder} is the current folder; choose a new folder")
    require_only(folder, (PAGE, FIGURES))


def _doubted(
    inspection: Inspection, likely: NDArray, known: TrainedOn
) -> tuple[list[LabelError], int]:
    """Return the label errors, and the number of photos that the model was trained on.

    Args:
        inspection: facts about the photos.
        likely: probabilities, float (photos, classes), of the set's classes only.
        known: photos that the model was trained on.
    """
    learnt = np.array([known.parts.get(photo.name) == "train" for photo in inspection.photos])
    labels = np.array([photo.label for photo in inspection.photos])
    return find_label_errors(likely, labels, learnt), int(learnt.sum())


def _named(inspection: Inspection, error: LabelError) -> Doubt:
    classes = inspection.classes
    return Doubt(
        inspection.photos[error.photo].name, classes[error.label], error.of_label,
        classes[error.answer], error.of_answer, error.trained_on,
    )  # fmt: skip
