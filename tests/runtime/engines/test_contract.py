"""What every engine keeps, on every format that it runs: the same answers, the same refusals.

What is particular to one engine is in its own module.
"""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from short import short

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting.job import Options, writer_of
from mobilenetv2.formats import ENGINES, FORMATS, RUNTIMES, engines_of
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.engine import Artifact
from mobilenetv2.runtime.predictor import build_artifact, create_engine, load_artifact
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": short(NetworkSpec(size=(48, 64), **TINY)),
    "same, odd": short(NetworkSpec(size=(65, 97), numerics=Numerics("same", 1e-3), **TINY)),
    "article": short(published("article-torch", size=64, **TINY)),
    "small, grey": short(published("small", input_channels=1, **TINY)),
}
SPEC = SPECS["symmetric"]
PAIRS = [(engine, format_) for engine in ENGINES for format_ in RUNTIMES[engine].formats]
"""(engine, format of the files that it runs)."""
TITLES = {
    "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT", "ncnn": "ncnn",
    "mnn": "MNN", "executorch": "ExecuTorch",
}  # fmt: skip
BUILDERS = [engine for engine in ENGINES if RUNTIMES[engine].builds]
"""Engines that run a model folder."""
SLOW = ("executorch",)
"""Engines that take seconds to start, and their formats to be written."""
pairs = pytest.mark.parametrize(
    ("engine", "format_"),
    [
        pytest.param(*pair, id=" of ".join(pair), marks=[pytest.mark.slow] * (pair[0] in SLOW))
        for pair in PAIRS
    ],
)
Exported = Callable[..., Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Writes a network in a format, once; skips where the format's packages are not here."""
    made: dict[tuple[Any, ...], Path] = {}

    def write(format_: str, spec: NetworkSpec = SPEC, **options: Any) -> Path:
        key = (format_, spec, *options.items())
        if missing := FORMATS[format_].missing():
            pytest.skip(f"{format_} needs {', '.join(missing)}: the extra 'export' has it")
        if key not in made:
            out = tmp_path_factory.mktemp(format_) / f"m{FORMATS[format_].suffix}"
            config = ModelConfig.default(spec)
            writer_of(FORMATS[format_])(config, random_arrays(spec), out, Options(**options))
            made[key] = out
        return made[key]

    return write


@pytest.fixture(scope="module")
def artifact(exported: Exported) -> Callable[..., Artifact]:
    """A network in a format, read from its files; errors call it ``shoes``."""

    def read(format_: str, spec: NetworkSpec = SPEC, **options: Any) -> Artifact:
        return dataclasses.replace(load_artifact(exported(format_, spec, **options)), where="shoes")

    return read


@pytest.fixture(autouse=True)
def installed(request: pytest.FixtureRequest) -> None:
    """An engine may be missing although what writes its files is here."""
    if "engine" in request.fixturenames:
        own = RUNTIMES[request.getfixturevalue("engine")].own
        if missing := own.missing():
            pytest.skip(f"{own.name} needs {', '.join(missing)}: the extra 'export' has it")


def noise(spec: NetworkSpec, batch: int) -> NDArray:
    random = np.random.default_rng(batch)
    return random.normal(size=(batch, spec.input_channels, *spec.size)).astype(np.float32)


def reference(spec: NetworkSpec, x: NDArray) -> dict[str, NDArray]:
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    return network.intermediates(x)


def assert_close(found: NDArray, wanted: NDArray) -> None:
    # In bfloat16, a default on some processors, the difference would be 100 times as large.
    assert found.dtype == np.float32 and found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


@pairs
@pytest.mark.parametrize("name", SPECS)
def test_logits_are_those_of_the_plain_reference(
    engine: str, format_: str, name: str, artifact: Callable[..., Artifact]
) -> None:
    spec = SPECS[name]
    running = create_engine(artifact(format_, spec), engine)
    assert "logits" in running.outputs and not running.takes_pictures
    for batch in (3, 1, 2):
        x = noise(spec, batch)
        wanted = reference(spec, x)["logits"]
        assert_close(running.run(x, "logits"), wanted)
    assert wanted.std() > 0.5  # else nothing would be compared
    assert running.run(x[:0], "logits").shape == (0, 5)


@pytest.mark.parametrize("engine", BUILDERS)
@pytest.mark.parametrize("name", SPECS)
def test_what_a_model_folder_becomes_gives_features_and_the_last_map_too(
    engine: str, name: str
) -> None:
    spec = SPECS[name]
    config, arrays, x = ModelConfig.default(spec), random_arrays(spec), noise(spec, 3)
    wanted = reference(spec, x)
    built = build_artifact(config, arrays, Path("m"), engine)
    assert create_engine(built, engine).outputs == ("logits", "features")
    running = create_engine(build_artifact(config, arrays, Path("m"), engine, True), engine)
    assert running.outputs == ("logits", "features", "map")
    assert_close(running.run(x, "logits"), wanted["logits"])
    assert_close(running.run(x, "features"), wanted["features"])
    assert_close(running.run(x, "map"), wanted["head"])


@pytest.mark.parametrize(
    ("engine", "format_"), [(e, f) for e, f in PAIRS if FORMATS[f].options >= {"pictures", "batch"}]
)
def test_pictures_and_fixed_batches(
    engine: str, format_: str, artifact: Callable[..., Artifact]
) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, *SPEC.size, 3), np.uint8)
    wanted = reference(SPEC, engine_input(pictures, ModelConfig.default(SPEC).preprocessing))
    for options in ({"pictures": True}, {"pictures": True, "batch": 2}):
        running = create_engine(artifact(format_, **options), engine)
        assert running.takes_pictures
        assert_close(running.run(pictures, "logits"), wanted["logits"])


@pairs
def test_threads_and_the_order_in_memory_change_nothing(
    engine: str, format_: str, artifact: Callable[..., Artifact]
) -> None:
    x = noise(SPEC, 2)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    one, two = (create_engine(artifact(format_), engine, threads) for threads in (1, 2))
    wanted = one.run(x, "logits")
    np.testing.assert_allclose(two.run(x, "logits"), wanted, atol=1e-5)
    np.testing.assert_allclose(one.run(turned, "logits"), wanted, atol=1e-6)


@pairs
def test_threads_may_share_one_engine(
    engine: str, format_: str, artifact: Callable[..., Artifact]
) -> None:
    running = create_engine(artifact(format_), engine, threads=1)
    xs = [noise(SPEC, batch) for batch in (1, 2, 3, 4) * 4]
    wanted = [running.run(x, "logits") for x in xs]
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda x: running.run(x, "logits"), xs)
        for found, expected in zip(answers, wanted, strict=True):
            # OpenVINO's sums take another order when it computes several things at once.
            np.testing.assert_allclose(found, expected, atol=1e-5 * (engine == "openvino"), rtol=0)


@pairs
def test_pictures_of_another_size_are_refused(
    engine: str, format_: str, artifact: Callable[..., Artifact]
) -> None:
    running = create_engine(artifact(format_), engine)
    with pytest.raises(ArtifactError, match=r"^shoes: .+"):
        running.run(noise(SPEC, 1)[:, :, :40], "logits")
    assert running.run(noise(SPEC, 1), "logits").shape == (1, 5)  # it goes on afterwards


@pairs
def test_an_output_that_the_graph_does_not_have_is_refused(
    engine: str, format_: str, artifact: Callable[..., Artifact]
) -> None:
    running = create_engine(artifact(format_), engine)
    with pytest.raises(ArtifactError, match=r"^shoes: it has no features, only logits"):
        running.run(noise(SPEC, 1), "features")


@pairs
@pytest.mark.parametrize(
    "graph", [b"", b"no graph" * 100, b"<net/>", b"\0" * 1000], ids=["empty", "text", "xml", "null"]
)
def test_what_is_no_graph_is_one_sentence_and_nothing_is_printed(
    engine: str,
    format_: str,
    graph: bytes,
    artifact: Callable[..., Artifact],
    capfd: pytest.CaptureFixture[str],
) -> None:
    wrong = dataclasses.replace(artifact(format_), graph=graph)
    capfd.readouterr()
    with pytest.raises(ArtifactError, match=f"^shoes: {TITLES[engine]} cannot run it") as caught:
        create_engine(wrong, engine)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pairs
def test_a_graph_cut_short_is_refused(
    engine: str, format_: str, artifact: Callable[..., Artifact]
) -> None:
    whole = artifact(format_)
    cut = dataclasses.replace(whole, graph=whole.graph[: len(whole.graph) // 3])
    with pytest.raises(ArtifactError, match=f"^shoes: {TITLES[engine]} cannot run it"):
        create_engine(cut, engine)


@pairs
def test_engines_that_do_not_fit_are_refused_with_those_that_do(
    engine: str, format_: str, artifact: Callable[..., Artifact]
) -> None:
    made = artifact(format_)
    with pytest.raises(ArtifactError, match=r"threads 0 must be at least 1"):
        create_engine(made, engine, threads=0)
    with pytest.raises(ArtifactError, match="runtime 'tensorrt' is unknown"):
        create_engine(made, "tensorrt")
    for other in set(ENGINES) - set(engines_of(format_)):
        message = (
            f"shoes: the runtime {other} does not run {format_} files; {engines_of(format_)[0]}"
        )
        with pytest.raises(ArtifactError, match=re.escape(message)):
            create_engine(made, other)


PROGRAM = """
import sys, numpy as np
from pathlib import Path
from mobilenetv2.runtime.predictor import load_predictor
config, predict = load_predictor(Path(sys.argv[1]), runtime=sys.argv[2], threads=1)
print(predict(np.zeros((2, 48, 64, 3), np.uint8)).shape)
"""


@pairs
@pytest.mark.slow
def test_nothing_of_the_librarys_own_is_printed(
    engine: str, format_: str, exported: Exported
) -> None:
    """In a process of its own: some libraries speak once only."""
    command = [sys.executable, "-c", PROGRAM, str(exported(format_)), engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2, 5)\n", "")
