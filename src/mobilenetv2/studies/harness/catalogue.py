"""Names of the studies, each a module of the room `studies`, imported when it is asked for."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from mobilenetv2.errors import StudyError
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.studies.study import Study

ROOM = "mobilenetv2.studies"
NAMES = (
    "information", "linear-bottleneck", "residual", "expansion", "width-and-size", "lineage",
    "article-versions", "memory", "ports",
)  # fmt: skip
"""Names of the studies, in the order of lists and pages."""


def module_of(name: str) -> str:
    """Return the module of a study: 'mobilenetv2.studies.linear_bottleneck'."""
    return f"{ROOM}.{name.replace('-', '_')}"


def load(name: str) -> Study:
    """Return a study by its name.

    Raises:
        StudyError: there is no such study.
    """
    if name not in NAMES:
        raise StudyError(f"study {name!r} is unknown; {suggestion(name, NAMES)}")
    study: Study = importlib.import_module(module_of(name)).STUDY
    return study


def load_all() -> Mapping[str, Study]:
    """Return all studies by their names."""
    return MappingProxyType({name: load(name) for name in NAMES})
