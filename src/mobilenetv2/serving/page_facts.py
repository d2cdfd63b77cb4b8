"""Facts that the page needs of the models and of its server, as ``page.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mobilenetv2 import __version__
from mobilenetv2.runtime.prediction import THRESHOLD
from mobilenetv2.serving.device_files import CONFIG, GRAPH, HEAD, WEIGHTS, why_not
from mobilenetv2.serving.page_files import missing_vendor
from mobilenetv2.spec.foreign import AnyConfig
from mobilenetv2.spec.mapping import to_mapping

FOLDER = "device"
"""First part of the addresses of the files for computing in the browser."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of one model that is served."""

    name: str
    """Name in requests and on the page."""
    place: Path
    """Model folder or exported file."""
    config: AnyConfig
    explains: bool
    """True if the server can draw heat maps of it."""


def page_facts(
    models: Sequence[Facts],
    limits: Mapping[str, int] | None,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the facts of models as plain values for JSON; all addresses are relative.

    Args:
        models: the models, the first one is chosen at the start.
        limits: limits of a request ('bytes', 'photos'); None for a folder without a server.
        sizes: size of the graph for the browser in bytes, by the name of the model, where known.
    """
    return {
        "version": __version__,
        "server": limits is not None,
        "threshold": THRESHOLD,
        "limits": None if limits is None else dict(limits),
        "models": [_model(each, (sizes or {}).get(each.name)) for each in models],
    }


def _model(model: Facts, size: int | None) -> dict[str, Any]:
    config, reason = model.config, why_not(model.place, model.config) or missing_vendor()
    return {
        "name": model.name,
        "labels": list(config.labels.names),
        "outputs": config.outputs,
        "size": list(config.preprocessing.size),
        "preprocessing": to_mapping(config.preprocessing),
        "explain": model.explains,
        "device": None if reason else _device(model.name, size),
        "why_not": reason,
    }


def _device(name: str, size: int | None) -> dict[str, Any]:
    folder = f"{FOLDER}/{quote(name, safe='')}"
    return {
        "model": f"{folder}/{GRAPH}",
        "bytes": size,
        "head": f"{folder}/{HEAD}",
        "config": f"{folder}/{CONFIG}",
        "weights": f"{folder}/{WEIGHTS}",
    }
