"""Inputs that a schema cannot describe, for schemathesis: photos, names of models and classes.

The environment variables PEER_PHOTOS and PEER_MODEL are a folder of photos and the model's name.
"""

import os
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies

PHOTOS = [path.read_bytes() for path in sorted(Path(os.environ["PEER_PHOTOS"]).iterdir())]
NAME = os.environ["PEER_MODEL"]

for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, strategies.sampled_from(PHOTOS))


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Return the parameters of a path with the name of a model that is there."""
    if path_parameters and "name" in path_parameters:
        path_parameters["name"] = NAME
    return path_parameters


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    """Return the query with names of a model and a class that are there."""
    if query and isinstance(query.get("model"), str):
        query["model"] = NAME
    if query and isinstance(query.get("class"), str):
        query["class"] = str(len(query["class"]))
    return query
