"""Wrappings of state dicts: prefixes before a network's names, and what else lies beside it.

People save a network inside a module of their own ('model.', 'backbone.'), with a head under
another name, beside a teacher, an average of the weights, a loss or a profiler's counters. The body
is found by the names that only its implementation has, wherever they begin; what remains is its
head (:mod:`~mobilenetv2.checkpoints.dialects.state_head`), or is named in a note.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.description import Normalisation
from mobilenetv2.checkpoints.dialects.tables import KeyTable
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.text import quoted

COUNTERS = re.compile(
    # thop; fvcore and ptflops; AveragedModel; PyTorch's BatchNorm
    r"(^|\.)(total_ops|total_params|__\w+__|n_averaged|num_batches_tracked)$"
)
"""Pattern of the names of counters, which no network computes with."""
AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|avg)([._]|$)", re.I)
"""Pattern of a prefix of averaged weights."""
SECOND = re.compile(r"(^|[._])(teacher|momentum|target|old|reference|encoder_k|key)([._]|$)", re.I)
"""Pattern of a prefix of another network, which only training needs."""
TRAINING = re.compile(
    r"(^|\.)(criterion|criteria|loss|loss_\w+|\w+_loss|losses|\w*metrics?|\w*acc|\w*accuracy"
    r"|optimizer|confusion_matrix|mixup|augment\w*)(\.|$)",
    re.I,
)
"""Pattern of names of what only training needs."""


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A state dict's body under the names of its implementation, and the rest."""

    body: Arrays
    rest: Arrays
    """Arrays of the head, under their names in the file."""
    normalisation: Normalisation | None
    """Mean and standard deviation that a layer before the network holds, for values 0 to 255."""
    normalisation_from: str
    notes: tuple[str, ...]
    """Sentences on what was chosen and left out."""


def unwrap(
    arrays: Arrays, signature: Iterable[str], trunk: str, roots: frozenset[str]
) -> Unwrapped | None:
    """Find a body in a state dict, whatever stands before its names.

    Args:
        signature: names that together only this implementation has.
        trunk: prefix of all names of the body, which a body that was saved alone lacks.
        roots: first parts of the body's names, without the trunk.

    Returns:
        The body with its usual names; None where no names are this implementation's.

    Raises:
        DialectError: several networks, and nothing says which is meant.
    """
    named = {name: array for name, array in arrays.items() if not COUNTERS.search(name)}
    names = tuple(one.removeprefix(trunk) for one in signature)
    prefixes = [
        name.removesuffix(names[0])
        for name in named
        if name == names[0] or name.endswith(f".{names[0]}")
    ]
    prefixes = [p for p in prefixes if all(p + name in named for name in names[1:])]
    if not prefixes:
        return None
    # The same module may be registered under two names.
    distinct = _distinct(named, prefixes, roots)
    chosen, notes = _chosen(distinct)
    body = _below(named, chosen, roots)
    bodies = {name for prefix in prefixes for name in _below(named, prefix, roots).values()}
    rest = {name: array for name, array in named.items() if name not in bodies}
    others = [prefix for prefix in distinct if prefix != chosen]
    rest = _of_network(rest, chosen.removesuffix(trunk), others, trunk)
    training = [name for name in rest if TRAINING.search(name)]
    if training:
        notes.append(f"Left out, as only training needs it: {quoted(training)}.")
        rest = {name: array for name, array in rest.items() if name not in training}
    rest, normalisation, source = _normalisation(rest)
    found = {trunk + name: named[foreign] for name, foreign in body.items()}
    return Unwrapped(found, rest, normalisation, source, tuple(notes))


def roots_of(table: KeyTable, trunk: str) -> frozenset[str]:
    """Return the first parts of the names of a table's body: 'features', or '{n}' for any number.

    Args:
        trunk: prefix that is left out before.
    """
    pairs = (table.stem, *table.first.values(), *table.block.values(), table.head)
    names = (name.removeprefix(trunk) for pair in pairs for name in pair)
    firsts = (name.partition(".")[0] for name in names)
    return frozenset(re.sub(r"\{\w+\}", "{n}", name) for name in firsts)


def _below(named: Arrays, prefix: str, roots: frozenset[str]) -> dict[str, str]:
    """Return the names of a body without the prefix, and with it."""
    found = {}
    for name in named:
        inner = name.removeprefix(prefix)
        root = re.sub(r"\d+", "{n}", inner.partition(".")[0])
        if name.startswith(prefix) and (root in roots or inner.partition(".")[0] in roots):
            found[inner] = name
    return found


def _distinct(named: Arrays, prefixes: list[str], roots: frozenset[str]) -> list[str]:
    """Return one prefix for each network, the shortest."""
    kept: list[str] = []
    for prefix in sorted(prefixes, key=len):
        mine = _below(named, prefix, roots)
        if not any(_same(named, mine, _below(named, other, roots)) for other in kept):
            kept.append(prefix)
    return kept


def _same(named: Arrays, one: dict[str, str], other: dict[str, str]) -> bool:
    if one.keys() != other.keys():
        return False
    return all(np.array_equal(named[one[name]], named[other[name]]) for name in one)


def _chosen(prefixes: list[str]) -> tuple[str, list[str]]:
    """Return the prefix of the network that is meant, and what to say of the choice."""
    if len(prefixes) == 1:
        return prefixes[0], []
    averages = [prefix for prefix in prefixes if AVERAGED.search(prefix)]
    first = [prefix for prefix in prefixes if not SECOND.search(prefix)]
    left = averages or first
    if len(left) != 1:
        raise DialectError(
            f"holds {len(prefixes)} networks, whose names begin with {quoted(prefixes)}; save "
            "the state dict of one of them alone"
        )
    chosen = left[0]
    others = [prefix for prefix in prefixes if prefix != chosen]
    why = ", the average of the weights" if averages else ""
    return chosen, [f"Taken from '{chosen}'{why}; left out: {quoted(others)}."]


def _of_network(rest: Arrays, own: str, others: list[str], trunk: str) -> Arrays:
    """Return the arrays that may belong to the network's head, not to another network's.

    Args:
        own: prefix of the network.
        others: prefixes of the bodies of the others.
    """
    foreign = [prefix.removesuffix(trunk) for prefix in others]
    foreign = [prefix for prefix in foreign if not own.startswith(prefix) or not prefix]

    def mine(name: str) -> bool:
        return bool(own) and name.startswith(own)

    return {
        name: array
        for name, array in rest.items()
        if mine(name) or not any(name.startswith(prefix) for prefix in foreign)
    }


def _normalisation(rest: Arrays) -> tuple[Arrays, Normalisation | None, str]:
    """Take a layer that normalises photos off the rest: its mean and deviation, of 0 to 255."""
    for name, mean in rest.items():
        other = re.sub(r"mean$", "std", name)
        std = rest.get(other)
        if other == name or std is None or {mean.size, std.size} not in ({3}, {1}):
            continue
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            continue
        scale = 255 if max(mean.max(), std.max()) <= 1 else 1
        kept = {n: array for n, array in rest.items() if n not in (name, other)}
        values = [tuple(round(scale * float(v), 6) for v in one.ravel()) for one in (mean, std)]
        return kept, (values[0], values[1]), f"the tensors {name} and {other}"
    return rest, None, ""


@dataclass(frozen=True, slots=True)
class BodyEnd:
    """End of a body, read off its names and one shape."""

    blocks: int
    features: int
    """Channels of the last feature map."""
    head: bool
    """True if the last 1x1 convolution is there; timm's ``features_only`` has none."""


def body_end(body: Arrays, table: KeyTable, scale: str) -> BodyEnd | None:
    """Return where a body ends; None if it has no blocks.

    Args:
        table: names of the layers.
        scale: name of a BatchNorm's scale, with the separator.
    """
    blocks = {
        place: array
        for parts in (table.first, table.block)
        for place, array in _places(body, parts["project"][1] + scale)
    }
    if not blocks:
        return None
    last = max(blocks)
    heads = {
        place: array
        for place, array in _places(body, table.head[1] + scale)
        if not place or place > last[:1]  # 'features.0.1' is the stem in torchvision's names
    }
    end = heads[max(heads)] if heads else blocks[last]
    return BodyEnd(len(blocks), int(end.size), bool(heads))


def _places(body: Arrays, name: str) -> Iterator[tuple[tuple[int, ...], NDArray]]:
    """Yield the arrays that a name with places stands for, with the numbers at the places."""
    pattern = re.compile(re.sub(r"\\{\w+\\}", r"(\\d{1,9})", re.escape(name)))
    for foreign, array in body.items():
        if match := pattern.fullmatch(foreign):
            yield tuple(map(int, match.groups())), array


def joined(notes: Iterable[str]) -> str:
    """Return sentences as one text, without the empty ones."""
    return " ".join(note for note in dict.fromkeys(notes) if note)
