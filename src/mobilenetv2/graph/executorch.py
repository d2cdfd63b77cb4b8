"""Program of an ExecuTorch file as data: its config, without the runtime."""

from typing import Any

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.tables import Schema, Tables, Unions

METHOD, CONFIG_METHOD = "forward", "mobilenetv2_config"
"""Names of the network's method, and of one without inputs that returns the config, since programs
hold only methods."""
MAGIC = b"ET12"
SCHEMA: Schema = {
    "Program": "version:uint execution_plan:[ExecutionPlan] constant_buffer:[Buffer] "
    "backend_delegate_data:[Inline] segments:[Segment] constant_segment:Offsets "
    "mutable_data_segments:[Offsets] named_data:[NamedData]",
    "ExecutionPlan": "name:string container_meta_type:Container values:[Value] inputs:[int] "
    "outputs:[int] chains:[Chain] operators:[Operator] delegates:[Delegate] "
    "non_const_buffer_sizes:[long] -",
    "Container": "encoded_inp_str:string encoded_out_str:string",
    "Buffer": "storage:[ubyte]",
    "Inline": "data:[ubyte]",
    "Segment": "offset:ulong size:ulong",
    "Offsets": "segment_index:uint offsets:[ulong]",
    "NamedData": "key:string segment_index:uint",
    "Value": "val:Kinds",
    "Null": "",
    "Int": "int_val:long",
    "Bool": "bool_val:bool",
    "Double": "double_val:double",
    "String": "string_val:string",
    "IntList": "items:[long]",
    "Tensor": "scalar_type:byte storage_offset:int sizes:[int] dim_order:[ubyte] "
    "requires_grad:bool data_buffer_idx:uint allocation_info:Allocation layout:byte "
    "shape_dynamism:byte -",
    "Allocation": "memory_id:uint memory_offset_low:uint memory_offset_high:uint",
    "Chain": "inputs:[int] outputs:[int] instructions:[Instruction] -",
    "Instruction": "instr_args:Calls",
    "KernelCall": "op_index:int args:[int]",
    "DelegateCall": "delegate_index:int args:[int]",
    "Operator": "name:string overload:string",
    "Delegate": "id:string processed:Reference compile_specs:[Specs]",
    "Reference": "location:byte index:uint",
    "Specs": "key:string value:[ubyte]",
}
"""Parts of ExecuTorch's schema that its exporter uses for such a network."""
UNIONS: Unions = {
    "Kinds": {
        1: "Null", 2: "Int", 3: "Bool", 4: "Double", 5: "Tensor", 6: "String", 7: "IntList",
    },
    "Calls": {1: "KernelCall", 2: "DelegateCall"},
}  # fmt: skip


def read(data: bytes) -> dict[str, Any]:
    """Return the program of a file.

    Raises:
        ArtifactError: the file is no program, damaged, or holds more than such a program.
    """
    if data[4:8] != MAGIC:
        raise ArtifactError("no program of ExecuTorch")
    return Tables(data, SCHEMA, UNIONS).root("Program")


def config_text(program: dict[str, Any]) -> str | None:
    """Return the text that the method for the config returns; None if there is no such method."""
    for plan in program["execution_plan"] or []:
        values = plan["values"] or []
        if plan["name"] == CONFIG_METHOD and len(values) == 1 and values[0]["val"]:
            kind, value = values[0]["val"]
            text: str | None = value["string_val"] if kind == "String" else None
            return text
    return None
