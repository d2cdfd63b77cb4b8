"""Subgraphs of XNNPACK: read as data, refused when cut short (the attack: test_executorch.py)."""

import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.xnnpack import HEAD, MAGIC, SCHEMA, UNIONS, steps


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(100),
        bytes(4) + HEAD.pack(MAGIC, 30, 32, 2**31, 0, 0) + bytes(100),
        bytes(4) + HEAD.pack(MAGIC, 30, 2**32 - 1, 8, 0, 0) + bytes(100),
        bytes(4) + HEAD.pack(MAGIC, 30, 32, 64, 0, 64) + bytes(100),
        bytes(4) + HEAD.pack(MAGIC, 30, 32, 64, 0, 0) + bytes(100),
    ],
    ids=["empty", "zeros", "large", "far", "constants", "no graph"],
)
def test_what_is_no_subgraph_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        steps(data, 0, 1, {})


def test_every_node_has_a_table() -> None:
    for name in UNIONS["Nodes"].values():
        assert name.rpartition("=")[2] in SCHEMA
