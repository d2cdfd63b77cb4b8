"""Networks with few blocks, for tests whose time is that of a framework's compiler."""

from dataclasses import replace

from mobilenetv2.spec.network import NetworkSpec

STAGES = {0: 1, 1: 2, 5: 1, 6: 1}
"""Stage of the paper's seven -> its blocks."""


def short(spec: NetworkSpec) -> NetworkSpec:
    """The spec with five of its 17 blocks, one of each kind that the whole network has.

    One without expansion, one of stride 2, one with a shortcut, and one that changes the channels
    at stride 2 and at stride 1.
    """
    assert len(spec.stages) == 7
    stages = tuple(replace(spec.stages[stage], repeats=count) for stage, count in STAGES.items())
    return spec.replace(stages=stages)
