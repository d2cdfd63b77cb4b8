"""A network's preprocessing as a callable on one photo, for datasets and data loaders.

Each edition has a subclass that returns its framework's array. Pillow is imported when a photo
comes: an edition that only computes needs none.
"""

from typing import TYPE_CHECKING, Generic, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.images.preprocess import normalise
from mobilenetv2.spec.records import Preprocessing

if TYPE_CHECKING:
    from mobilenetv2.images.photo import Photo

Array = TypeVar("Array")


class Transform(Generic[Array]):
    """A photo as a network takes it: decoded, upright, resized, cropped and normalised.

    It has no state but the record, and can be pickled, so that it works in the processes of a data
    loader and as torchvision's ``ImageFolder(folder, transform=...)``.

    Args:
        preprocessing: what a network does with a photo.
    """

    __slots__ = ("preprocessing",)

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    @overload
    def __call__(self) -> Self: ...

    @overload
    def __call__(self, photo: "Photo") -> Array: ...

    def __call__(self, photo: "Photo | None" = None) -> "Array | Self":
        """Return the photo as the network takes it; without a photo, this transform itself.

        Args:
            photo: a path, a file's bytes, a Pillow image, or an array uint8 (height, width,
                channels). An array or image of exactly the network's size is taken as it is.

        Returns:
            One normalised picture in float32, in the framework's layout, without a batch axis.

        Raises:
            ImageError: the photo cannot be read.
        """
        return self if photo is None else self.finish(self.picture(photo))

    def picture(self, photo: "Photo") -> NDArray:
        """Return the photo before it is normalised: uint8 (height, width, channels).

        Raises:
            ImageError: the photo cannot be read.
        """
        from mobilenetv2.images.photo import network_picture

        return network_picture(photo, self.preprocessing)

    def finish(self, picture: NDArray) -> Array:
        """Return a picture normalised, in the framework's layout."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.preprocessing == self.preprocessing

    def __hash__(self) -> int:
        return hash(self.preprocessing)

    def __repr__(self) -> str:
        record = self.preprocessing
        steps = [f"resize {_sides(record.resize)} {record.interpolation}"]
        if record.fit == "none":
            steps = ["no resize"]
        if record.central_fraction < 1:
            steps.insert(0, f"central {record.central_fraction:.1%}")
        if record.fit == "stretch":
            steps[-1] += " (stretched)"
        if record.size != record.resize or record.fit != "stretch":
            steps.append(f"crop {_sides(record.size)}")
        mean, std = (
            "(" + ", ".join(f"{value:g}" for value in values) + ")"
            for values in (record.mean, record.std)
        )
        return f"{type(self).__name__}({', '.join(steps)}, mean {mean}, std {std})"


def _sides(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


class ArrayTransform(Transform[NDArray]):
    """The transform to a NumPy array (height, width, channels), as Keras and JAX take it.

    Example:
        >>> from mobilenetv2.images.transform import ArrayTransform
        >>> transform = ArrayTransform(mn.Preprocessing())
        >>> transform
        ArrayTransform(resize 256 bilinear, crop 224, mean (123.675, 116.28, 103.53), std (...))
        >>> transform(photo).shape
        (224, 224, 3)
    """

    __slots__ = ()

    def finish(self, picture: NDArray) -> NDArray:
        """Return the picture normalised: float32 (height, width, channels)."""
        return normalise(picture, self.preprocessing)


class PlanarTransform(Transform[NDArray]):
    """The transform to a NumPy array (channels, height, width), as the NumPy edition takes it."""

    __slots__ = ()

    def finish(self, picture: NDArray) -> NDArray:
        """Return the picture normalised: float32 (channels, height, width)."""
        return np.ascontiguousarray(normalise(picture, self.preprocessing).transpose(2, 0, 1))
