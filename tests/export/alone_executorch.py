"""ExecuTorch's files against the plain reference, and how much of them XNNPACK runs."""

import operator
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.export import executorch as format_
from mobilenetv2.export.job import Options
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("executorch", reason="executorch is not installed (extra: export)")
pytestmark = pytest.mark.slow  # its import alone takes seconds

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "same, odd": NetworkSpec(size=(65, 48), numerics=Numerics("same", 1e-3), **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
}


def case(spec: NetworkSpec) -> tuple[ModelConfig, NDArray, NDArray]:
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    shape = (3, spec.input_channels, *spec.size)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return ModelConfig.default(spec), x, network(x)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file. Only to be read."""
    spec = SPECS["small, grey"]
    path = tmp_path_factory.mktemp("executorch") / "m.pte"
    format_.write(ModelConfig.default(spec), random_arrays(spec), path, Options())
    return path


@pytest.mark.parametrize("name", SPECS)
def test_logits_are_those_of_the_plain_reference(name: str, tmp_path: Path) -> None:
    config, x, expected = case(SPECS[name])
    path = tmp_path / "m.pte"
    format_.write(config, random_arrays(config.spec), path, Options())
    engine = format_.reload(path)
    assert engine.outputs == ("logits",) and not engine.takes_pictures
    first = engine.run(x[:1], "logits")
    found = engine.run(x, "logits")
    assert found.dtype == np.float32 and (found[:1] == first).all()
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    assert expected.std() > 0.3
    assert format_.config_inside(path) == config


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
        "from mobilenetv2.export import executorch\n"
        "from mobilenetv2.export.job import Options\n"
        "from mobilenetv2.spec.published import published\n"
        "from mobilenetv2.spec.records import ModelConfig\n"
        "from mobilenetv2.model.arrays import random_arrays\n"
        "spec = published('small', width=0.1, classes=4)\n"
        "config = ModelConfig.default(spec)\n"
        "executorch.write(config, random_arrays(spec), Path('m.pte'), Options())\n"
        "engine = executorch.reload(Path('m.pte'), 1)\n"
        "engine.run(numpy.zeros((2, 3, *spec.size), numpy.float32), 'logits')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("threads", [1, 3])
def test_the_threads_are_chosen_before_anything_loads(made: Path, threads: int) -> None:
    # Another pool under a loaded method is freed memory: it aborted, or never came back.
    program = (
        "import sys; import numpy; from pathlib import Path\n"
        "from mobilenetv2.errors import ArtifactError\n"
        "from mobilenetv2.export import executorch\n"
        "path, threads = Path(sys.argv[1]), int(sys.argv[2])\n"
        "config = executorch.config_inside(path)\n"
        "engine = executorch.reload(path, threads)\n"
        "from executorch.extension.pybindings import portable_lib as pool\n"
        "assert pool._threadpool_get_thread_count() == threads\n"
        "x = numpy.zeros((1, 1, *config.spec.size), numpy.float32)\n"
        "before = engine.run(x, 'logits')\n"
        "try:\n"
        "    executorch.reload(path, threads + 1)\n"
        "except ArtifactError as error:\n"
        "    print(str(error).partition(': ')[2])\n"
        "assert (executorch.reload(path).run(x, 'logits') == before).all()\n"
        "assert (engine.run(x, 'logits') == before).all()\n"
        "assert pool._threadpool_get_thread_count() == threads\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(made), str(threads)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout == (
        f"ExecuTorch computes with {threads} threads in this process already; "
        "another number needs a process of its own\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_it_cannot_do_is_one_sentence(made: Path, tmp_path: Path) -> None:
    engine = format_.reload(made)
    x = np.zeros((1, 1, *SPECS["small, grey"].size), np.float32)
    with pytest.raises(ArtifactError, match=r"m\.pte: it has no features, only logits"):
        engine.run(x, "features")
    with pytest.raises(ArtifactError, match=r"m\.pte: it takes \[1, .*\], not \[1, "):
        engine.run(x[:, :, :20], "logits")
    bad = tmp_path / "bad.pte"
    damaged = bytearray(made.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    bad.write_bytes(damaged)
    with pytest.raises(ArtifactError, match=r"bad\.pte: it was changed or damaged"):
        format_.reload(bad)
    body = b"no program" * 20
    bad.write_bytes(body + seal.digest(body).encode())
    with pytest.raises(ArtifactError, match=r"bad\.pte: ExecuTorch cannot run it"):
        format_.reload(bad)
