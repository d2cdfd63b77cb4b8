"""Results of a prediction for one photo: classes, features, or the error of an unreadable one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import ImageError, OutputError
from mobilenetv2.model.outputs import answering_classes
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import Labels
from mobilenetv2.text import escaped, percent, visible

SHOWN = 5
"""Number of classes that a notebook shows."""


@dataclass(frozen=True, slots=True)
class Guess:
    """Class with its probability."""

    index: int
    label: str
    probability: float

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {"index": self.index, "label": self.label, "probability": self.probability}


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """Prediction for one photo: a probability for each class."""

    probabilities: NDArray
    """Probabilities, float64 (classes,). They sum to 1, except with 'sigmoid' outputs, where each
    class has an independent probability."""
    labels: Labels
    outputs: Outputs = "softmax"
    """Kind of the outputs: 'softmax' or 'logit' for one class a photo, 'sigmoid' for any number."""
    photo: Path | None = None
    """The photo's file; None for a photo in memory."""
    error: ClassVar[None] = None
    """Always None: the photo was read. An :class:`Unreadable` has an error here."""

    @property
    def index(self) -> int:
        """Index of the most probable class."""
        return self.top(1)[0].index

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.labels.names[self.index]

    @property
    def probability(self) -> float:
        """Probability of the most probable class, 0 to 1."""
        return float(self.probabilities[self.index])

    def top(self, count: int = 5) -> list[Guess]:
        """Return the most probable classes, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[: max(0, count)]
        return self._guesses(best.tolist())

    def named(self, most: int | None = None) -> list[Guess]:
        """Return the predicted classes, best first, as ``mobilenetv2 predict`` prints them.

        Args:
            most: maximum number of classes; default: 5, or all with 'sigmoid' outputs.

        Returns:
            The most probable classes; with 'sigmoid' outputs, those with a probability above 0.5,
            which may be none.
        """
        return self._guesses(answering_classes(self.probabilities, self.outputs, most))

    def to_dict(self, most: int | None = None) -> dict[str, object]:
        """Return plain values for JSON, as a line of ``mobilenetv2 predict --json``.

        Args:
            most: maximum number of classes; default: 5, or all with 'sigmoid' outputs.
        """
        guesses = [guess.to_dict() for guess in self.named(most)]
        return {"image": _text(self.photo), "predictions": guesses}

    def _guesses(self, indices: Sequence[int]) -> list[Guess]:
        names = self.labels.names
        return [Guess(index, names[index], float(self.probabilities[index])) for index in indices]

    def __repr__(self) -> str:
        best = ", ".join(f"{guess.label} {percent(guess.probability)}" for guess in self.top(3))
        return f"Answer({_before(self.photo)}{best})"

    def _repr_html_(self) -> str:
        rows = "".join(_bar(guess) for guess in self.top(SHOWN))
        return f"<table>{_caption(self.photo)}{rows}</table>"


@dataclass(frozen=True, slots=True, repr=False)
class Features:
    """Pooled features of one photo, the input of the classifier."""

    features: NDArray
    """Features, float32 (features,)."""
    photo: Path | None = None
    """The photo's file; None for a photo in memory."""
    error: ClassVar[None] = None
    """Always None: the photo was read. An :class:`Unreadable` has an error here."""

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON, as a line of ``mobilenetv2 predict --features --json``."""
        return {"image": _text(self.photo), "features": [float(x) for x in self.features]}

    def __repr__(self) -> str:
        return f"Features({_before(self.photo)}{len(self.features):,} numbers)"


@dataclass(frozen=True, slots=True, repr=False)
class Unreadable:
    """Result for a photo without an answer: no class, and the error with the reason.

    The photo cannot be read, or the model's outputs for it are not finite.
    """

    error: ImageError | OutputError
    photo: Path | None = None
    """The photo's file; None for a photo in memory."""
    index: ClassVar[None] = None
    label: ClassVar[None] = None
    probability: ClassVar[float] = math.nan
    probabilities: ClassVar[NDArray] = np.zeros(0)

    def top(self, count: int = 5) -> list[Guess]:
        """Return an empty list."""
        return []

    def named(self, most: int | None = None) -> list[Guess]:
        """Return an empty list."""
        return []

    def to_dict(self, most: int | None = None) -> dict[str, object]:
        """Return plain values for JSON, as a line of ``mobilenetv2 predict --json``."""
        return {"image": _text(self.photo), "error": str(self.error)}

    def __repr__(self) -> str:
        return f"Unreadable({self.error})"

    def _repr_html_(self) -> str:
        return f"<p>Unreadable: {_escaped(str(self.error))}</p>"


def outputs_of(
    predict: Callable[[NDArray], NDArray], pictures: NDArray, names: Sequence[str]
) -> list[NDArray | OutputError]:
    """Return the outputs of each picture, or the error if they are not finite.

    Args:
        predict: function from pictures to outputs, for any number of them.
        pictures: uint8 (pictures, height, width, channels); at least one.
        names: name of each picture's photo, for the errors.
    """
    try:
        return list(predict(pictures))
    except OutputError as error:
        if len(pictures) == 1:
            return [OutputError(f"{names[0]}: {error}")]
    return [
        outputs
        for at, name in enumerate(names)
        for outputs in outputs_of(predict, pictures[at : at + 1], [name])
    ]


def _text(photo: Path | None) -> str | None:
    return None if photo is None else escaped(photo)


def _before(photo: Path | None) -> str:
    return "" if photo is None else f"{escaped(photo)}: "


def _escaped(text: str) -> str:
    import html  # only notebooks need it

    return html.escape(visible(text))


def _caption(photo: Path | None) -> str:
    return "" if photo is None else f"<caption>{_escaped(escaped(photo))}</caption>"


def _bar(guess: Guess) -> str:
    width = 0 if math.isnan(guess.probability) else 100 * guess.probability
    bar = f'<div style="background:#4a7ebb;height:0.8em;width:{width:.1f}%"></div>'
    return (
        f"<tr><th>{_escaped(guess.label)}</th><td>{percent(guess.probability)}</td>"
        f'<td style="width:12em">{bar}</td></tr>'
    )
