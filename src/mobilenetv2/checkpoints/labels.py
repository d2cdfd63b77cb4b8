"""Lists of class names as they lie beside and inside foreign files."""

from typing import Literal

from mobilenetv2.errors import DialectError
from mobilenetv2.spec.records import Labels


def read_labels(text: str) -> Labels:
    """One name a line, in the order of the outputs; ImageNet's are recognised.

    A first or last line that says 'background' is the background class.
    """
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    background = None
    for index in (0, len(names) - 1):
        if names and names[index].lower() == "background":
            background = index
    imagenet = Labels.imagenet("first") if background == 0 else Labels.imagenet()
    if len(names) == len(imagenet) and _alike(names, imagenet.names):
        return imagenet
    return Labels(names, background=background)


def _alike(names: tuple[str, ...], table: tuple[str, ...]) -> bool:
    """Lists differ in which synonyms they give ('crane' or 'crane bird'), not in most of them."""
    synonyms = [
        ({word.strip().lower() for word in text.split(",")} for text in pair)
        for pair in zip(names, table, strict=True)
    ]
    return sum(bool(mine & theirs) for mine, theirs in synonyms) >= 0.8 * len(names)


def usual_labels(classes: int) -> Labels:
    """ImageNet's for 1,000 outputs, with the background first for 1,001, else numbers."""
    if classes == 1000:
        return Labels.imagenet()
    return Labels.imagenet("first") if classes == 1001 else Labels.numbered(classes)


def background_of(labels: Labels, classes: int) -> Literal["first", "last"] | None:
    """Where the labels have their background class.

    Raises:
        DialectError: there are more or fewer labels than outputs, or it is in their midst.
    """
    if len(labels) != classes:
        raise DialectError(f"{len(labels)} labels for {classes} outputs")
    places: dict[int | None, Literal["first", "last"] | None]
    places = {None: None, classes - 1: "last", 0: "first"}
    if labels.background not in places:
        raise DialectError(f"the background class is neither first nor last: {labels.background}")
    return places[labels.background]
