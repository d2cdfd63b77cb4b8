"""Head of a state dict: linear layers under any names, read off their shapes.

The classifier is the one matrix with as many inputs as the body has features, or a chain of
matrices that begins with one. No state dict says what stands between them: ReLU is assumed, unless
two layers follow each other in a numbered sequence ('head.1', 'head.2'), which leaves no place for
one. The layers 'fc1' and 'fc2' are in no sequence.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mobilenetv2.errors import DialectError, argument
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import MOST_HIDDEN, ClassifierSpec, HiddenSpec
from mobilenetv2.text import quoted

MOST_SEARCHED = 6
"""Layers of a head whose order is searched where their names do not give it."""
ONE_OUTPUT = (
    "Its one output is taken as the log-odds of the second of two classes, as from a sigmoid."
)


@dataclass(frozen=True, slots=True)
class StateHead:
    """Linear layers behind a body's pooled features."""

    spec: ClassifierSpec
    arrays: Arrays
    """Weights and biases by canonical name."""
    notes: tuple[str, ...] = ()
    """Sentences on what was assumed."""

    @property
    def outputs(self) -> int:
        """Number of outputs of the last layer."""
        return len(self.arrays["classifier.weight"])

    @property
    def classes(self) -> int:
        """Number of classes, two for a single logit."""
        return 2 if self.spec.outputs == "logit" else self.outputs


def read_head(rest: Arrays, features: int) -> StateHead | None:
    """Return the head in the arrays that are left beside a body; None if there are none.

    Args:
        rest: arrays under their names in the file.
        features: channels of the body's last feature map.

    Raises:
        DialectError: the head is not a chain of linear layers. The message names its layers and
            the way out: the body alone.
    """
    if not rest:
        return None
    layers = _layers(rest)
    chain = _chain(layers, features)
    if chain is None:
        raise DialectError(
            f"its head is no chain of linear layers on the {features:,} features of its body "
            f"({_told(rest)}); give {argument('body', True)} to import the body alone"
        )
    if len(chain) > MOST_HIDDEN + 1:
        raise DialectError(f"its head has {len(chain)} layers; at most {MOST_HIDDEN + 1} are read")
    *hidden, last = chain
    arrays: Arrays = {}
    for name, layer in [*((f"hidden.{i}", one) for i, one in enumerate(hidden)),
                        ("classifier", last)]:  # fmt: skip
        arrays[f"{name}.weight"] = rest[f"{layer}weight"]
        if f"{layer}bias" in rest:
            arrays[f"{name}.bias"] = rest[f"{layer}bias"]
    notes = []
    if len(rest[f"{last}weight"]) == 1:
        notes.append(ONE_OUTPUT)
    units = [_hidden(rest, one, after) for one, after in itertools.pairwise(chain)]
    assumed = [one for one, unit in zip(hidden, units, strict=True) if unit.activation == "relu"]
    if assumed:
        which = quoted([one.rstrip(".") or "the first" for one in assumed])
        notes.append(f"A ReLU is assumed behind {which}: a state dict does not say the activation.")
    linear = [one for one in hidden if one not in assumed]
    if linear:
        notes.append(
            f"No activation is assumed behind {quoted([one.rstrip('.') for one in linear])}: the "
            "next linear layer follows without a gap in the numbers."
        )
    spec = ClassifierSpec(
        hidden=tuple(units), bias="classifier.bias" in arrays,
        outputs="logit" if len(arrays["classifier.weight"]) == 1 else "softmax",
    )  # fmt: skip
    return StateHead(spec, arrays, tuple(notes))


def _layers(rest: Arrays) -> dict[str, tuple[int, int]]:
    """Return (outputs, inputs) of the linear layers by prefix; empty if anything else is there."""
    found = {}
    used = set()
    for name, array in rest.items():
        if array.ndim == 2 and (name == "weight" or name.endswith(".weight")):
            layer = name.removesuffix("weight")
            found[layer] = (int(array.shape[0]), int(array.shape[1]))
            used.add(name)
            bias = rest.get(f"{layer}bias")
            if bias is not None and bias.shape == array.shape[:1]:
                used.add(f"{layer}bias")
    return found if used == set(rest) else {}


def _chain(layers: dict[str, tuple[int, int]], features: int) -> list[str] | None:
    """Return the layers in the order in which they run, or None if they are no one chain."""
    order = sorted(layers, key=_natural)
    if not order:
        return None
    if _fits(layers, order, features):
        return order
    found = [*itertools.islice(_orders(layers, features, ()), 2)]
    return found[0] if len(found) == 1 else None


def _fits(layers: dict[str, tuple[int, int]], order: Sequence[str], features: int) -> bool:
    for layer in order:
        if layers[layer][1] != features:
            return False
        features = layers[layer][0]
    return True


def _orders(
    layers: dict[str, tuple[int, int]], features: int, before: tuple[str, ...]
) -> Iterator[list[str]]:
    """Yield every order in which all layers chain, of a few layers: there may be very many."""
    if len(layers) > MOST_SEARCHED:
        return
    if len(before) == len(layers):
        yield list(before)
    for layer, (outputs, inputs) in layers.items():
        if layer not in before and inputs == features:
            yield from _orders(layers, outputs, (*before, layer))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts 'fc.2' before 'fc.10'."""
    parts = re.split(r"(\d{1,9})", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _hidden(rest: Arrays, layer: str, after: str) -> HiddenSpec:
    """Return the record of a hidden layer that another layer follows."""
    one, other = (re.fullmatch(r"((?:.*\.)?)(\d{1,9})\.", name) for name in (layer, after))
    neighbours = one and other and one[1] == other[1] and int(other[2]) == int(one[2]) + 1
    return HiddenSpec(
        int(rest[f"{layer}weight"].shape[0]), "none" if neighbours else "relu",
        bias=f"{layer}bias" in rest,
    )  # fmt: skip


def _told(rest: Arrays) -> str:
    """Return names and shapes of some arrays, for a message."""
    shown = [f"{name} {list(np.shape(array))}" for name, array in rest.items()]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
