"""Every name that a network goes by, and the published weights that a name stands for.

Names are aliases (``spec.aliases``: 'mobilenetv2_100'), the catalogue's ('timm-100') and published
families ('timm', at any width and size).
"""

from collections import defaultdict
from collections.abc import Iterable

from mobilenetv2.errors import SpecError, WeightsError
from mobilenetv2.hub import catalogue
from mobilenetv2.hub.catalogue import Checkpoint
from mobilenetv2.spec.aliases import Alias, aliases
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.published import PUBLISHED, published

FAMILIES = (*PUBLISHED, "small")


def known_names() -> list[str]:
    """Return every name, aliases first: within each kind as their tables have them."""
    return list(dict.fromkeys((*aliases(), *FAMILIES, *catalogue.catalogue())))


def has_weights(name: str) -> bool:
    """Return whether weights are published for a name of :func:`known_names`."""
    try:
        return bool(weights_of(name))
    except WeightsError:
        return False


def spec_of(
    name: str,
    width: float | None = None,
    size: int | Size | None = None,
    classes: int | None = None,
) -> NetworkSpec:
    """Return the network that a name stands for; nothing is fetched.

    Args:
        width: another width multiplier.
        size: another height and width in pixels.
        classes: another number of classes; a background class is dropped.

    Raises:
        SpecError: an unknown name, a network that only its weights' file describes, or an
            impossible one.
    """
    entry = catalogue.catalogue().get(name)
    if entry and name not in FAMILIES:
        if entry.spec is None:
            raise SpecError(f"{name}: only its file says what network it is; give pretrained=True")
        return entry.spec.at(width, size, classes)
    if name not in aliases() and name not in FAMILIES:
        hint = suggestion(name, FAMILIES, near=known_names())
        raise SpecError(f"network {name!r} is unknown; {hint}")
    changes = {"width": width, "size": size, "classes": classes}
    given = {field: value for field, value in changes.items() if value is not None}
    return published(name, **given)


def weights_of(
    name: str, width: float | None = None, size: int | Size | None = None, tag: str | None = None
) -> str:
    """Return the catalogue's name of the weights that were published for a network.

    Args:
        name: an alias, a catalogue name or a family.
        width: another width multiplier than the name's.
        size: another height and width in pixels than the name's.
        tag: which weights, where there are several, as their publisher calls them
            ('IMAGENET1K_V1', 'ra_in1k', 'imagenet').

    Raises:
        SpecError: an unknown name, or an impossible width or size.
        WeightsError: none were published, or not at this width and size; the message has those
            that were.
    """
    alias = _resolved(name)
    chosen = alias if tag is None else _tagged(alias, tag)
    if chosen.checkpoint and width is None and size is None:
        return chosen.checkpoint
    if alias.family not in FAMILIES:
        raise WeightsError(
            f"{name}: weights are published at width {alias.width:g} and {alias.size} pixels only"
        )
    spec = spec_of(alias.family).at(alias.width if width is None else width, size or alias.size)
    wanted = spec.width, spec.size
    if chosen.checkpoint and wanted == (chosen.width, (chosen.size, chosen.size)):
        return chosen.checkpoint
    offered = _published_in(alias.family)
    fitting = [entry for entry in offered if wanted == (entry.width, (entry.size, entry.size))]
    if fitting:
        return max(fitting, key=lambda entry: entry.top1 or 0).name
    if not offered:
        others = dict.fromkeys(e.preprocessing for e in catalogue.catalogue().values())
        raise WeightsError(
            f"{name}: no weights are published for this network; there are some of "
            f"{', '.join(filter(None, others))}"
        )
    sides = "x".join(map(str, dict.fromkeys(spec.size)))
    raise WeightsError(
        f"{name}: no weights are published at width {spec.width:g} and {sides} pixels; there are "
        f"{_offers(offered)} pixels"
    )


def family_of(name: str) -> str:
    """Return the published family of a name.

    Raises:
        SpecError: an unknown name.
    """
    return _resolved(name).family


def _resolved(name: str) -> Alias:
    """Return the record of any name."""
    if found := aliases().get(name):
        return found
    if entry := catalogue.catalogue().get(name):
        return Alias(name, entry.preprocessing or name, entry.width, entry.size, name)
    spec = spec_of(name)
    return Alias(name, name, spec.width, spec.size[0], None)


def _tagged(alias: Alias, tag: str) -> Alias:
    """Return what a publisher's tag of weights, or a name of them, stands for."""
    known = aliases()
    found = known.get(f"{alias.name}.{tag}") or known.get(tag)
    if found is None and tag in catalogue.catalogue():
        found = _resolved(tag)
    if found is None or found.family != alias.family or found.width != alias.width:
        start = f"{alias.name}."
        there = ", ".join(name.removeprefix(start) for name in known if name.startswith(start))
        raise WeightsError(
            f"{alias.name}: no weights are called {tag!r}; "
            + (f"there are {there}" if there else "pretrained=True takes those that there are")
        )
    return found


def _published_in(family: str) -> list[Checkpoint]:
    """Return the checkpoints of a family that have a classifier."""
    entries = catalogue.catalogue().values()
    return [entry for entry in entries if entry.preprocessing == family and entry.classes]


def _offers(entries: Iterable[Checkpoint]) -> str:
    """Return widths and sizes as 'width 0.5, 1 at 160, 224; width 1.4 at 224'."""
    sizes: dict[float, set[int]] = defaultdict(set)
    for entry in entries:
        sizes[entry.width].add(entry.size)
    widths: dict[str, list[str]] = defaultdict(list)
    for width in sorted(sizes):
        widths[", ".join(map(str, sorted(sizes[width])))].append(f"{width:g}")
    return "; ".join(f"width {', '.join(alike)} at {sides}" for sides, alike in widths.items())
