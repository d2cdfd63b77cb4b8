"""ExecuTorch's programs as data: those of every network that can be described, no other number."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_native import program_places, with_number

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.executorch import check, config_text, read, steps
from mobilenetv2.graph.lowering import lower_shapes
from mobilenetv2.model import seal
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec, Numerics, StageSpec
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(
    width=1.0, size=(33, 32), classes=3, stem_channels=4, head_channels=8, divisor=1,
    stages=(StageSpec(1, 4, 1, 1),), numerics=Numerics("same", 1e-3),
    classifier=ClassifierSpec("max"),
)  # fmt: skip
CONFIG = ModelConfig.default(SPEC)
PROGRAM = """
import sys
from pathlib import Path
from mobilenetv2.exporting.executorch import write_executorch
from mobilenetv2.exporting.job import Options
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.checkpoints.description import parse_config
config = parse_config(sys.stdin.read())
write_executorch(config, random_arrays(config.spec), Path(sys.argv[1]), Options())
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A program with every sort of part, written in another process, without its seal."""
    pytest.importorskip("executorch", reason="executorch is not installed (extra: export)")
    out = tmp_path_factory.mktemp("executorch") / "m.pte"
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(out)]
    subprocess.run(command, input=CONFIG.to_json(), text=True, check=True)
    return Path(out).read_bytes()[: -seal.DIGITS]


@pytest.mark.slow
def test_what_the_exporter_makes_is_what_is_expected(written: bytes) -> None:
    program = read(written)
    assert config_text(program) == CONFIG.to_json()
    check(written, program, CONFIG)
    with pytest.raises(ArtifactError):
        check(written, program, ModelConfig.default(NetworkSpec()))


@pytest.mark.slow
def test_no_number_can_be_changed(written: bytes) -> None:
    """The attack, on the program and on both subgraphs of XNNPACK."""
    everything = program_places(written)
    choice, taken = random.Random(0), set[int]()
    for at, kind in choice.sample(everything, 500):
        changed = with_number(written, at, kind, choice.choice((2**31 - 1, -1, 2**30)))
        try:
            program = read(changed)
            check(changed, program, CONFIG)
        except ArtifactError:
            continue
        taken |= {at} if changed != written else set()
    # Only a node's number for debuggers is free.
    assert len(everything) > 500 and len(taken) < len(steps(lower_shapes(CONFIG)))


def test_the_steps_of_a_network() -> None:
    kinds = [step.kind for step in steps(lower_shapes(CONFIG))]
    assert kinds[:4] == ["Input", "Pad", "Transpose", "Convolution"]
    assert kinds[-4:] == ["Transpose", "Maximum", "Reshape", "Linear"]
    assert kinds.count("Depthwise") == kinds.count("Add") == 1


@pytest.mark.parametrize("data", [b"", b"no program" * 20, b"\0\0\0\0ET12" + bytes(100)])
def test_what_is_no_program_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        read(data)
