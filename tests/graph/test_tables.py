"""Flatbuffers are read with every offset checked: what is not in the schema is an error."""

import flatbuffers
import numpy as np
import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.tables import MOST_PARTS, Tables, TablesError, plain

SCHEMA = {
    "Root": "name:string count:int=7 share:float items:[Item] numbers:[int] any:Any - flag:bool",
    "Item": "side:int inner:Item",
}
UNIONS = {"Any": {3: "Item"}}


def item(builder: flatbuffers.Builder, side: int) -> int:
    builder.StartObject(2)
    builder.PrependInt32Slot(0, side, 0)
    return int(builder.EndObject())


def made(kind: int = 3, extra: bool = False) -> bytes:
    """A table with every sort of field."""
    builder = flatbuffers.Builder()
    name = builder.CreateString("Mütze")
    tables = [item(builder, side) for side in (1, 2)]
    numbers = builder.CreateNumpyVector(np.array([5, -6, 2**31 - 1], np.int32))
    builder.StartVector(4, 2, 4)
    for one in reversed(tables):
        builder.PrependUOffsetTRelative(one)
    items = builder.EndVector()
    builder.StartObject(9)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependFloat32Slot(2, 0.5, 0.0)
    builder.PrependUOffsetTRelativeSlot(3, items, 0)
    builder.PrependUOffsetTRelativeSlot(4, numbers, 0)
    builder.PrependUint8Slot(5, kind, 0)
    builder.PrependUOffsetTRelativeSlot(6, tables[0], 0)
    builder.PrependBoolSlot(7 if extra else 8, True, False)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def test_every_sort_of_field_is_read() -> None:
    assert plain(Tables(made(), SCHEMA, UNIONS).root("Root")) == {
        "name": "Mütze", "count": 7, "share": 0.5,
        "items": ({"side": 1, "inner": None}, {"side": 2, "inner": None}),
        "numbers": (5, -6, 2**31 - 1), "any": ("Item", {"side": 1, "inner": None}), "flag": 1,
    }  # fmt: skip


def test_no_long_list_is_compared() -> None:
    with pytest.raises(ArtifactError, match="65 numbers"):
        plain(np.zeros(65, "<f4"))


def test_what_the_schema_does_not_have_is_refused() -> None:
    with pytest.raises(TablesError, match="unknown kind of Any"):
        Tables(made(kind=2), SCHEMA, UNIONS).root("Root")
    with pytest.raises(TablesError, match="unknown part of Root"):
        Tables(made(extra=True), SCHEMA, UNIONS).root("Root")
    with pytest.raises(TablesError, match="unknown part of Root"):
        Tables(made(), {**SCHEMA, "Root": SCHEMA["Root"].rpartition(" ")[0]}, UNIONS).root("Root")


def test_no_changed_byte_leads_out_of_the_data() -> None:
    data = made()
    for at in range(len(data)):
        for value in (0, 1, 4, 0x7F, 0x80, 0xFF):
            changed = data[:at] + bytes([value]) + data[at + 1 :]
            try:
                plain(Tables(changed, SCHEMA, UNIONS).root("Root"))
            except TablesError as error:
                assert str(error)


@pytest.mark.parametrize("length", range(0, 40, 3))
def test_data_cut_short_is_refused(length: int) -> None:
    with pytest.raises(TablesError):
        Tables(made()[:length], SCHEMA, UNIONS).root("Root")


def test_tables_in_tables_are_bounded() -> None:
    builder, inner = flatbuffers.Builder(), 0
    for _ in range(100):
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(1, inner, 0)
        inner = builder.EndObject()
    builder.Finish(inner)
    with pytest.raises(TablesError, match="in too many tables"):
        Tables(bytes(builder.Output()), SCHEMA, UNIONS).root("Item")


def test_many_names_of_one_table_are_bounded() -> None:
    count = MOST_PARTS + 1
    builder = flatbuffers.Builder()
    one = item(builder, 1)
    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependUOffsetTRelative(one)
    items = builder.EndVector()
    builder.StartObject(9)
    builder.PrependUOffsetTRelativeSlot(3, items, 0)
    builder.Finish(builder.EndObject())
    with pytest.raises(TablesError, match="too many tables"):
        Tables(bytes(builder.Output()), SCHEMA, UNIONS).root("Root")
