"""A page read by Python's own parser, and a result of photos that are made here."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.evaluation.predictions import Predictions
from mobilenetv2.evaluation.report.result import Result
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

VOID = {"meta", "link", "img", "br"}


class Read(HTMLParser):
    """Elements in order, what they are in, texts; an element closed in the wrong place fails."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(markup)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: {tag} {names}"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def of(self, tag: str, class_: str = "") -> list[dict[str, str]]:
        """Attributes of the elements of that name (and class)."""
        return [
            found
            for name, found in self.elements
            if name == tag and (not class_ or class_ in found.get("class", "").split())
        ]

    def text(self, *tags: str) -> str:
        """All text, or that directly in elements of these names."""
        return "".join(text for tag, text in self.texts if not tags or tag in tags)


@pytest.fixture
def parse() -> Callable[[str], Read]:
    return Read


@pytest.fixture
def make_result(photos: Path) -> Callable[..., Result]:
    """A result of the 36 photos; answers are drawn, the right one mostly the likeliest."""

    def make(
        metrics: dict[str, float] | None = None,
        names: tuple[str, ...] = ("ball", "box", "triangle"),
        scale: float = 1.0,
        outputs: Outputs = "softmax",
        several: bool = False,
    ) -> Result:
        spec = published("small", width=0.1, classes=len(names))
        config = ModelConfig(spec, Preprocessing.default(spec), Labels(names), None, metrics or {})
        split = open_dataset(photos).splits["all"]
        truth = np.array([photo.label for photo in split.photos])
        logits = np.random.default_rng(0).normal(0, 1, (len(split), len(names)))
        logits[np.arange(len(split)), truth] += 1.5
        if outputs == "logit":
            truth, logits, names = np.minimum(truth, 1), logits[:, 1:2] - logits[:, :1], names[:2]
        if several:  # the first class of a photo, and sometimes the next
            truth = np.eye(len(names), dtype=bool)[truth]
            truth[::5] |= np.roll(truth, 1, 1)[::5]
            truth[7] = False
        return Result.of(
            "models/shapes",
            "photos",
            split,
            config,
            Predictions(scale * logits, truth, names, outputs),
        )

    return make
