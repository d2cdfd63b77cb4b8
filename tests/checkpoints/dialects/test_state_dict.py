"""A state dict as one implementation's body and head."""

from typing import Any

import numpy as np

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.dialects.registry import TENSORS, TORCHVISION
from mobilenetv2.checkpoints.dialects.state_dict import StateDict, read_state_dict
from mobilenetv2.checkpoints.dialects.tables import TORCHVISION as TABLE
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels

SPEC = published("torchvision", width=0.1, classes=3)


def read(arrays: Arrays, **metadata: Any) -> StateDict | None:
    container = Container(arrays, {"format": "pytorch", **metadata})
    return read_state_dict(container, TABLE, TORCHVISION.signature, TORCHVISION.trunk)


def test_body_and_head_get_the_implementations_own_names() -> None:
    foreign = TORCHVISION.encode(SPEC, random_arrays(SPEC))
    renamed = {
        f"net.{name.replace('classifier.1', 'head.fc')}": array for name, array in foreign.items()
    }
    found = read(renamed, key="ema.state_dict", beside={
        "labels": [["ema.classes", ["a", "b", "c"]]], "size": [["args.img_size", 96]],
    })  # fmt: skip
    assert found is not None and found.head is not None and found.problem == ""
    expected = {name for name in foreign if not name.endswith("num_batches_tracked")}
    assert set(found.arrays) == expected
    assert found.note == "Taken from 'ema.state_dict', the average of the weights."
    assert (found.said.labels, found.said.size) == (Labels(("a", "b", "c")), (96, 96))


def test_a_head_that_cannot_be_read_is_a_problem_of_the_head_alone() -> None:
    foreign = TORCHVISION.encode(SPEC, random_arrays(SPEC))
    found = read(foreign | {"gate.weight": np.zeros((2, 2, 2), np.float32)})
    assert found is not None and found.head is None and "gate.weight" in found.problem
    assert found.end is not None and found.end.features == 1280


def test_names_of_another_implementation() -> None:
    timm = TENSORS["timm"]
    assert read(timm.encode(SPEC, random_arrays(SPEC))) is None and read({}) is None
