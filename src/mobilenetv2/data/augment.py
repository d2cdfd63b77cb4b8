"""Random views of a photo, each determined by (seed, epoch, index).

Two policies need no tuning. RandAugment (Cubuk et al., arXiv 1909.13719) applies N of fourteen
operations at one magnitude. TrivialAugment (Mueller & Hutter, arXiv 2103.10158) applies one
operation at a random strength from a wider range. Ranges are those of the papers, except for
translation, where torchvision's are used as a fraction of the side. TrivialAugment's is 32 pixels
of 224, so that smaller images move by less.

Whole batches are mixed with a permutation of themselves, and so are the targets: mixup (Zhang et
al., arXiv 1710.09412) and CutMix (Yun et al., arXiv 1905.04899).
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from mobilenetv2.errors import RecipeError
from mobilenetv2.images.decode import Least
from mobilenetv2.images.preprocess import least_size, preprocess, resampling
from mobilenetv2.spec.mapping import check_bounds
from mobilenetv2.spec.network import Size
from mobilenetv2.spec.records import Preprocessing

ASPECT = (3 / 4, 4 / 3)
MOVED = 8
"""Divisor of a side; 'shifted' moves the image by up to this part of it."""
ERASED, ERASED_ASPECT = (0.02, 1 / 3), (0.3, 3.3)
HIGHEST = 30
"""Largest magnitude; the smallest is 0."""
GREY = 128
"""Grey level for pixels outside of the image."""

ENHANCERS = {
    "colour": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}
NAMES = (
    "identity", "autocontrast", "equalize", "rotate", "solarize", "colour", "posterize", "contrast",
    "brightness", "sharpness", "shear x", "shear y", "translate x", "translate y",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Limits of the difference between a view and its photo."""

    crop: Literal["resized", "shifted", "none"] = "resized"
    """Kind of crop. 'resized': a random part of the photo with a random aspect ratio, stretched to
    the size. 'shifted': the whole image, moved by up to an eighth (the padded crop of CIFAR's
    recipes). 'none': as in evaluation."""
    crop_least: Annotated[float, "(0, 1]"] = 0.35
    """Smallest fraction of the photo's area that 'resized' keeps."""
    flip: bool = True
    """Mirror left and right with probability 0.5; wrong for text and digits."""
    jitter: Annotated[float, "[0, 1)"] = 0.2
    """Largest relative change of brightness, contrast and saturation."""
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    """Set of fourteen operations that needs no tuning."""
    operations: Annotated[int, "[0, 14]"] = 2
    """Number of operations that 'randaugment' applies to each view."""
    magnitude: Annotated[int, f"[0, {HIGHEST}]"] = 9
    """Magnitude of the operations of 'randaugment'."""
    erasing: Annotated[float, "[0, 1]"] = 0.0
    """Fraction of views in which a rectangle is replaced by noise."""
    border: Literal["edge", "reflection", "black"] = "edge"
    """Content of the pixels that 'shifted' moves in: repeated edge pixels, the mirrored image, or
    zeros."""

    def __post_init__(self) -> None:
        check_bounds(self, RecipeError)


@dataclass(frozen=True, slots=True)
class Mixing:
    """Mixing of batches; if both kinds are on, one of them is drawn for each batch."""

    mixup: Annotated[float, "[0, 100]"] = 0.0
    """Alpha of the beta distribution of the weights: 0.2 mixes little, 1 uniformly, 0 never."""
    cutmix: Annotated[float, "[0, 100]"] = 0.0
    """Alpha for the area that is pasted from another image."""
    share: Annotated[float, "[0, 1]"] = 1.0
    """Fraction of the batches that are mixed."""

    def __post_init__(self) -> None:
        check_bounds(self, RecipeError)


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random generator of one view, independent of earlier draws."""
    return np.random.default_rng([seed, epoch, index, 1])


def least_view(how: Augmentation, record: Preprocessing, size: Size) -> Least | None:
    """Return the function to the least size of a decoded photo; None for whole photos.

    A random part may be of any size, so that it is cut from the whole photo.

    Args:
        how: the augmentation.
        record: preprocessing of the network.
        size: (height, width) of the view.
    """
    return None if how.crop == "resized" else least_size(record.at(size))


def augment(
    image: Image.Image,
    how: Augmentation,
    record: Preprocessing,
    size: Size,
    random: np.random.Generator,
    name: str = "picture",
) -> NDArray:
    """Return one random view of an RGB image: uint8 (height, width, channels).

    Args:
        record: the network's preprocessing, for channels and interpolation.
        size: (height, width) of the view; it may differ from the record's.
        name: name of the photo for messages.
    """
    if how.crop != "resized":
        return cut_view(whole_picture(image, how, record, size, name), how, size, random)
    if record.channels == 1:
        image = image.convert("L")
    box = _part(image, how.crop_least, random)
    image = image.resize((size[1], size[0]), resampling(record), box=box)
    return _finish(np.asarray(image).reshape(*size, record.channels), how, random)


def whole_picture(
    image: Image.Image, how: Augmentation, record: Preprocessing, size: Size, name: str
) -> NDArray:
    """Return an image preprocessed as in evaluation, with the border that 'shifted' needs."""
    view = preprocess(image, record.at(size), name)
    if how.crop != "shifted":
        return view
    around = (*((margin, margin) for margin in margins(how, size)), (0, 0))
    if how.border == "black":
        return np.pad(view, around)
    return np.pad(view, around, mode="edge" if how.border == "edge" else "reflect")


def margins(how: Augmentation, size: Size) -> Size:
    """Return the rows and columns that 'shifted' needs on each side."""
    return (size[0] // MOVED, size[1] // MOVED) if how.crop == "shifted" else (0, 0)


def cut_view(whole: NDArray, how: Augmentation, size: Size, random: np.random.Generator) -> NDArray:
    """Return one random view of an image that :func:`whole_picture` returned."""
    if how.crop == "shifted":
        top, left = (most + int(random.integers(-most, most + 1)) for most in margins(how, size))
        whole = whole[top : top + size[0], left : left + size[1]]
    return _finish(whole, how, random)


def _finish(view: NDArray, how: Augmentation, random: np.random.Generator) -> NDArray:
    """Apply the steps after the crop: flip, jitter, policy, erasing."""
    if how.flip and random.random() < 0.5:
        view = view[:, ::-1]
    view = np.ascontiguousarray(view)
    if how.jitter or how.policy != "none":
        image = Image.fromarray(view if view.shape[2] == 3 else view[..., 0])
        if how.jitter:
            image = _jittered(image, how.jitter, random)
        if how.policy == "randaugment":
            image = rand_augment(image, how.operations, how.magnitude, random)
        elif how.policy == "trivialaugment":
            image = trivial_augment(image, random)
        view = np.asarray(image).reshape(view.shape)
    return _erased(view, random) if how.erasing and random.random() < how.erasing else view


def _part(
    image: Image.Image, least: float, random: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw (left, top, right, bottom) of a random part (Szegedy et al., arXiv 1409.4842)."""
    area = image.width * image.height
    for _ in range(10):
        part = area * random.uniform(least, 1)
        ratio = np.exp(random.uniform(*np.log(ASPECT)))
        width, height = round((part * ratio) ** 0.5), round((part / ratio) ** 0.5)
        if 0 < width <= image.width and 0 < height <= image.height:
            left = int(random.integers(image.width - width + 1))
            top = int(random.integers(image.height - height + 1))
            return (left, top, left + width, top + height)
    # After ten failures, use the largest centred part of an allowed aspect ratio.
    width = min(image.width, round(image.height * ASPECT[1]))
    height = min(image.height, round(image.width / ASPECT[0]))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return (left, top, left + width, top + height)


def _erased(view: NDArray, random: np.random.Generator) -> NDArray:
    """Fill a rectangle of 2% to a third of the view with noise (Zhong et al., arXiv 1708.04896).

    The largest size is torchvision's; the paper's is 40%.
    """
    height, width, channels = view.shape
    for _ in range(10):
        area = height * width * random.uniform(*ERASED)
        ratio = np.exp(random.uniform(*np.log(ERASED_ASPECT)))
        rows, columns = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < rows < height and 0 < columns < width:
            top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
            view = view.copy()
            noise = random.integers(0, 256, (rows, columns, channels), np.uint8)
            view[top : top + rows, left : left + columns] = noise
            break
    return view


def _jittered(image: Image.Image, amount: float, random: np.random.Generator) -> Image.Image:
    enhancers = [ImageEnhance.Brightness, ImageEnhance.Contrast]
    if image.mode == "RGB":
        enhancers.append(ImageEnhance.Color)
    for index in random.permutation(len(enhancers)):
        image = enhancers[index](image).enhance(random.uniform(1 - amount, 1 + amount))
    return image


@dataclass(frozen=True, slots=True)
class Ranges:
    """Limits of each operation at the highest magnitude."""

    enhance: float
    """Largest change of the factor for colour, contrast, brightness and sharpness, from 1."""
    shear: float
    """Largest shift of a row in columns per row, or of a column in rows per column."""
    translate: float
    """Largest translation, as a fraction of the side."""
    rotate: float
    """Largest rotation in degrees."""
    posterize: int
    """Smallest number of bits that are kept of a level."""


RAND = Ranges(enhance=0.9, shear=0.3, translate=150 / 331, rotate=30.0, posterize=4)
TRIVIAL = Ranges(enhance=0.99, shear=0.99, translate=32 / 224, rotate=135.0, posterize=2)


def rand_augment(
    image: Image.Image, operations: int, magnitude: int, random: np.random.Generator
) -> Image.Image:
    """Apply ``operations`` of the fourteen, drawn with replacement, all at one magnitude."""
    for _ in range(operations):
        name = NAMES[int(random.integers(len(NAMES)))]
        image = apply_operation(image, name, magnitude / HIGHEST, RAND, bool(random.random() < 0.5))
    return image


def trivial_augment(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Apply one of the fourteen operations at a random strength from 0 to 1."""
    name = NAMES[int(random.integers(len(NAMES)))]
    strength = int(random.integers(HIGHEST + 1)) / HIGHEST
    return apply_operation(image, name, strength, TRIVIAL, bool(random.random() < 0.5))


def apply_operation(
    image: Image.Image, name: str, strength: float, ranges: Ranges, negative: bool
) -> Image.Image:
    """Return an image with one operation applied.

    Args:
        image: of mode RGB or L.
        name: one of :data:`NAMES`.
        strength: from 0, which changes nothing, to 1; 'autocontrast' and 'equalize' ignore it.
        negative: reduce instead of increase, or use the opposite direction.
    """
    if name == "identity":
        return image
    if name in ENHANCERS:
        amount = strength * ranges.enhance
        return ENHANCERS[name](image).enhance(1 - amount if negative else 1 + amount)
    if name == "autocontrast":
        return ImageOps.autocontrast(image)
    if name == "equalize":
        return ImageOps.equalize(image)
    if name == "solarize":
        return ImageOps.solarize(image, round(256 - 256 * strength))
    if name == "posterize":
        return ImageOps.posterize(image, 8 - round((8 - ranges.posterize) * strength))
    return _moved(image, name, -strength if negative else strength, ranges)


def _moved(image: Image.Image, name: str, strength: float, ranges: Ranges) -> Image.Image:
    """Move an image with bilinear interpolation, because a whole pixel is much at 32 pixels."""
    fill: int | tuple[int, ...] = GREY if image.mode == "L" else (GREY,) * 3
    if name == "rotate":
        return image.rotate(strength * ranges.rotate, Image.Resampling.BILINEAR, fillcolor=fill)
    width, height = image.size
    x = y = across = down = 0.0
    if name == "shear x":
        across = strength * ranges.shear
        x = -across * height / 2  # about the centre
    elif name == "shear y":
        down = strength * ranges.shear
        y = -down * width / 2
    elif name == "translate x":
        x = strength * ranges.translate * width
    else:
        y = strength * ranges.translate * height
    matrix = (1, across, x, down, 1, y)
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill
    )


def targets(labels: NDArray, classes: int, smoothing: float = 0.0) -> NDArray:
    """Return smoothed targets, float32 (batch, classes), for int64 labels (batch,).

    With smoothing s and K classes, the class of an image gets 1 - s + s / K, the others s / K.
    """
    found = np.full((len(labels), classes), smoothing / classes, np.float32)
    found[np.arange(len(labels)), labels] += np.float32(1 - smoothing)
    return found


class Mixture(NamedTuple):
    """Mixing of the images of a batch by mixup or CutMix, each with a partner."""

    kind: str
    """Kind of mixing: 'mixup' or 'cutmix'."""
    kept: float
    """Share of an image that is kept."""
    partner: NDArray
    """Row of each image's partner, int (batch,)."""
    random: np.random.Generator
    """Generator for CutMix's box, which is the same for the whole batch."""

    def apply(
        self, pictures: NDArray, others: NDArray, target: NDArray, of_others: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Return images mixed with their partners, and their targets.

        Args:
            pictures: images or maps as for :func:`mix`, of all rows of the batch or of some.
            others: their partners.
            target: targets of the images, float32 (batch, classes).
            of_others: targets of the partners.
        """
        kept = self.kept
        if self.kind == "mixup":
            mixed = pictures * np.float32(kept) + others * np.float32(1 - kept)
            whole = np.issubdtype(pictures.dtype, np.integer)
            pictures = (np.rint(mixed) if whole else mixed).astype(pictures.dtype)
        else:
            pictures, kept = _pasted(pictures, others, kept, self.random)
        share = np.float32(kept)
        return pictures, share * target + (1 - share) * of_others


def draw_mixture(count: int, how: Mixing, random: np.random.Generator) -> Mixture | None:
    """Draw how a batch of ``count`` images is mixed; None if it stays as it is."""
    kinds = [name for name in ("mixup", "cutmix") if getattr(how, name)]
    if not kinds or random.random() >= how.share:
        return None
    kind = kinds[int(random.integers(len(kinds)))]
    alpha = getattr(how, kind)
    kept = float(random.beta(alpha, alpha))
    return Mixture(kind, kept, random.permutation(count), random)


def mix(
    pictures: NDArray, target: NDArray, how: Mixing, random: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Return each image mixed with another one of the batch, and the targets likewise.

    Args:
        pictures: uint8 (batch, height, width, channels), or float maps: the outputs of frozen
            blocks are mixed in the same way (Verma et al., arXiv 1806.05236).
        target: float32 (batch, classes).
    """
    drawn = draw_mixture(len(pictures), how, random)
    if drawn is None:
        return pictures, target
    partner = drawn.partner
    return drawn.apply(pictures, pictures[partner], target, target[partner])


def _pasted(
    pictures: NDArray, others: NDArray, kept: float, random: np.random.Generator
) -> tuple[NDArray, float]:
    """Paste one box of the others into images; return them and the fraction of each kept."""
    height, width = pictures.shape[1:3]
    half = [side * (1 - kept) ** 0.5 / 2 for side in (height, width)]
    centre = [float(random.uniform(0, side)) for side in (height, width)]
    (top, bottom), (left, right) = (
        (max(0, round(c - h)), min(side, round(c + h)))
        for c, h, side in zip(centre, half, (height, width), strict=True)
    )
    pictures = pictures.copy()
    pictures[:, top:bottom, left:right] = others[:, top:bottom, left:right]
    return pictures, 1 - (bottom - top) * (right - left) / (height * width)
