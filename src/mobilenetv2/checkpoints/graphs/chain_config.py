"""The config of a network that came in as a graph: its own, where the file carries one."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from mobilenetv2.checkpoints.graphs.chain import Step
from mobilenetv2.checkpoints.graphs.chain_arrays import require_fit
from mobilenetv2.checkpoints.labels import background_of
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.files import sha256_of_file
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.spec.records import Labels, ModelConfig, Origin


def adopted(text: str, steps: Sequence[Step], labels: Labels | None, found: Origin) -> ModelConfig:
    """The config that lies inside the file, held against its graph.

    Args:
        text: what :meth:`ModelConfig.to_json` gave when the file was written.
        labels: other names for the outputs, if asked for.
        found: where the network comes from now; licence and history are taken over.

    Raises:
        DialectError: it is damaged, or describes another network than the graph.
    """
    config = parsed(text)
    try:
        if sum(stage.repeats for stage in config.spec.stages) > len(steps):
            raise DialectError("more blocks than the graph has convolutions")
        require_fit(config.spec, steps)
    except (DialectError, SpecError) as error:
        raise DialectError(f"the config inside it describes another network: {error}") from None
    before = config.origin
    if before is not None:
        found = dataclasses.replace(
            found, licence=before.licence, folded=found.folded or before.folded
        )
    config = dataclasses.replace(config, origin=found)
    if labels is None:
        return config
    background = background_of(labels, config.spec.classes)
    spec = config.spec.replace(background=background)
    return dataclasses.replace(config, spec=spec, labels=labels)


def size_in(text: str) -> Size:
    """The picture size that a config inside a file says, for a graph that takes any.

    Raises:
        DialectError: it is no config.
    """
    return parsed(text).spec.size


def parsed(text: str) -> ModelConfig:
    """The config that a file of ours carries.

    Raises:
        DialectError: it is no config.
    """
    try:
        return ModelConfig.from_mapping(json.loads(text), "the config inside it")
    except (ValueError, RecursionError) as error:
        raise DialectError(f"the config inside it is not JSON ({error})") from None
    except SpecError as error:
        raise DialectError(f"the config inside it is damaged: {error}") from None


def require_picture(spec: NetworkSpec, size: Sequence[int], channels: int) -> None:
    """Raise unless the graph takes the pictures that the config says.

    Raises:
        DialectError: another size or number of channels.
    """
    if (*spec.size, spec.input_channels) != (*size, channels):
        raise DialectError(
            f"the config inside it describes another network: it takes {spec.size[0]} x "
            f"{spec.size[1]} pixels of {spec.input_channels} channels, the graph "
            f"{size[0]} x {size[1]} of {channels}"
        )


def origin(path: Path, dialect: str, folded: bool, note: str = "") -> Origin:
    """Where it came from, with the file's SHA-256."""
    digest = sha256_of_file(path)
    return Origin(source=path.name, sha256=digest, dialect=dialect, folded=folded, note=note)
