"""The option ``--preprocessing NAME|FILE``: a published preprocessing, a range, or one in a file.

It knows nothing of a network but its size and channels, so that it serves any image classifier.
"""

import dataclasses
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from mobilenetv2.checkpoints.description import usual_preprocessing
from mobilenetv2.checkpoints.dialects.configs import describe
from mobilenetv2.checkpoints.dialects.timm import describe_timm
from mobilenetv2.checkpoints.input_range import RANGES, of_channels
from mobilenetv2.documents import read_table
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.spec.mapping import from_mapping, suggestion
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import Preprocessing

CONFIGS = ("config.json", "preprocessor_config.json")
"""Files of a folder that may have a preprocessing, the first to be asked first."""


def read_preprocessing(given: str | PathLike[str], size: Size, channels: int = 3) -> Preprocessing:
    """Return the preprocessing that a name or a file stands for.

    Args:
        given: a range ('0..1', '-1..1', '0..255', 'imagenet'), with photos stretched to the size; a
            publisher ('keras', 'torchvision', 'timm' ...); or a JSON file: the fields of a
            :class:`~mobilenetv2.Preprocessing`, a model folder's or timm's ``config.json``, Hugging
            Face's ``preprocessor_config.json``, or a folder that holds one.
        size: height and width of the network's input in pixels.
        channels: number of channels that the network takes, 3 or 1.

    Raises:
        DialectError: an unknown name, or a file that has no preprocessing for such a network.
        OSError: the file cannot be read.

    Example:
        >>> from mobilenetv2.checkpoints.preprocessing_option import read_preprocessing
        >>> record = read_preprocessing("keras", (160, 160))
        >>> record.resize, record.fit, record.mean[0]
        ((160, 160), 'stretch', 127.5)
    """
    name = fspath(given)
    if name in RANGES:
        mean, std = of_channels(RANGES[name], channels)
        return Preprocessing(size, size, "stretch", mean=mean, std=std)
    if name in PUBLISHED:
        return usual_preprocessing(name, NetworkSpec(size=size, input_channels=channels))
    path = Path(name)
    if path.is_dir():
        found = next((path / one for one in CONFIGS if (path / one).is_file()), None)
        if found is None:
            raise DialectError(f"{path}: a folder without {' or '.join(CONFIGS)}")
        path = found
    elif not path.exists():
        known = [*RANGES, *PUBLISHED]
        raise DialectError(
            f"preprocessing {name!r} is neither a file nor a known name; {suggestion(name, known)}"
        )
    record = _parse(path, size)
    if record.channels == channels:
        return record.at(size)
    if len(set(record.mean)) == len(set(record.std)) == 1:
        mean, std = of_channels((record.mean, record.std), channels)
        return dataclasses.replace(record, mean=mean, std=std).at(size)
    raise DialectError(f"{path}: is for {record.channels} channels; the network takes {channels}")


def _parse(path: Path, size: Size) -> Preprocessing:
    """Return the preprocessing in a JSON file, at the size that the file says.

    Raises:
        DialectError: it has none, or one that cannot be used.
    """
    content = read_table(path, DialectError, constants=True)
    try:
        if "preprocessing" in content:  # a model folder's config
            return from_mapping(Preprocessing, content["preprocessing"], f"{path}, preprocessing")
        if "pretrained_cfg" in content:
            # The preprocessing of any network has the same keys.
            theirs = {
                "architecture": "mobilenetv2_100",
                "pretrained_cfg": content["pretrained_cfg"],
            }
            said = describe_timm(theirs)
            if said.unsupported_resize:
                raise DialectError(f"it has {said.unsupported_resize}, which is not done here")
            record = said.preprocessing
        elif {"image_mean", "do_normalize", "do_rescale", "do_resize"} & content.keys():
            record = describe({"image_size": list(size)}, content).preprocessing
        elif content.keys() & {field.name for field in dataclasses.fields(Preprocessing)}:
            plain = {"size": list(size), "resize": list(size), "fit": "stretch"} | dict(content)
            record = from_mapping(Preprocessing, plain, str(path))
            _require_pixels(record, content)
        else:
            record = None
    except (DialectError, SpecError) as error:
        text = str(error)
        raise DialectError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    if record is None:
        names = ", ".join(field.name for field in dataclasses.fields(Preprocessing))
        raise DialectError(
            f"{path}: has no preprocessing; it needs fields such as {names}, or to be a "
            "config.json or preprocessor_config.json that has them"
        )
    return record


def _require_pixels(record: Preprocessing, given: Mapping[str, Any]) -> None:
    """Raise if mean and std are of values from 0 to 1, as PyTorch's transforms take them.

    Raises:
        DialectError: all that is given lies within 1, and is not the range 0..255 itself.
    """
    values = {name: getattr(record, name) for name in ("mean", "std") if name in given}
    small = all(abs(value) <= 1 for one in values.values() for value in one)
    whole = not any(values.get("mean", ())) and set(values.get("std", ())) <= {1}
    if values and small and not whole:
        told = " and ".join(f"{name} {list(one)}" for name, one in values.items())
        raise DialectError(
            f"{told} are taken in values of 0 to 255; multiply by 255 the numbers for values of "
            "0 to 1"
        )
