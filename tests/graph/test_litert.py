"""Our LiteRT files: Google's interpreter computes the network, and our reader takes them back."""

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import litert as container
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.graph.graph import Integers, real
from mobilenetv2.graph.litert import Storage, write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.folding import fold
from mobilenetv2.model.int8 import channel_integers
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing

SPECS = {
    "symmetric": published("torchvision", size=64, classes=7),
    "symmetric, odd": published("torchvision", width=0.35, size=(65, 100), classes=7),
    "same": published("paper", width=0.35, size=96, classes=7),
    "same, not square": published("paper", width=1.4, size=(66, 97), classes=7),
    "article-torch": published("article-torch", width=0.5, size=64, classes=7),
    "article-keras": published("article-keras", width=0.5, size=64, classes=7),
    "small": published("small", size=32, classes=10),
    "grey": NetworkSpec(width=0.35, size=(64, 64), classes=7, input_channels=1),
}


def config_of(spec: NetworkSpec) -> ModelConfig:
    labels = Labels(tuple(f"flöwer {index}" for index in range(spec.classes)))
    record = dataclasses.replace(Preprocessing.default(spec), interpolation="bicubic")
    origin = Origin("trained here", licence="Apache-2.0")
    return ModelConfig(spec, record, labels, origin, {"validation.top1": 0.93})


def interpreted(path: Path, x: NDArray) -> NDArray:
    interpreters = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra: litert)"
    )
    interpreter = interpreters.Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for picture in x.transpose(0, 2, 3, 1):
        interpreter.set_tensor(source["index"], picture[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(target["index"])[0])
    return np.stack(found)


@pytest.mark.parametrize("name", SPECS)
def test_googles_interpreter_computes_what_the_plain_reference_does(
    name: str, tmp_path: Path
) -> None:
    spec, path = SPECS[name], tmp_path / "net.tflite"
    arrays = random_arrays(spec)
    path.write_bytes(write_litert(lower(config_of(spec), arrays)))
    network = plain.build(spec, dtype=np.float64)
    plain.load(network, arrays)
    shape = (2, spec.input_channels, *spec.size)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected, found = network(x), interpreted(path, x)
    assert 0.5 < expected.std() < 20
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("name", SPECS)
def test_weights_of_8_bits_are_computed_with_as_float32(name: str, tmp_path: Path) -> None:
    spec, path = SPECS[name], tmp_path / "net.tflite"
    graph = lower(config_of(spec), random_arrays(spec))
    # The network of these numbers: the stored integers times their scales.
    rounded = graph.with_weights(lambda weight: real(Integers(*channel_integers(weight))))
    path.write_bytes(write_litert(rounded))
    shape = (2, spec.input_channels, *spec.size)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = interpreted(path, x)
    path.write_bytes(write_litert(graph, "int8"))
    found = interpreted(path, x)
    assert 0.5 < expected.std() < 20
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


def test_a_file_with_weights_of_8_bits_is_a_quarter_as_large() -> None:
    graph = lower(config_of(SPECS["small"]), random_arrays(SPECS["small"]))
    whole, half, light = (len(write_litert(graph, each)) for each in get_args(Storage))
    assert light < 0.3 * whole and half < 0.6 * whole


def test_weights_of_8_bits_come_back_as_the_numbers_that_they_stand_for(tmp_path: Path) -> None:
    spec, path = SPECS["symmetric"], tmp_path / "net.tflite"
    config, arrays = config_of(spec), random_arrays(spec)
    path.write_bytes(write_litert(lower(config, arrays), "int8"))
    back, found = read_checkpoint(path)
    assert dataclasses.replace(back, origin=config.origin) == config
    for key, (weight, bias) in fold(spec, arrays).items():
        again = fold(spec, found)[key]
        np.testing.assert_array_equal(again[0], real(Integers(*channel_integers(weight))))
        np.testing.assert_array_equal(again[1], bias)


@pytest.mark.parametrize("name", SPECS)
def test_it_comes_back_as_the_same_network_with_its_config(name: str, tmp_path: Path) -> None:
    spec, path = SPECS[name], tmp_path / "net.tflite"
    config, arrays = config_of(spec), random_arrays(spec)
    path.write_bytes(write_litert(lower(config, arrays)))
    back, found = read_checkpoint(path)
    assert dataclasses.replace(back, origin=config.origin) == config
    assert back.origin is not None and back.origin.folded
    assert (back.origin.dialect, back.origin.licence) == ("litert", "Apache-2.0")
    for key, pair in fold(spec, arrays).items():
        for one, other in zip(pair, fold(spec, found)[key], strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("name", ["symmetric", "same", "small"])
def test_the_graph_alone_says_the_same_network(name: str, tmp_path: Path) -> None:
    spec, path = SPECS[name], tmp_path / "net.tflite"
    data = write_litert(lower(config_of(spec), random_arrays(spec)))
    path.write_bytes(data[: data.rindex(b"PK\x03\x04", 0, data.rindex(b"PK\x03\x04"))])
    config, _ = read_checkpoint(path)
    # Whose epsilon was folded, a graph cannot say: LiteRT files are TensorFlow's.
    slim = dataclasses.replace(published("paper").numerics, padding=spec.numerics.padding)
    assert config.spec == spec.replace(numerics=slim)


def test_the_labels_lie_where_litert_metadata_has_them(tmp_path: Path) -> None:
    spec, path = SPECS["small"], tmp_path / "net.tflite"
    data = write_litert(lower(config_of(spec), random_arrays(spec)))
    path.write_bytes(data.replace(b"config.json", b"other0.json"))
    assert read_checkpoint(path)[0].labels == config_of(spec).labels


def test_relu6_is_fused_and_symmetric_padding_is_a_pad_in_front(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    for name, pads in (("symmetric", 5), ("same", 0)):
        path.write_bytes(write_litert(lower(config_of(SPECS[name]), random_arrays(SPECS[name]))))
        graph = container.read_litert(path)
        kinds = [operator.kind for operator in graph.operators]
        assert [kinds.count(kind) for kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN",
                                               "FULLY_CONNECTED", "PAD")] == [35, 17, 10, 1, 1, pads]  # fmt: skip # noqa: E501
        assert len(kinds) == 64 + pads
        assert sum(operator.activation == "RELU6" for operator in graph.operators) == 35


def test_every_tensor_can_be_an_output() -> None:
    import tflite

    spec = SPECS["small"]
    data = write_litert(lower(config_of(spec), random_arrays(spec)).with_intermediates())
    # Our own reader takes few outputs: such a file is for comparing, not for keeping.
    graph = tflite.Model.GetRootAs(data, 0).Subgraphs(0)
    ends = [graph.Tensors(index) for index in graph.OutputsAsNumpy()]
    found = {end.Name().decode(): tuple(end.ShapeAsNumpy().tolist()) for end in ends}
    assert len(found) == len(ends) and list(found)[:2] == ["logits", "features"]
    layers = {step.name for step in resolve(spec).convolutions}
    sums = {f"blocks.{block.index}" for block in resolve(spec).blocks if block.residual}
    assert found.keys() == layers | sums | {"logits", "features"}
    network = plain.build(spec, dtype=np.float64)
    plain.load(network, random_arrays(spec))
    expected = plain.intermediates(network, np.zeros((1, *spec.size, spec.input_channels)))
    assert found == {name: expected[name].shape for name in found}


def test_google_reads_the_archive_where_it_lies(tmp_path: Path) -> None:
    """Its readers take entries that are stored, at offsets from the start of the file."""
    data = write_litert(lower(config_of(SPECS["small"]), random_arrays(SPECS["small"])))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert data[entry.header_offset : entry.header_offset + 4] == b"PK\x03\x04"
        first = archive.start_dir
    directory = data.rindex(b"PK\x05\x06")
    assert int.from_bytes(data[directory + 16 : directory + 20], "little") == first


def test_the_same_arguments_give_the_same_bytes() -> None:
    spec = SPECS["small"]
    assert write_litert(lower(config_of(spec), random_arrays(spec))) == write_litert(
        lower(config_of(spec), random_arrays(spec))
    )


def test_constants_lie_where_runtimes_use_them_in_place() -> None:
    import tflite

    spec = SPECS["small"]
    data = write_litert(lower(config_of(spec), random_arrays(spec)))
    base = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    model, places = tflite.Model.GetRootAs(data, 0), set()
    for index in range(model.BuffersLength()):
        if model.Buffers(index).DataLength():
            raw = model.Buffers(index).DataAsNumpy()
            places.add((raw.__array_interface__["data"][0] - base) % 16)
    assert places == {0}


def test_arrays_that_do_not_fit_are_refused() -> None:
    spec = SPECS["small"]
    with pytest.raises(WeightsError, match="the tensors do not fit"):
        write_litert(lower(config_of(spec), random_arrays(spec.replace(width=0.5))))


def test_a_config_that_is_not_the_graphs_is_an_error(tmp_path: Path) -> None:
    path, spec = tmp_path / "net.tflite", SPECS["small"]
    data = write_litert(lower(config_of(spec), random_arrays(spec)))
    other = write_litert(
        lower(config_of(spec.replace(width=0.5)), random_arrays(spec.replace(width=0.5)))
    )

    def archive(data: bytes) -> int:
        return data.rindex(b"PK\x03\x04", 0, data.rindex(b"PK\x03\x04"))

    path.write_bytes(data[: archive(data)] + other[archive(other) :])
    with pytest.raises(DialectError, match=r"net\.tflite: the config inside it describes another"):
        read_checkpoint(path)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_imported_or_an_error_of_ours(seed: int, tmp_path: Path) -> None:
    random, path = np.random.default_rng(seed), tmp_path / "net.tflite"
    spec = published("small", width=0.1, size=32, classes=3)
    data = write_litert(lower(config_of(spec), random_arrays(spec)))
    for _ in range(15):
        damaged = bytearray(data)
        for place in random.integers(8, len(data), 40):
            damaged[place] = random.integers(0, 256)
        if random.random() < 0.2:
            damaged = damaged[: random.integers(0, len(data))]
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except WeightsError as error:
            assert str(error).startswith(f"{path}: ")
