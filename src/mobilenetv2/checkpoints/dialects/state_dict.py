"""State dict of PyTorch as one implementation's body and head, with what it says by itself."""

from dataclasses import dataclass

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.description import Description
from mobilenetv2.checkpoints.dialects.beside import labels_beside, size_beside
from mobilenetv2.checkpoints.dialects.state_head import StateHead, read_head
from mobilenetv2.checkpoints.dialects.tables import PYTORCH, KeyTable
from mobilenetv2.checkpoints.dialects.wrappings import (
    BodyEnd,
    body_end,
    joined,
    roots_of,
    unwrap,
)
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import Arrays


@dataclass(frozen=True, slots=True, eq=False)
class StateDict:
    """Tensors under an implementation's own names, and what is known of them."""

    arrays: Arrays
    said: Description
    note: str
    end: BodyEnd | None
    head: StateHead | None
    problem: str = ""
    """Reason why the head cannot be read; the body can be read all the same."""


def read_state_dict(
    container: Container, table: KeyTable, signature: tuple[str, ...], trunk: str
) -> StateDict | None:
    """Return a state dict's body and head, whatever stands before their names.

    Args:
        container: a file's arrays, with what lies beside them.
        table, signature, trunk: names of the implementation, as a ``TensorDialect`` has them.

    Returns:
        None if the names are another implementation's.

    Raises:
        DialectError: it holds several networks, and nothing says which is meant.
    """
    found = unwrap(container.arrays, signature, trunk, roots_of(table, trunk))
    if found is None:
        return None
    key = str(container.metadata.get("key") or "")
    average = f"Taken from '{key}', the average of the weights." if "ema" in key.lower() else ""
    end, head, problem = body_end(found.body, table, PYTORCH.scale), None, ""
    try:
        head = read_head(found.rest, end.features) if end else None
    except DialectError as error:
        problem = str(error)
    beside = container.metadata.get("beside", {})
    labels, told = labels_beside(beside.get("labels", ()), head.classes if head else None)
    said = Description(
        normalisation=found.normalisation, preprocessing_from=found.normalisation_from,
        labels=labels, size=size_beside(beside.get("size", ())),
    )  # fmt: skip
    arrays = found.body | (_renamed(head, table) if head else {})
    note = joined((average, *found.notes, *(head.notes if head else ()), told))
    return StateDict(arrays, said, note, end, head, problem)


def _renamed(head: StateHead, table: KeyTable) -> Arrays:
    """Return a head's arrays under the implementation's names."""
    arrays: Arrays = {}
    for name, array in head.arrays.items():
        layer, _, part = name.rpartition(".")
        hidden = table.hidden.format(n=layer.removeprefix("hidden."))
        arrays[f"{table.classifier if layer == 'classifier' else hidden}.{part}"] = array
    return arrays
