"""What every export format keeps: its file is the network, says its config, and is old or new.

What is particular to one format is in its own module.
"""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heads import HEADS, with_head
from short import short

from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError, MobileNetV2Error, SpecError
from mobilenetv2.exporting.job import (
    Options,
    Request,
    make_file,
    reload,
    require_honoured,
    writer_of,
)
from mobilenetv2.exporting.verify import TOLERANCES, Reference
from mobilenetv2.formats import FORMATS, PRECISIONS, Format
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.runtime.engines.engine import Engine
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

TINY: Any = {"width": 0.1, "classes": 5}
SPECS = {
    "symmetric": short(NetworkSpec(size=(48, 64), **TINY)),
    "same, odd": short(NetworkSpec(size=(65, 97), numerics=Numerics("same", 1e-3), **TINY)),
    "article": short(published("article-torch", size=64, **TINY)),
    "relu, one pixel left": NetworkSpec(
        size=(32, 32),
        stages=tuple(dataclasses.replace(s, repeats=1) for s in PAPER_STAGES),
        numerics=Numerics(activation="relu"),
        **TINY,
    ),
    "grey": short(published("small", input_channels=1, **TINY)),
}
SPEC = SPECS["grey"]
SLOW = ("coreml", "executorch", "pt2")
"""Formats that take seconds to import or to trace."""
UNSEALED = ("savedmodel", "pt2")
"""Programs of whole frameworks, whose files are not read back by this project."""
SAME = ("onnx", "openvino", "litert", "ncnn", "triton")
"""Formats of which one network gives the same bytes every time: others' writers put dates and
numbers of their own into them."""


def marked(name: str, *values: Any) -> Any:
    marks = [pytest.mark.slow] if name in SLOW else []
    return pytest.param(name, *values, marks=marks, id=" ".join([name, *map(str, values)]))


every_format = pytest.mark.parametrize("name", [marked(name) for name in FORMATS])


@pytest.fixture(autouse=True)
def installed(name: str) -> None:
    if missing := FORMATS[name].missing():
        pytest.skip(f"{name} needs {', '.join(missing)}: the extra 'export' has it")


def write(folder: Path, name: str, spec: NetworkSpec = SPEC, **options: Any) -> Path:
    out = folder / f"shoes{FORMATS[name].suffix}"
    config = ModelConfig.default(spec)
    writer_of(FORMATS[name])(config, random_arrays(spec), out, Options(**options))
    return out


Put = Callable[[Path, str], Path]


@pytest.fixture(scope="module")
def put(tmp_path_factory: pytest.TempPathFactory) -> Put:
    """Puts a format's files of ``SPEC`` into a folder; they are written once."""
    made: dict[str, Path] = {}

    def copy(folder: Path, name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            write(made[name], name)
        shutil.copytree(made[name], folder, dirs_exist_ok=True)
        return folder / f"shoes{FORMATS[name].suffix}"

    return copy


def reference(spec: NetworkSpec) -> Reference:
    config = ModelConfig.default(spec)
    return Reference(config, random_arrays(spec), sample_pictures(config.preprocessing, 2))


@pytest.mark.parametrize(
    ("name", "precision", "spec"),
    [
        marked(n, p, s)
        for n in FORMATS
        for p in FORMATS[n].precisions
        for s in (SPECS if p == "float32" else ("same, odd", "grey"))
    ],
)
def test_a_file_is_the_network(name: str, precision: Any, spec: str, tmp_path: Path) -> None:
    made, expected = FORMATS[name], reference(SPECS[spec])
    out = write(tmp_path, name, SPECS[spec], precision=precision)
    # Nothing is there but what the table names.
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in made.files(out)}
    # TensorFlow takes another number of threads only before it computes anything.
    engine = reload(made, out, None if "tensorflow" in made.packages else 1)
    assert (engine.outputs, engine.takes_pictures) == (("logits",), False)
    found = expected.compare(engine, precision)
    assert found.passed and found.deviation > 0.3, found
    if made.readable:  # ncnn's adds where it came from
        inside = dataclasses.replace(load_artifact(out).config, origin=None)
        assert inside == dataclasses.replace(expected.config, origin=None)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        marked(n, o)
        for n in FORMATS
        for o in (
            {"pictures": True},
            {"batch": 2},
            {"pictures": True, "batch": 2, "precision": "float16"},
        )
        if FORMATS[n].options | {"precision"} >= o.keys()
        and FORMATS[n].has(str(o.get("precision", "float32")))
    ],
)
def test_pictures_and_a_fixed_batch(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    for spec in ("symmetric", "same, odd"):
        (folder := tmp_path / spec).mkdir()
        engine = reload(FORMATS[name], write(folder, name, SPECS[spec], **options))
        assert engine.takes_pictures == options.get("pictures", False)
        usual = 1 if name == "litert" else None  # LiteRT takes one at a time
        assert getattr(engine, "batch", None) == options.get("batch", usual)
        found = reference(SPECS[spec]).compare(engine, options.get("precision", "float32"))
        assert found.passed, found


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        marked(n, p)
        for n in FORMATS
        for p in FORMATS[n].precisions
        if "any_size" in FORMATS[n].options
    ],
)
def test_pictures_of_any_size(name: str, precision: Any, tmp_path: Path) -> None:
    spec = SPECS["symmetric"]
    out = write(tmp_path, name, spec, precision=precision, any_size=True)
    engine = reload(FORMATS[name], out)
    network = plain.build(spec, dtype="float64")
    plain.load(network, random_arrays(spec))
    for size in ((48, 64), (65, 33), (32, 96)):
        x = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)
        wanted = network(x)
        difference = np.abs(engine.run(x, "logits") - wanted).max()
        assert difference <= TOLERANCES[precision] * max(1.0, np.abs(wanted).max())
    with pytest.raises(SpecError, match="'same' padding depends on the image's size"):
        write(tmp_path, name, SPECS["same, odd"], any_size=True)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "name", [marked(name) for name in FORMATS if "outputs" in FORMATS[name].options]
)
def test_probabilities_are_those_of_the_logits_and_never_twice(
    name: str, head: str, tmp_path: Path
) -> None:
    expected = reference(spec := with_head(head))
    out = write(tmp_path, name, spec, outputs="probabilities", pictures=True)
    artifact = load_artifact(out)
    engine = create_engine(artifact)
    found = expected.compare(engine, "float32")
    assert found.passed and found.outputs == "probabilities" and found.deviation > 1e-3, found
    x, logits = expected.pictures
    kind = spec.classifier.outputs
    np.testing.assert_allclose(
        probabilities(engine.run(x, "logits"), kind), probabilities(logits, kind), atol=1e-4
    )
    config, arrays = read_checkpoint(out)
    assert config.spec == spec and config.preprocessing == artifact.config.preprocessing
    folded = fold(spec, random_arrays(spec))
    for layer, pair in fold(spec, arrays).items():
        np.testing.assert_allclose(pair[0], folded[layer][0], rtol=1e-6)


@every_format
def test_what_it_does_not_honour_is_refused_with_those_that_do(name: str) -> None:
    made = FORMATS[name]
    chosen: dict[str, Any] = {
        "pictures": True, "batch": 1, "any_size": True, "opset": 17, "outputs": "probabilities",
    }  # fmt: skip
    require_honoured(made, Options(outputs="logits"))
    for option, value in chosen.items():
        options = Options(**{option: value})
        if option in made.options:
            require_honoured(made, options)
            continue
        able = next(one.name for one in FORMATS.values() if option in one.options)
        message = f"format {name} has no option {option}, .*{able}"
        with pytest.raises(ArtifactError, match=message):
            require_honoured(made, options)
    for precision in PRECISIONS:
        if precision in made.precisions:
            require_honoured(made, Options(precision))
        else:
            with pytest.raises(ArtifactError, match=f"has no {precision}; it has float32"):
                require_honoured(made, Options(precision))


@every_format
def test_pictures_of_another_size_and_other_outputs_are_refused(
    name: str, put: Put, tmp_path: Path
) -> None:
    engine = reload(FORMATS[name], put(tmp_path, name))
    x = np.zeros((1, 1, *SPEC.size), np.float32)
    with pytest.raises(ArtifactError, match=r"shoes.*no features, only logits"):
        engine.run(x, "features")
    with pytest.raises(ArtifactError, match="shoes"):
        engine.run(np.zeros((1, 1, 40, 40), np.float32), "logits")
    assert engine.run(x, "logits").shape == (1, 5)


@pytest.mark.parametrize("name", [marked(name) for name in FORMATS if name not in UNSEALED])
def test_a_damaged_file_is_refused(name: str, put: Put, tmp_path: Path) -> None:
    whole = put(tmp_path, name)
    parts = [
        part.relative_to(tmp_path)
        for part in sorted(tmp_path.rglob("*"))
        if part.is_file() and part.suffix != ".json" and "Manifest" not in part.name
    ]
    assert parts
    for index, part in enumerate(parts):
        for kind in ("flipped", "cut"):
            copy = tmp_path.parent / f"{tmp_path.name}-{index}-{kind}"
            shutil.copytree(tmp_path, copy)
            data = bytearray((copy / part).read_bytes())
            data[len(data) // 2] ^= 1
            (copy / part).write_bytes(data if kind == "flipped" else data[: len(data) // 2])
            with pytest.raises(MobileNetV2Error, match="shoes"):
                reload(FORMATS[name], copy / whole.name)
            shutil.rmtree(copy)


@pytest.mark.parametrize("name", [marked(name) for name in FORMATS if name in SAME])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_same_network_gives_the_same_files(name: str, precision: str, tmp_path: Path) -> None:
    pictures = precision == "float16" and "pictures" in FORMATS[name].options
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, name, precision=precision, pictures=pictures)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@dataclass
class Maker:
    """Writes another network over an export, and keeps it, refuses it, or fails on the way."""

    end: str

    def write(self, request: Request, out: Path) -> None:
        spec = SPEC.replace(classes=4)
        config = ModelConfig.default(spec)
        writer_of(request.format)(config, random_arrays(spec, seed=1), out, request.options)
        if self.end == "fails":
            raise RuntimeError("the disk is full")

    def compare(self, request: Request, engine: Engine) -> "Maker":
        return self

    def refusal(self, verdict: "Maker") -> str:
        return "another network" if self.end == "refused" else ""

    def facts(self, request: Request) -> dict[str, Any]:
        return {}

    def to_dict(self) -> dict[str, Any]:
        return {}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@every_format
@pytest.mark.parametrize("end", ["kept", "refused", "fails"])
def test_an_export_is_old_or_new_never_half(name: str, end: str, put: Put, tmp_path: Path) -> None:
    made: Format = FORMATS[name]
    out = put(tmp_path, name)
    before = contents(tmp_path)
    outcome = make_file(Maker(end), Request(made, Options(), out))
    engine = reload(made, out)
    classes = engine.run(np.zeros((1, 1, *SPEC.size), np.float32), "logits").shape[1]
    if end == "kept":
        assert (outcome.error, classes) == ("", 4)
        assert contents(tmp_path).keys() - before.keys() == {f"{out.name}.comparison.json"}
    else:
        assert {"refused": "another network", "fails": "the disk is full"}[end] in outcome.error
        assert contents(tmp_path) == before and classes == 5
