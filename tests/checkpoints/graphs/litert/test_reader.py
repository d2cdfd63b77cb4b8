"""LiteRT classifiers come in as the network they are, with labels, preprocessing and numbers."""

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.litert import Graph, Operator, Tensor
from mobilenetv2.checkpoints.description import METADATA
from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.checkpoints.graphs.litert.reader import DIALECT
from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.checkpoints.labels import read_labels
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.images.decode import read_photo as read_image
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.arrays import (
    LITERT_CONVOLUTION,
    LITERT_DEPTHWISE,
    Arrays,
    check_arrays,
    identity_batch_norm,
    random_arrays,
)
from mobilenetv2.model.folding import fold
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import SLIM, published
from mobilenetv2.spec.records import Labels, ModelConfig

PTQ = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
QUANT = "mobilenet_v2_1.0_224_quant.tflite"
BIRDS = "mobilenet_v2_1.0_224_inat_bird_quant.tflite"


@pytest.fixture
def files(public_folder: Callable[[str], Path]) -> Path:
    return public_folder("published")


@pytest.mark.parametrize("file", [PTQ, QUANT, BIRDS])
def test_a_published_file_is_the_network_it_says(file: str, files: Path) -> None:
    config, arrays = read_checkpoint(files / file)
    classes, background = (965, "last") if file == BIRDS else (1001, "first")
    assert config.spec == NetworkSpec(classes=classes, background=background, numerics=SLIM)  # type: ignore[arg-type]
    # What is fed is -1 to 1; scale and zero point of the file's integers are near it.
    assert np.abs(np.subtract(config.preprocessing.mean, 127.5)).max() <= 0.5
    assert np.abs(np.subtract(config.preprocessing.std, 127.5)).max() <= 0.5
    check_arrays(config.spec, arrays, file)
    assert config.origin is not None
    assert (config.origin.source, config.origin.dialect) == (file, "litert")
    assert config.origin.folded
    for name, array in arrays.items():
        if name.endswith(".bn.shift"):
            folded = identity_batch_norm(name.removesuffix(".bn.shift"), array, 1e-3)
            assert all(np.array_equal(arrays[part], folded[part]) for part in folded)


@pytest.mark.parametrize("file", [PTQ, QUANT])
def test_imagenets_labels_come_with_their_wordnet_ids_behind_the_background(
    file: str, files: Path
) -> None:
    config, _ = read_checkpoint(files / file)
    assert config.labels == Labels.imagenet("first")
    assert config.labels.wordnet[:2] == (None, "n01440764")
    text = (files / "imagenet_labels.txt").read_text("utf-8")
    assert read_labels(text) == Labels.imagenet("first")


def test_the_birds_have_their_own_labels_and_their_background_last(files: Path) -> None:
    config, _ = read_checkpoint(files / BIRDS)
    expected = (files / "inat_bird_labels.txt").read_text("utf-8").splitlines()
    assert list(config.labels.names) == expected
    assert (config.labels.background, config.labels.wordnet) == (964, ())


def test_labels_given_by_hand_win_and_must_fit(files: Path) -> None:
    mine = Labels(tuple(f"bird {index}" for index in range(965)))
    config, _ = read_checkpoint(files / BIRDS, ImportOptions(labels=mine))
    assert config.labels == mine and config.spec.background is None
    with pytest.raises(DialectError, match=rf"{BIRDS}: 2 labels for 965 outputs"):
        read_checkpoint(files / BIRDS, ImportOptions(labels=Labels(("a", "b"))))


def test_a_segmentation_network_is_refused(files: Path) -> None:
    with pytest.raises(DialectError, match=r"deeplabv3_mnv2_pascal_quant\.tflite: "):
        read_checkpoint(files / "deeplabv3_mnv2_pascal_quant.tflite")


# ---------------------------------------------------------------- graphs made from a known spec


def graph_of(spec: NetworkSpec, arrays: Arrays) -> Graph:
    """The graph that a converter would write for a folded network."""
    tensors: list[Tensor] = []
    operators: list[Operator] = []

    def tensor(values: NDArray | None, *shape: int) -> int:
        tensors.append(Tensor("", shape or np.shape(values), values, None, None))  # type: ignore[arg-type]
        return len(tensors) - 1

    def run(kind: str, size: tuple[int, int], *inputs: int, **options: Any) -> int:
        out = tensor(None, 1, *size, 1)
        operators.append(Operator(kind, inputs, (out,), **options))
        return out

    network = resolve(spec)
    ends = {block.convolutions[-1].name: block for block in network.blocks}
    current = start = before = tensor(None, 1, *spec.size, 3)
    for layer in network.convolutions:
        weight, size, option = arrays[f"{layer.name}.conv.weight"], layer.in_size, "SAME"
        layout = LITERT_DEPTHWISE if layer.role == "depthwise" else LITERT_CONVOLUTION
        if layer.stride == 2 and spec.numerics.padding == "symmetric":
            zeros = np.array([(0, 0), *layer.padding, (0, 0)])
            size, option = (size[0] + 2, size[1] + 2), "VALID"
            current = run("PAD", size, current, tensor(zeros))
        constants = (
            tensor(layout.from_canonical(weight)),
            tensor(arrays[f"{layer.name}.bn.shift"]),
        )
        current = run(
            "DEPTHWISE_CONV_2D" if layer.role == "depthwise" else "CONV_2D", layer.out_size,
            current, *constants, stride=(layer.stride,) * 2, padding=option,
            activation="NONE" if layer.linear else spec.numerics.activation.upper(),
        )  # fmt: skip
        if layer.name in ends and ends[layer.name].residual:
            current = run("ADD", layer.out_size, before, current)
        if layer.name in ends or layer.name == "stem":
            before = current
    current = run("MEAN", (1, 1), current, tensor(np.array([1, 2])))
    last = (tensor(arrays["classifier.weight"]), tensor(arrays["classifier.bias"]))
    end = run("SOFTMAX", (1, 1), run("FULLY_CONNECTED", (1, 1), current, *last))
    return Graph(tuple(tensors), tuple(operators), (start,), (end,))


def folded(spec: NetworkSpec) -> Arrays:
    arrays = random_arrays(spec)
    for name in [name for name in arrays if name.endswith(".bn.shift")]:
        arrays |= identity_batch_norm(
            name.removesuffix(".bn.shift"), arrays[name], spec.numerics.epsilon
        )
    return arrays


FAMILY = published("paper", classes=7, dropout=0.2)
GRAPH_START = bytes(4) + b"TFL3" + bytes(8)


@pytest.mark.parametrize("activation", ["relu6", "relu"])
@pytest.mark.parametrize("size", [(224, 224), (225, 225), (96, 160)])
@pytest.mark.parametrize("width", [0.35, 0.5, 1.4])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_a_width_a_size_and_a_padding_are_read_off_the_graph(
    padding: str, width: float, size: tuple[int, int], activation: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    numerics = dataclasses.replace(SLIM, padding=padding, activation=activation)  # type: ignore[arg-type]
    spec = FAMILY.replace(width=width, size=size, numerics=numerics)
    config, arrays = imported(spec, tmp_path, monkeypatch)
    if padding == "symmetric" and all(side % 2 for side in size):
        # 225 -> 113 -> 57 -> 29 -> 15 -> 8: every strided side is odd, so the two rules are one.
        spec = spec.replace(numerics=dataclasses.replace(numerics, padding="same"))
    assert config.spec == spec
    expected = folded(spec)
    assert list(arrays) == list(expected)
    assert all(np.array_equal(arrays[name], expected[name]) for name in arrays)


def test_a_network_of_no_published_width_comes_in_by_its_stage_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = published("timm-110d", classes=7, numerics=SLIM, head_channels=999)
    config, arrays = imported(spec, tmp_path, monkeypatch)
    mine, theirs = resolve(spec), resolve(config.spec)
    assert list(theirs.convolutions) == list(mine.convolutions)
    assert config.labels == Labels.numbered(7)
    expected = folded(spec)
    assert all(np.array_equal(array, expected[name]) for name, array in arrays.items())


def read_as(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every LiteRT file is this graph."""
    dialect = dataclasses.replace(DIALECT, read=lambda _: graph)
    monkeypatch.setitem(registry.GRAPHS, "litert", dialect)


def imported(
    spec: NetworkSpec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[ModelConfig, Arrays]:
    graph = graph_of(spec, folded(spec))
    read_as(graph, monkeypatch)
    path = folder / "net.tflite"
    path.write_bytes(b"a graph")
    return read_checkpoint(path)


def test_graphs_that_only_resemble_the_network_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = FAMILY.replace(width=0.35)
    graph = graph_of(spec, folded(spec))
    for kind, change, message in [
        ("ADD", {"kind": "MUL"}, "unexpected operator MUL"),
        ("CONV_2D", {"dilation": (2, 2)}, "with dilation"),
        ("CONV_2D", {"activation": "TANH"}, "activations"),
        ("DEPTHWISE_CONV_2D", {"inputs": (0,)}, "leaves the chain"),
        ("CONV_2D", {"stride": (2, 1)}, "unequal strides"),
        ("FULLY_CONNECTED", {"inputs": (10**6,)}, "a tensor that does not exist"),
        ("MEAN", {"kind": "RESHAPE"}, "each of the 7 x 7 positions"),
    ]:
        place = [operator.kind for operator in graph.operators].index(kind)
        operators = list(graph.operators)
        operators[place] = dataclasses.replace(operators[place], **change)  # type: ignore[arg-type]
        odd = dataclasses.replace(graph, operators=tuple(operators))
        read_as(odd, monkeypatch)
        (tmp_path / "net.tflite").write_bytes(b"a graph")
        with pytest.raises(DialectError, match=rf"net\.tflite: .*({message})"):
            read_checkpoint(tmp_path / "net.tflite")


def test_a_label_list_inside_the_file_is_taken_and_a_damaged_one_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = FAMILY.replace(width=0.35)
    graph = graph_of(spec, folded(spec))
    read_as(graph, monkeypatch)
    path, names = tmp_path / "net.tflite", [f"flower {index}" * 20 for index in range(7)]
    path.write_bytes(GRAPH_START)  # the archive stands behind the graph
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", "\n".join(names))
    assert read_checkpoint(path)[0].labels == Labels(tuple(names))
    data = bytearray(path.read_bytes())
    start = len(GRAPH_START) + 30 + len("labels.txt")
    for place in range(start, start + 40):
        damaged = data.copy()
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(DialectError, match=r"net\.tflite: the list of labels in it is damaged"):
            read_checkpoint(path)


# ---------------------------------------------------------------- what is fed


@pytest.mark.parametrize(
    ("file", "low", "high"), [(PTQ, -1, 1), (QUANT, -1, 127 / 128), (BIRDS, -1, 127 / 128)]
)
def test_integers_of_the_input_are_a_range_and_the_metadata_is_the_normalisation(
    file: str, low: float, high: float, files: Path
) -> None:
    inside = DIALECT.open(DIALECT.read(files / file), files / file, ImportOptions()).inside
    assert inside.normalisation is not None and inside.input_range is not None
    np.testing.assert_allclose(inside.normalisation, 127.5, atol=0.5)
    assert inside.preprocessing_from == METADATA
    np.testing.assert_allclose(inside.input_range, (low, high), atol=0.01)


@pytest.mark.parametrize(
    ("dtype", "scale", "expected"),
    [
        ("float32", None, None), ("uint8", None, (0, 255)), ("uint8", (0.5, 100), (-50, 77.5)),
        ("int8", (1.0, -128), (0, 255)), ("int8", None, None),
    ],
)  # fmt: skip
def test_the_range_is_that_of_the_stored_integers(
    dtype: str, scale: tuple[float, int] | None, expected: tuple[float, float] | None,
    tmp_path: Path,
) -> None:  # fmt: skip
    spec = FAMILY.replace(width=0.35)
    graph = graph_of(spec, folded(spec))
    step, zero = (None, None) if scale is None else (np.array([scale[0]]), np.array([scale[1]]))
    first = dataclasses.replace(graph.tensors[0], dtype=dtype, scale=step, zero_point=zero)
    graph = dataclasses.replace(graph, tensors=(first, *graph.tensors[1:]))
    (tmp_path / "m.tflite").write_bytes(b"a graph")
    inside = DIALECT.open(graph, tmp_path / "m.tflite", ImportOptions()).inside
    assert inside.input_range == expected and inside.normalisation is None


# ---------------------------------------------------------------- damaged files, real photos


@pytest.mark.parametrize("file", [PTQ, QUANT])
@settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_a_damaged_file_is_imported_or_an_error_of_ours(
    file: str, data: st.DataObject, tmp_path: Path, files: Path
) -> None:
    content = bytearray((files / file).read_bytes())
    structure = places_outside_constants(bytes(content))
    for _ in range(data.draw(st.integers(1, 5))):
        place = structure[data.draw(st.integers(0, len(structure) - 1))]
        content[place] = data.draw(st.sampled_from([0, 1, 4, 127, 128, 255]))
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    try:
        config, arrays = read_checkpoint(path)
    except WeightsError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        check_arrays(config.spec, arrays, "imported")


def places_outside_constants(content: bytes) -> NDArray:
    """Indices of the bytes that say what the file is, where damage is not just another weight."""
    import tflite

    outside = np.ones(len(content), bool)
    base = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    model = tflite.Model.GetRootAs(content, 0)
    for index in range(model.BuffersLength()):
        if model.Buffers(index).DataLength():
            raw = model.Buffers(index).DataAsNumpy()
            start = raw.__array_interface__["data"][0] - base
            outside[start : start + len(raw)] = False
    return np.flatnonzero(outside)


def both_logits(path: Path, photos: list[Path]) -> tuple[ModelConfig, NDArray, NDArray]:
    """The torch edition's logits and the probabilities of Google's interpreter, photo by photo."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    interpreters = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed (extra: litert)"
    )
    from mobilenetv2.editions.torch import MobileNetV2, load
    from mobilenetv2.editions.torch.network import predictor

    torch.set_num_threads(1)
    config, arrays = read_checkpoint(path)
    network = MobileNetV2(config)
    load(network, arrays)
    predict = predictor(network)
    interpreter = interpreters.Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    ours, theirs = [], []
    for photo in photos:
        picture = np.stack([preprocess(read_image(photo), config.preprocessing)])
        ours.append(predict(picture)[0])
        interpreter.set_tensor(source["index"], picture)
        interpreter.invoke()
        scale, zero_point = target["quantization"]
        levels = interpreter.get_tensor(target["index"])[0].astype(np.float64)
        theirs.append((levels - zero_point) * scale)
    return config, np.stack(ours), np.stack(theirs)


@pytest.mark.parametrize("file", [PTQ, QUANT])
def test_eight_photos_give_what_the_file_itself_gives(
    file: str, files: Path, public_folder: Callable[[str], Path]
) -> None:
    photos = sorted(public_folder("imagenet-samples").glob("*/*"))[:8]
    _, ours, theirs = both_logits(files / file, photos)
    probabilities = np.exp(ours - ours.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    np.testing.assert_array_equal(ours.argmax(1), theirs.argmax(1))
    assert len(set(ours.argmax(1))) == 8
    # Its int8 arithmetic, not the weights, is the difference: a few hundredths.
    assert abs(probabilities - theirs).max() < 0.06
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(probabilities, theirs, strict=True)) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize(("file", "top1", "top5"), [(PTQ, 84, 98), (QUANT, 85, 99)])
def test_a_hundred_photos_are_classified_as_well_as_published(
    file: str, top1: int, top5: int, files: Path, public_folder: Callable[[str], Path]
) -> None:
    photos = sorted(public_folder("imagenet-samples").glob("*/*"))
    assert len(photos) == 100
    config, ours, theirs = both_logits(files / file, photos)
    truth = np.array([config.labels.wordnet.index(photo.parent.name) for photo in photos])
    best = np.argsort(-ours, axis=1)[:, :5]
    assert (best[:, 0] == truth).sum() >= top1
    assert (best == truth[:, None]).any(1).sum() >= top5
    assert (best[:, 0] == theirs.argmax(1)).sum() >= 98


def test_a_float16_file_comes_in_with_its_halves(tmp_path: Path) -> None:
    spec = published("small", width=0.1, classes=4)
    arrays = random_arrays(spec)
    (tmp_path / "m.tflite").write_bytes(
        write_litert(lower(ModelConfig.default(spec), arrays), "float16")
    )
    config, found = read_checkpoint(tmp_path / "m.tflite")
    assert config.spec == spec
    for name, (weight, bias) in fold(spec, arrays).items():
        again = fold(spec, found)[name]
        for one, other in zip(again, (weight, bias), strict=True):
            np.testing.assert_array_equal(one, other.astype(np.float16).astype(np.float32))
