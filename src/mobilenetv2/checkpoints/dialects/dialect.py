"""One implementation's way of writing a MobileNetV2 down: names, layouts, numerics."""

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilenetv2.checkpoints.dialects.keys import Key, KeyTable, Words, keys
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import Preprocessing

COUNTER = "num_batches_tracked"
"""PyTorch's count of batches: it matters only to a BatchNorm without momentum, so it has no
canonical name, is dropped on the way in and begins at 0 on the way out."""

COMPUTED = ("padding", "epsilon", "activation")
"""Numerics that decide what a trained network answers; the others only matter in training."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """A named dialect. Its module holds the literal tables."""

    name: str
    families: tuple[str, ...]
    """Of :data:`PUBLISHED`: what its files hold; the first is the usual one."""
    table: KeyTable
    words: Words
    signature: tuple[str, ...]
    """Foreign names that only its files have all of."""
    dropped: str = r"$^"
    """Pattern of foreign names that are known and mean nothing to a network that is used."""
    counters: bool = False
    """BatchNorm has PyTorch's counter."""
    repairs: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of the published spec that its code has wrong, as they are meant."""
    records: frozenset[str] = frozenset()
    """Of the numerics, what its files can say: everything else is as its code has it."""
    prepare: Callable[[Arrays], Arrays] = dict
    """Brings the names that a file has into the one form of the table."""

    @property
    def bases(self) -> tuple[NetworkSpec, ...]:
        """The spec of every family at width 1.0, repaired."""
        return tuple(PUBLISHED[name].spec.replace(**self.repairs) for name in self.families)

    @property
    def numerics(self) -> Numerics:
        """What its files compute with, where they do not say."""
        return self.bases[0].numerics

    @property
    def update_rate(self) -> float:
        """By what its code moves BatchNorm's statistics, whatever was meant."""
        return PUBLISHED[self.families[0]].spec.numerics.update_rate

    def other_numerics(self, spec: NetworkSpec) -> dict[str, tuple[Any, Any]]:
        """What ``spec`` computes otherwise than its files will: field -> (the spec's, theirs)."""
        return {
            name: (getattr(spec.numerics, name), getattr(self.numerics, name))
            for name in COMPUTED
            if name not in self.records
            and getattr(spec.numerics, name) != getattr(self.numerics, name)
        }

    def preprocessing(self, spec: NetworkSpec) -> Preprocessing:
        """What was published with its networks, for the network's size and channels."""
        record = PUBLISHED[self.families[0]].at(spec.size)
        if spec.input_channels == record.channels:
            return record
        grey = [(sum(values) / len(values),) for values in (record.mean, record.std)]
        return dataclasses.replace(record, mean=grey[0], std=grey[1])

    def keys(self, spec: NetworkSpec) -> tuple[Key, ...]:
        """The foreign name, layout and shape of every tensor."""
        return keys(self.table, self.words, spec)

    def ignores(self, name: str) -> bool:
        """Whether a foreign tensor is known and dropped."""
        if self.counters and name.endswith(f".{COUNTER}"):
            return True
        return re.search(self.dropped, name) is not None

    def recognises(self, names: Iterable[str]) -> bool:
        """Whether a file with these names, once prepared, is in this dialect."""
        return set(self.signature) <= set(names)

    def decode(self, spec: NetworkSpec, foreign: Arrays) -> Arrays:
        """Foreign arrays that fit ``spec`` -> canonical float32 arrays."""
        arrays: Arrays = {}
        for key in self.keys(spec):
            array = np.asarray(foreign[key.foreign], np.float32)
            arrays[key.canonical] = key.layout.to_canonical(array) if key.layout else array
        return arrays

    def encode(self, spec: NetworkSpec, arrays: Arrays) -> Arrays:
        """Canonical arrays -> foreign ones, PyTorch's counters rebuilt."""
        foreign: Arrays = {}
        for key in self.keys(spec):
            array = np.ascontiguousarray(arrays[key.canonical], np.float32)
            foreign[key.foreign] = key.layout.from_canonical(array) if key.layout else array
            if self.counters and key.canonical.endswith(".bn.variance"):
                layer = key.foreign.removesuffix(self.words.variance)
                foreign[f"{layer}.{COUNTER}"] = np.zeros((), np.int64)
        return foreign
