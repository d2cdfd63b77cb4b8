"""Splitting photos reproducibly: stratified by class, copies of one picture kept together."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from mobilenetv2.data.dataset import Photo, Split


def partition(
    split: Split, fraction: float, seed: int, names: tuple[str, str], digests: Mapping[str, str]
) -> tuple[Split, Split]:
    """Divide a split in two; the second part gets ``fraction`` of every class.

    The choice depends on the photos' names and the seed alone, not on the order in which a disk
    lists them. Exact copies of a picture go to the same part, so that nothing leaks; those that
    stand in several classes go to the first.

    Args:
        fraction: of each class, rounded, at least one photo where the class has two or more.
        names: of the two parts.
        digests: photo name -> digest of its bytes.
    """
    taken: set[str] = set()
    labels: dict[str, set[int]] = defaultdict(set)
    for photo in split.photos:
        labels[digests.get(photo.name, photo.name)].add(photo.label)
    for label in range(len(split.classes)):
        groups: dict[str, list[Photo]] = defaultdict(list)
        for photo in sorted((p for p in split.photos if p.label == label), key=lambda p: p.name):
            groups[digests.get(photo.name, photo.name)].append(photo)
        count = sum(map(len, groups.values()))
        wanted = min(max(1, round(fraction * count)), count - 1) if count > 1 else 0
        order = np.random.default_rng([seed, label]).permutation(len(groups))
        group_list = list(groups.items())
        left = wanted
        for index in order:
            digest, group = group_list[index]
            if len(group) <= left and len(labels[digest]) == 1:
                taken |= {photo.name for photo in group}
                left -= len(group)
    first = tuple(photo for photo in split.photos if photo.name not in taken)
    second = tuple(photo for photo in split.photos if photo.name in taken)
    return split.with_photos(first, names[0]), split.with_photos(second, names[1])
