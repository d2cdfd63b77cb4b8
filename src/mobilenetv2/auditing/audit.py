"""The audit of labelled photos, before they are trained on: all that is wrong, as one record."""

import errno
import json
import os
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.auditing.inspection import Inspection, LabelError, find_label_errors, inspect
from mobilenetv2.auditing.issues import LEVELS, Evidence, Issue, find_issues
from mobilenetv2.auditing.page import audit_html
from mobilenetv2.data.dataset import Dataset, open_dataset
from mobilenetv2.errors import ArtifactError, MobileNetV2Error
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.report.html import element
from mobilenetv2.evaluation.run_record import TrainedOn, trained_on
from mobilenetv2.files import atomic_folder, require_only, write_atomically
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.progress import say
from mobilenetv2.runtime.loading import load_model
from mobilenetv2.text import counted, visible

PAGE, FIGURES = "audit.html", "audit.json"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A photo whose label a model doubts."""

    photo: str
    """Its name in the data."""
    label: str
    """The class of its folder."""
    label_probability: float
    answer: str
    """The class that the model takes it for."""
    answer_probability: float
    trained_on: bool
    """The model was trained on this photo with this label, and doubts it all the same."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, repr=False)
class Audit:
    """The issues of a set of labelled photos, the worst first."""

    inspection: Inspection
    """Every photo as it was read, and the copies among them."""
    issues: tuple[Issue, ...]
    """The findings, the worst level first; 'grave' spoils the training or its figures."""
    suspicious: tuple[Doubt, ...]
    """Labels that the model doubts, the most confident disagreement first."""
    model: str | None
    """Name of the model that was asked; None without one."""
    trained_on: int
    """Number of these photos that the model was trained on."""
    _dataset: Dataset = field(compare=False)

    @property
    def counts(self) -> dict[str, int]:
        """Number of readable photos of each class."""
        return dict(zip(self.inspection.classes, self.inspection.counts(), strict=True))

    def photos(self, issue: Issue) -> list[tuple[str, ...]]:
        """Return the names of an issue's photos; those of one tuple belong together."""
        entries = self.inspection.photos
        return [tuple(entries[place].name for place in group) for group in issue.groups]

    def __repr__(self) -> str:
        photos = counted(len(self.inspection.photos), "photo")
        kinds = ", ".join(one.kind for one in self.issues) or "nothing to mend"
        return f"<Audit of {self.inspection.place}, {photos}: {kinds}>"

    def _repr_html_(self) -> str:
        rows = [
            [LEVELS[one.level], one.title, one.advice]
            for one in self.issues
        ] or [["", "Nothing to mend.", ""]]  # fmt: skip
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
        """Write a page with thumbnails, ``audit.html``, and ``audit.json`` as a new folder.

        An older audit is replaced as a whole. The page holds the photos themselves.

        Raises:
            MobileNetV2Error: the current folder.
            OSError: a folder with anything else in it, or one that cannot be written.
        """
        place = Path(folder)
        require_place(place)
        with atomic_folder(place) as made:
            write_atomically(made / FIGURES, json.dumps(self.to_dict(), indent=1) + "\n")
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
) -> Audit:
    """Find what is wrong with labelled photos: leaks, copies, damage, wrong labels.

    Args:
        data: a folder or an archive of class folders, with splits or without, or 'digits'.
        model: a model folder, a published name, an exported file, or a network of any edition,
            whose classes are those of the photos; it finds the labels that it doubts.
        output: a folder for a page with thumbnails and the findings as JSON; an older audit there
            is replaced.
        runtime: what computes the model, such as 'openvino' or 'torch'; None is its default.
        device: of the runtime 'torch': 'cpu', 'cuda', 'mps'.
        threads: threads of the runtime; None is its own number.
        flips: take the mean of the answers for each photo and its mirror image.

    Returns:
        The findings, the worst first.

    Raises:
        DataError: no labelled photos, or classes that are not the model's.
        WeightsError: the model cannot be had or read.
        ArtifactError: options of a model without one, or a runtime that does not run it.
        MissingExtra: what computes the model is not installed.

    Example:
        >>> found = mn.audit(photos, output="audit")
        >>> found.counts
        {'hat': 12, 'shoes': 12}
        >>> [issue.level for issue in found.issues if issue.kind == "leak"]
        []
        >>> sorted(path.name for path in (folder / "audit").iterdir())
        ['audit.html', 'audit.json']
    """
    if output is not None:
        require_place(Path(output))
    dataset = open_dataset(fspath(data))
    if model is None:
        if runtime is not None or threads is not None or device != "cpu" or flips:
            raise ArtifactError(
                "runtime, threads, device and flips are for a model, which is not given"
            )
        inspection, _ = inspect(dataset)
        found = Audit(inspection, tuple(find_issues(Evidence(inspection))), (), None, 0, dataset)
    else:
        with located(model) as given:
            loaded = load_model(
                given.place, runtime=runtime, device=device, threads=threads, flips=flips
            )
            config = loaded.config
            outputs = np.array(match(dataset.classes, config.labels, dataset.place))
            inspection, logits = inspect(dataset, config.preprocessing, loaded.predict)
            known = trained_on(given.place)
        errors: list[LabelError] = []
        learnt, here = 0, True
        if logits is not None:
            likely = probabilities(logits, config.spec.classifier.outputs)[:, outputs]
            errors, learnt = _doubted(inspection, likely, known)
            here = known.here(fspath(data))
        evidence = Evidence(inspection, errors, config.preprocessing.size, learnt, here)
        doubts = tuple(_named(inspection, error) for error in errors)
        issues = tuple(find_issues(evidence))
        found = Audit(inspection, issues, doubts, given.name, learnt, dataset)
    if output is not None:
        found.save(output)
    return found


def require_place(folder: Path) -> None:
    """Raise unless the folder can be made, or is an older audit, which is replaced."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", str(folder))
    if folder.exists() and folder.samefile(Path.cwd()):
        raise MobileNetV2Error(f"output {folder}: the current folder; name one to be made")
    require_only(folder, (PAGE, FIGURES))
    parent = next(p for p in folder.absolute().parents if p.exists())
    if not os.access(parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(parent))


def _doubted(
    inspection: Inspection, likely: NDArray, known: TrainedOn
) -> tuple[list[LabelError], int]:
    """Return the labels that the model doubts, and how many photos it was trained on.

    Args:
        likely: probabilities, float (photos, classes), of the classes of the set. Other outputs of
            the model are not asked for: no folder is theirs.
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
