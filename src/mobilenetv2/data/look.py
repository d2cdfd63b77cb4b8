"""Every photo read and decoded once, in threads: what the check and the audit are made from."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from PIL import Image

from mobilenetv2.data.batches import in_parallel
from mobilenetv2.data.dataset import Photo, Split
from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import decode
from mobilenetv2.progress import track

Seen = TypeVar("Seen")

See = Callable[[str, bytes, Image.Image], Seen]
"""(full name, the file's bytes, the upright RGB picture) -> what is kept of it. Called in threads;
an :class:`ImageError` from it makes the photo one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Look(Generic[Seen]):
    """What came of one photo."""

    split: str
    photo: Photo
    digest: str
    """SHA-256 of its bytes: equal for exact copies. Its name where there are no bytes."""
    problem: str
    """Why it cannot be read, beginning with its full name; '' where it can."""
    seen: Seen | None
    """None where there is a problem."""


def look_at(splits: Sequence[Split], see: See[Seen]) -> Iterator[Look[Seen]]:
    """A look at every photo of some splits, in their order, with its progress shown."""
    jobs = [(split, photo) for split in splits for photo in split.photos]
    looks = in_parallel(lambda job: look(*job, see), jobs)
    return track(looks, "checking photos", len(jobs))


def look(split: Split, photo: Photo, see: See[Seen]) -> Look[Seen]:
    """One photo. Nothing that is wrong with it is raised."""
    try:
        data = split.source.read(photo.name)
    except ImageError as error:
        return Look(split.name, photo, photo.name, str(error), None)
    digest = hashlib.sha256(data).hexdigest()
    try:
        # Not Split.image, which would read the file once more.
        name = split.full_name(photo)
        return Look(split.name, photo, digest, "", see(name, data, decode(data, name)))
    except ImageError as error:
        return Look(split.name, photo, digest, str(error), None)
