"""Audit as one HTML page with thumbnails, without scripts and without other files."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from mobilenetv2 import __version__
from mobilenetv2.auditing.inspection import Inspection
from mobilenetv2.auditing.issues import LEVELS, Issue
from mobilenetv2.data.dataset import Dataset, Photo
from mobilenetv2.errors import ImageError
from mobilenetv2.evaluation.report.html import Child, Markup, definitions, document, element
from mobilenetv2.evaluation.report.tables import count_table
from mobilenetv2.images.display import data_url
from mobilenetv2.progress import track
from mobilenetv2.text import counted

MOST_GROUPS, MOST_IN_GROUP = 24, 6
"""Maximum numbers of groups per issue and photos per group on the page; audit.json has all."""
LARGEST = 208
"""Length of a thumbnail's longer side, in pixels."""

STYLE = """
.found { margin: 1.25rem 0 0; padding-top: 1rem; border-top: 1px solid var(--line); }
.found:first-of-type { margin: 0; padding: 0; border: 0; }
.found > .gallery { margin-top: 0.75rem; grid-template-columns: none; display: flex;
  flex-wrap: wrap; }
.together { display: flex; flex-wrap: wrap; gap: 0.5rem; padding: 0.6rem;
  background: var(--glow); border-radius: 10px; }
.gallery figure { width: 9rem; }
.gallery img { display: block; width: 100%; height: 8.5rem; object-fit: contain;
  background: var(--paper); border-radius: 6px; }
.gallery .blank { display: grid; height: 8.5rem; place-items: center; color: var(--soft);
  background: var(--paper); border-radius: 6px; font-size: 0.8rem; }
#grave h2 { color: rgb(var(--red)); }
"""


def audit_html(seen: Inspection, issues: Sequence[Issue], dataset: Dataset) -> str:
    """Return the whole file.

    Args:
        issues: the most severe first.
        dataset: source of the thumbnails; a photo that no longer exists has none.
    """
    shown = thumbnails(seen, issues, dataset)
    name = Path(seen.place).name or seen.place
    sections: list[Child] = []
    for level, title in LEVELS.items():
        here = [one for one in issues if one.level == level]
        if here:
            parts = [_issue(seen, one, shown) for one in here]
            sections.append(element("section", element("h2", title), parts, id=level))
    if not sections:
        sections.append(element("section", element("p", "No problems found.", class_="lead")))
    body = element(
        "body",
        element("header", element("h1", name), element("p", _summary(seen), class_="soft")),
        sections,
        element("section", element("h2", "Classes"), _classes(seen), id="classes"),
        element("section", element("h2", "Sizes"), _sizes(seen), id="sizes"),
        element("footer", f"mobilenetv2 {__version__}, {date.today().isoformat()}, {seen.place}"),
    )
    return document(f"{name}: audit", body, STYLE)


def thumbnails(seen: Inspection, issues: Sequence[Issue], dataset: Dataset) -> dict[int, str]:
    """Return data URLs of the photos on the page, by their index."""
    places = sorted(
        {
            place
            for one in issues
            for group in one.groups[:MOST_GROUPS]
            for place in group[:MOST_IN_GROUP]
            if seen.photos[place].facts is not None
        }
    )
    shown = {}
    for place in track(places, "thumbnails", len(places)):
        entry = seen.photos[place]
        try:
            image = dataset.splits[entry.split].image(Photo(entry.name, entry.label))
        except ImageError:
            continue  # the photo was removed since; the page shows a placeholder
        shown[place] = data_url(np.asarray(image), LARGEST)
    return shown


def _summary(seen: Inspection) -> str:
    splits = "" if seen.splits == ("all",) else f" in {', '.join(seen.splits)}"
    return (
        f"{counted(len(seen.photos), 'photo')} of {counted(len(seen.classes), 'class')}{splits}, "
        f"{sum(seen.counts()):,} of them readable"
    )


def _issue(seen: Inspection, one: Issue, shown: dict[int, str]) -> Markup:
    groups = [_group(seen, one, group, shown) for group in one.groups[:MOST_GROUPS]]
    more = len(one.groups) - MOST_GROUPS
    return element(
        "div",
        element("h3", one.title),
        element("p", one.advice, class_="soft"),
        element("div", groups, class_="gallery") if groups else None,
        element("p", f"{more:,} more are in audit.json.", class_="soft") if more > 0 else None,
        class_="found", id=one.kind,
    )  # fmt: skip


def _group(seen: Inspection, one: Issue, group: tuple[int, ...], shown: dict[int, str]) -> Markup:
    figures = [_figure(seen, one, place, shown) for place in group[:MOST_IN_GROUP]]
    more = len(group) - MOST_IN_GROUP
    rest = element("p", f"and {more:,} more", class_="soft") if more > 0 else None
    return element("div", figures, rest, class_="together" if len(group) > 1 else None)


def _figure(seen: Inspection, one: Issue, place: int, shown: dict[int, str]) -> Markup:
    photo = seen.photos[place]
    class_ = seen.classes[photo.label]
    where = "" if photo.split == "all" else f" · {photo.split}"
    note = one.notes.get(place)
    return element(
        "figure",
        element("img", src=shown[place], alt=f"a photo of {class_}")
        if place in shown
        else element("div", "no image", class_="blank"),
        element(
            "figcaption", element("b", class_), where,
            [element("br"), note] if note else None,
            element("span", element("bdi", photo.name), class_="file", title=photo.name),
        ),
    )  # fmt: skip


def _classes(seen: Inspection) -> Markup:
    splits = seen.splits if len(seen.splits) > 1 else ()
    counted_in = {split: seen.counts(split) for split in splits}
    counted_in["together" if splits else "photos"] = counts = seen.counts()
    columns = {
        title: dict(zip(seen.classes, numbers, strict=True))
        for title, numbers in counted_in.items()
    }
    order = sorted(range(len(counts)), key=lambda label: counts[label])
    return count_table(columns, [seen.classes[label] for label in order])


def _sizes(seen: Inspection) -> Child:
    sizes = seen.sizes()
    if not sizes:
        return element("p", "No photo can be read.", class_="lead")
    rows: list[tuple[str, Child]] = []
    for name, values in sizes.items():
        least, median, most = (f"{v:.2f}" if name == "aspect" else f"{v:,.0f}" for v in values)
        rows.append((name, f"{least} to {most}, median {median}"))
    rows += [(f"mode {mode}", f"{count:,}") for mode, count in seen.modes().items()]
    return definitions(rows)
