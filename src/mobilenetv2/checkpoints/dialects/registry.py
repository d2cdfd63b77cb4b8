"""Every dialect by name, and which one a file is in."""

from collections.abc import Iterable

from mobilenetv2.checkpoints.dialects import (
    article,
    dli14,
    huggingface,
    keras,
    slim,
    timm,
    tonylins,
    torchvision,
)
from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.errors import DialectError
from mobilenetv2.formats import GRAPHS as GRAPHS
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.mapping import suggestion

DIALECTS: dict[str, Dialect] = {
    module.DIALECT.name: module.DIALECT
    for module in (torchvision, timm, keras, slim, huggingface, tonylins, dli14, article)
}
"""Those that name their tensors; ``onnx`` and ``litert`` are read off a graph."""
NAMES = (*DIALECTS, *GRAPHS)


def find(name: str) -> Dialect:
    """The dialect of that name.

    Raises:
        DialectError: there is none, with the nearest names.
    """
    if name not in DIALECTS:
        raise DialectError(f"dialect {name!r} is unknown; {suggestion(name, NAMES)}")
    return DIALECTS[name]


def detect(foreign: Arrays, where: str) -> Dialect:
    """The dialect whose names these are.

    Raises:
        DialectError: none's.
    """
    for dialect in DIALECTS.values():
        if dialect.recognises(dialect.prepare(foreign)):
            return dialect
    raise DialectError(
        f"{where}: no MobileNetV2 that this project reads; its tensors begin with "
        f"{_first(foreign)}. Known dialects: {', '.join(NAMES)}"
    )


def _first(names: Iterable[str], count: int = 4) -> str:
    return ", ".join(repr(name) for name in sorted(names)[:count]) or "nothing"
