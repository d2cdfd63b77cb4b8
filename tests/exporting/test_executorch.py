"""ExecuTorch's files: how much of them XNNPACK runs, and with which threads."""

import operator
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting import executorch as format_
from mobilenetv2.exporting.job import Options, reload
from mobilenetv2.formats import FORMATS
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.executorch import read_artifact
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("executorch", reason="executorch is not installed (extra: export)")
pytestmark = pytest.mark.slow  # its import alone takes seconds

EXECUTORCH = FORMATS["executorch"]
SPEC = published("small", width=0.1, classes=5, input_channels=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file. Only to be read."""
    path = tmp_path_factory.mktemp("executorch") / "m.pte"
    format_.write_executorch(ModelConfig.default(SPEC), random_arrays(SPEC), path, Options())
    return path


def test_the_config_is_inside(made: Path) -> None:
    assert read_artifact(made).config == ModelConfig.default(SPEC)


def test_everything_is_handed_to_xnnpack() -> None:
    spec = NetworkSpec(classes=7, size=(64, 64), numerics=Numerics("same", 1e-3))
    edge = format_.lowered(ModelConfig.default(spec), random_arrays(spec)).exported_program()
    calls = [node.target for node in edge.graph.nodes if node.op == "call_function"]
    assert Counter(getattr(call, "__name__", str(call)) for call in calls) == {
        "executorch_call_delegate": 1, operator.getitem.__name__: 1,
    }  # fmt: skip
    inside = edge.graph_module.lowered_module_0.original_module.graph.nodes
    names = [str(node.target) for node in inside if node.op == "call_function"]
    found = Counter(re.sub(r".*?aten\.([\w.]+).*", r"\1", name, flags=re.DOTALL) for name in names)
    assert found["convolution.default"] == 52 and found["hardtanh.default"] == 35
    assert found["add.Tensor"] == 10 and found["mean.dim"] == 1
    assert found["linear.default"] + found["addmm.default"] == 1
    assert found["constant_pad_nd.default"] == 5


def test_nothing_is_printed(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; import numpy\n"
        "from mobilenetv2.exporting import executorch\n"
        "from mobilenetv2.exporting.job import Options, reload\n"
        "from mobilenetv2.formats import FORMATS\n"
        "from mobilenetv2.spec.published import published\n"
        "from mobilenetv2.spec.records import ModelConfig\n"
        "from mobilenetv2.model.arrays import random_arrays\n"
        "spec = published('small', width=0.1, classes=4)\n"
        "config = ModelConfig.default(spec)\n"
        "executorch.write_executorch(config, random_arrays(spec), Path('m.pte'), Options())\n"
        "engine = reload(FORMATS['executorch'], Path('m.pte'), 1)\n"
        "engine.run(numpy.zeros((2, 3, *spec.size), numpy.float32), 'logits')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_engines_have_their_own_threads(made: Path) -> None:
    # One pool for all programs of a process: another number of threads would free it under them.
    x = np.random.default_rng(0).normal(size=(1, 1, *SPEC.size)).astype(np.float32)
    engines = [reload(EXECUTORCH, made, threads) for threads in (1, 3, None)]
    wanted = engines[0].run(x, "logits")
    for engine in reversed(engines):
        np.testing.assert_allclose(engine.run(x, "logits"), wanted, atol=1e-6)


def test_another_process_answers_the_same_bits(made: Path) -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, *SPEC.size)).astype(np.float32)
    program = (
        "import sys; from pathlib import Path\n"
        "from mobilenetv2.runtime.engines.executorch import load_program, read_artifact\n"
        f"graph = read_artifact(Path({str(made)!r})).graph\n"
        "answer = load_program(graph, lambda: None, 1, 'm.pte')[1]\n"
        "sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))\n"
        "assert 'executorch.exir' not in sys.modules, 'the exporter takes seconds to import'\n"
    )
    # Beside other runtimes, this process's, ExecuTorch aborts.
    done = subprocess.run(
        [sys.executable, "-c", program], input=x.tobytes(), capture_output=True, check=True
    )
    assert reload(EXECUTORCH, made, 1).run(x, "logits").tobytes() == done.stdout


def test_a_program_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    body = b"no program" * 20
    (tmp_path / "bad.pte").write_bytes(body + seal.digest(body).encode())
    with pytest.raises(ArtifactError, match=r"bad\.pte: ExecuTorch cannot run it"):
        reload(EXECUTORCH, tmp_path / "bad.pte")
