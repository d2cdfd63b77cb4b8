"""Every dialect by name, and which one a file is in. A new dialect is a line here."""

from pathlib import Path

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.reader import recognise_kind
from mobilenetv2.checkpoints.dialects import huggingface, keras, timm
from mobilenetv2.checkpoints.dialects.tables import ARTICLE, D_LI14, TF_SLIM, TONYLINS, TORCHVISION
from mobilenetv2.checkpoints.dialects.tensors import TensorCheckpoint, TensorDialect
from mobilenetv2.checkpoints.graphs import litert, onnx
from mobilenetv2.checkpoints.graphs.network import GraphCheckpoint, GraphDialect
from mobilenetv2.errors import DialectError
from mobilenetv2.formats import BY_ENDING
from mobilenetv2.spec.mapping import suggestion

Dialect = TensorDialect | GraphDialect
Checkpoint = TensorCheckpoint | GraphCheckpoint
TENSORS: dict[str, TensorDialect] = {
    dialect.name: dialect
    for dialect in (
        TORCHVISION, timm.DIALECT, keras.DIALECT, TF_SLIM, huggingface.DIALECT, TONYLINS, D_LI14,
        ARTICLE,
    )
}  # fmt: skip
"""Those that name their tensors, in the order in which a file is tried."""
GRAPHS: dict[str, GraphDialect] = {one.name: one for one in (onnx.DIALECT, litert.DIALECT)}
DIALECTS: dict[str, Dialect] = {**TENSORS, **GRAPHS}


def find(name: str) -> Dialect:
    """Return the dialect of that name.

    Raises:
        DialectError: there is none, with the nearest names.
    """
    if name not in DIALECTS:
        raise DialectError(f"dialect {name!r} is unknown; {suggestion(name, tuple(DIALECTS))}")
    return DIALECTS[name]


def find_graph(path: Path, name: str) -> GraphDialect | None:
    """Return the dialect of a file that holds a graph; None of one that holds named tensors.

    Args:
        name: the dialect that was asked for, or 'auto'.

    Raises:
        DialectError: it holds a graph, and another dialect was asked for.
        WeightsError: it is no weights file that is known.
    """
    if name in GRAPHS:
        return GRAPHS[name]
    made = BY_ENDING.get(path.suffix.lower())
    kind = made.name if made and made.graph else recognise_kind(path) if path.is_file() else ""
    if kind in GRAPHS and name != "auto":
        raise DialectError(f"in the dialect {kind}, not {name}")
    return GRAPHS.get(kind)


def identify(container: Container, name: str) -> TensorCheckpoint:
    """Open named tensors in a dialect, or in the first that knows their names ('auto').

    Raises:
        DialectError: their names are none's, or another's.
    """
    if name != "auto":
        dialect = find(name)
        assert isinstance(dialect, TensorDialect)
        if found := dialect.open(container):
            return found
    other = next((found for one in TENSORS.values() if (found := one.open(container))), None)
    if other and name == "auto":
        return other
    if other or name != "auto":
        hint = f"; its names are {other.dialect.name}'s" if other else ""
        raise DialectError(f"not in the dialect {name}{hint}")
    raw = container.arrays.keys()
    # Layers that Keras numbers have names of their own, which say more.
    names = {name for one in TENSORS.values() for name in one.inside(container)[0]} - raw or raw
    first = ", ".join(repr(one) for one in sorted(names)[:4]) or "nothing"
    raise DialectError(
        f"no MobileNetV2 that this project reads; its tensors begin with {first}. Known dialects: "
        f"{', '.join(DIALECTS)}"
    )
