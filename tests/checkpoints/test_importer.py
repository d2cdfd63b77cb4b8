"""Foreign checkpoints in: what is read off them, what travels with them, what is refused."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mobilenetv2.checkpoints.containers import safetensors
from mobilenetv2.checkpoints.description import Description, digest
from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.checkpoints.dialects.tensors import COUNTER
from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.checkpoints.preprocessing_choice import red_first
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import IMAGENET, SLIM, published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin

SPEC = published("torchvision", width=0.35, classes=5, size=64)
Write = Callable[..., Path]


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def foreign(dialect: str, spec: NetworkSpec = SPEC) -> Arrays:
    return registry.TENSORS[dialect].encode(spec, random_arrays(spec))


@pytest.fixture
def safe(tmp_path: Path) -> Write:
    """Writes foreign arrays as a .safetensors file, which needs no framework to be read."""

    def write(arrays: Arrays, name: str = "model.safetensors") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(safetensors.safetensors_bytes(arrays))
        return path

    return write


def test_a_network_that_takes_blue_first_answers_alike_to_red_first(safe: Write) -> None:
    arrays = random_arrays(SPEC)
    turned = {**arrays, "stem.conv.weight": arrays["stem.conv.weight"][:, ::-1]}
    path = safe(registry.TENSORS["timm"].encode(SPEC, turned))
    config, found = read_checkpoint(path, ImportOptions(bgr=True))
    assert same(found, arrays)
    assert config.origin is not None and "from blue first" in config.origin.preprocessing
    mean, std = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    _, said = red_first(arrays, Description(normalisation=(mean, std)))
    assert said.normalisation == (mean[::-1], std[::-1])
    grey = {"stem.conv.weight": np.zeros((8, 1, 3, 3), np.float32)}
    with pytest.raises(DialectError, match="bgr"):
        red_first(grey, said)


@pytest.mark.parametrize("name", ["torchvision", "timm", "tonylins", "d-li14", "huggingface"])
def test_the_dialect_is_recognised_and_every_tensor_is_the_files(name: str, safe: Write) -> None:
    config, arrays = read_checkpoint(safe(foreign(name)))
    assert config.origin is not None and config.origin.dialect == name
    assert same(arrays, random_arrays(SPEC))
    assert config.spec.numerics == registry.TENSORS[name].numerics
    assert (config.spec.width, config.spec.classes) == (0.35, 5)
    assert config.labels == Labels.numbered(5)


def test_the_article_is_recognised(safe: Write) -> None:
    spec = published("article-torch", classes=3)
    config, arrays = read_checkpoint(safe(foreign("article", spec)))
    assert config.spec == spec and same(arrays, random_arrays(spec))


def test_a_training_checkpoint_of_several_machines(tmp_path: Path) -> None:
    """The state dict lies inside, with DataParallel's prefix and beside an optimiser."""
    state = {f"module.{n}": torch.from_numpy(a) for n, a in foreign("timm").items()}
    path = tmp_path / "last.pth.tar"
    torch.save({"epoch": 3, "arch": "mobilenetv2_050", "state_dict": state}, path)
    config, arrays = read_checkpoint(path)
    assert config.origin is not None and config.origin.dialect == "timm"
    assert same(arrays, random_arrays(SPEC))


def test_size_labels_width_and_licence_as_wished(safe: Write) -> None:
    labels = Labels(("a", "b", "c", "d", "e"))
    path = safe(foreign("torchvision"))
    wishes = ImportOptions(labels=labels, size=(96, 160), width=0.35, licence="BSD-3-Clause")
    config, _ = read_checkpoint(path, wishes)
    assert config.spec.size == config.preprocessing.size == (96, 160)
    assert config.labels == labels
    assert config.origin is not None
    assert (config.origin.licence, config.origin.sha256) == ("BSD-3-Clause", digest(path))
    with pytest.raises(DialectError, match="3 labels for 5 outputs"):
        read_checkpoint(path, ImportOptions(labels=Labels(("a", "b", "c"))))
    with pytest.raises(DialectError, match="width 1 was requested"):
        read_checkpoint(path, ImportOptions(width=1.0))
    with pytest.raises(DialectError, match=r"not in the dialect timm; its names are torchvision's"):
        read_checkpoint(path, ImportOptions(dialect="timm"))


def test_a_thousand_outputs_are_imagenets_and_one_more_is_background_first(safe: Write) -> None:
    spec = SPEC.replace(classes=1001)
    config, _ = read_checkpoint(safe(foreign("huggingface", spec)))
    assert config.labels == Labels.imagenet("first") and config.spec.background == "first"
    config, _ = read_checkpoint(safe(foreign("timm", SPEC.replace(classes=1000))))
    assert config.labels == Labels.imagenet() and config.spec.background is None
    assert config.preprocessing.interpolation == "bicubic"


def test_a_stage_table_of_ones_own(safe: Write) -> None:
    spec = published("small", width=0.35, classes=5)
    path = safe(foreign("torchvision", spec))
    config, _ = read_checkpoint(path)
    assert config.spec.stem_stride == 2  # shapes do not say strides: torchvision's are assumed
    config, arrays = read_checkpoint(path, ImportOptions(spec=spec.replace(classes=10)))
    assert config.spec == spec and same(arrays, random_arrays(spec))


def test_without_a_classifier_it_gets_a_new_one_and_says_so(safe: Write) -> None:
    bare = {n: a for n, a in foreign("timm").items() if not n.startswith("classifier")}
    config, arrays = read_checkpoint(safe(bare), ImportOptions(labels=Labels(("cat", "dog"))))
    assert config.spec.classes == 2 and config.origin is not None
    assert "without a classifier" in config.origin.note
    assert 0.005 < arrays["classifier.weight"].std() < 0.015
    assert not arrays["classifier.bias"].any()
    expected = random_arrays(SPEC)
    assert all(np.array_equal(arrays[n], expected[n]) for n in expected if "classifier" not in n)


def test_a_model_saved_without_its_head_by_hugging_face_has_no_prefix(safe: Write) -> None:
    bare = {
        n.removeprefix("mobilenet_v2."): a
        for n, a in foreign("huggingface").items()
        if not n.startswith("classifier")
    }
    config, _ = read_checkpoint(safe(bare))
    assert config.origin is not None and config.origin.dialect == "huggingface"
    assert config.spec.classes == 1000


def test_tonylins_first_version_had_its_classifier_behind_a_dropout(safe: Write) -> None:
    renamed = {n.replace("classifier.", "classifier.1."): a for n, a in foreign("tonylins").items()}
    config, arrays = read_checkpoint(safe(renamed))
    assert config.origin is not None and config.origin.dialect == "tonylins"
    assert same(arrays, random_arrays(SPEC))


def hub(folder: Path, arrays: Arrays, **files: Any) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(safetensors.safetensors_bytes(arrays))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_a_hugging_face_folder_says_all_and_its_two_mistakes_are_mended(tmp_path: Path) -> None:
    config = {
        "model_type": "mobilenet_v2", "depth_multiplier": 0.35, "image_size": 96,
        "classifier_dropout_prob": 0.8, "layer_norm_eps": 0.002, "tf_padding": False,
        "id2label": {str(i): name for i, name in enumerate(["background", "x", "y"])},
    }  # fmt: skip
    preprocessor = {
        "size": {"shortest_edge": 128}, "crop_size": {"height": 96, "width": 96}, "resample": 3,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 0.5], "rescale_factor": 1 / 255,
    }  # fmt: skip
    spec = published("huggingface", width=0.35, classes=3)
    arrays = foreign("huggingface", spec)
    found, _ = read_checkpoint(
        hub(tmp_path / "hub", arrays, config=config, preprocessor_config=preprocessor)
    )
    numerics = found.spec.numerics
    assert (numerics.padding, numerics.epsilon) == ("symmetric", 0.002)
    # Its code moves the statistics by 0.997 a batch, where 0.003 is meant.
    assert numerics.update_rate == pytest.approx(0.003) == SLIM.update_rate
    assert found.spec.dropout == 0.2  # 0.8 is the share that slim kept
    assert found.labels.names == ("background", "x", "y") and found.spec.background == "first"
    assert found.preprocessing.resize == (128, 128) and found.preprocessing.size == (96, 96)
    assert found.preprocessing.interpolation == "bicubic"
    assert found.preprocessing.mean == (127.5,) * 3
    assert found.preprocessing.std == (127.5, 63.75, 127.5)


def test_timms_folder_brings_its_preprocessing(tmp_path: Path) -> None:
    config = {
        "architecture": "mobilenetv2_035",
        "pretrained_cfg": {
            "input_size": [3, 192, 192], "crop_pct": 0.875, "interpolation": "bilinear",
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        },
    }  # fmt: skip
    found, _ = read_checkpoint(hub(tmp_path / "hub", foreign("timm"), config=config))
    record = found.preprocessing
    assert (record.size, record.resize) == ((192, 192), (219, 219))
    assert (record.mean, record.std) == (IMAGENET.mean, IMAGENET.std)
    other = hub(tmp_path / "other", foreign("timm"), config={"architecture": "resnet18"})
    with pytest.raises(DialectError, match=r"architecture 'resnet18' is not a MobileNetV2"):
        read_checkpoint(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_stride": 16}, "output_stride = 16: dilated"),
        ({"expand_ratio": 4.0}, "expand_ratio = 4.0: only 6"),
        ({"image_size": "large"}, "image_size = 'large' is not of the type"),
        ({"image_size": [96]}, "neither a side nor a height and a width"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label has no entry"),
        (
            {"depth_multiplier": 0.5},
            "not the network that its config describes: looks like width 0.35",
        ),
        ({"hidden_act": "gelu"}, "activation.*gelu"),
        ({"depth_multiplier": -1}, "width -1"),
    ],
)
def test_a_config_that_is_none_or_another_networks(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = {"model_type": "mobilenet_v2", "depth_multiplier": 0.35, **changes}
    folder = hub(tmp_path / "hub", foreign("huggingface"), config=config)
    with pytest.raises(DialectError, match=message) as caught:
        read_checkpoint(folder)
    assert str(folder) in str(caught.value)


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_what_is_no_checkpoint_of_this_network(tmp_path: Path, safe: Write) -> None:
    with pytest.raises(DialectError, match=r"its tensors begin with 'conv1\.weight'"):
        read_checkpoint(safe({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}))
    with pytest.raises(WeightsError, match=r"a folder without model\.safetensors"):
        read_checkpoint(_empty(tmp_path))
    store.save(tmp_path / "ours", ModelConfig.default(SPEC), random_arrays(SPEC))
    with pytest.raises(DialectError, match="a model folder already"):
        read_checkpoint(tmp_path / "ours")
    broken = foreign("torchvision")
    broken["features.3.conv.3.running_mean"][0] = np.nan
    with pytest.raises(WeightsError, match=r"blocks\.2\.project\.bn\.mean has values that are not"):
        read_checkpoint(safe(broken))
    with pytest.raises(DialectError, match="width is not for litert files"):
        read_checkpoint(tmp_path / "x.tflite", ImportOptions(width=1.0))


def test_the_counter_is_dropped_and_rebuilt() -> None:
    arrays = foreign("torchvision")
    counters = [name for name in arrays if name.endswith(COUNTER)]
    assert len(counters) == 52
    assert all(arrays[name].dtype == np.int64 and arrays[name] == 0 for name in counters)
    buffer = io.BytesIO()
    torch.save({n: torch.from_numpy(a) for n, a in arrays.items()}, buffer)
    state = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    assert state[counters[0]].shape == ()


def test_the_weights_file_of_a_hub_folder_brings_the_config_beside_it(tmp_path: Path) -> None:
    config = {"model_type": "mobilenet_v2", "depth_multiplier": 0.35, "tf_padding": False,
              "layer_norm_eps": 1e-5}  # fmt: skip
    folder = hub(tmp_path / "hub", foreign("huggingface"), config=config)
    found, _ = read_checkpoint(folder / "model.safetensors")
    assert (found.spec.numerics.padding, found.spec.numerics.epsilon) == ("symmetric", 1e-5)


def test_a_file_that_says_what_it_is_is_not_overruled(tmp_path: Path) -> None:
    config = {"model_type": "mobilenet_v2", "depth_multiplier": 0.35}
    folder = hub(tmp_path / "hub", foreign("huggingface"), config=config)
    with pytest.raises(DialectError, match=r"spec .*something else \(padding, epsilon\)"):
        read_checkpoint(folder, ImportOptions(spec=published("torchvision", width=0.35)))
    with pytest.raises(DialectError, match=r"of width 0\.35, but width 1 was requested"):
        read_checkpoint(folder, ImportOptions(width=1.0))
    found, _ = read_checkpoint(
        folder, ImportOptions(width=0.35, spec=published("keras", width=0.35))
    )
    assert found.spec.width == 0.35


def test_strides_that_a_sidecar_says_stay_when_a_width_is_asked_for(tmp_path: Path) -> None:
    from mobilenetv2.checkpoints.description import sidecar_path

    spec = published("small", width=0.35, classes=5)
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors.safetensors_bytes(foreign("torchvision", spec)))
    config = ModelConfig.default(spec)
    origin = Origin("here", sha256=digest(path), note="Numerics ignored.")
    sidecar_path(path).write_text(dataclasses.replace(config, origin=origin).to_json())
    found, _ = read_checkpoint(path, ImportOptions(width=0.35))
    assert found.spec == spec
    assert found.origin is not None and found.origin.note == "Numerics ignored."
    with pytest.raises(DialectError, match="other strides"):
        read_checkpoint(path, ImportOptions(spec=published("torchvision", width=0.35)))


def test_published_dropout_alone_is_mended(tmp_path: Path) -> None:
    for stated, meant in ((0.8, 0.2), (0.6, 0.6), (0.2, 0.2), (0.0, 0.0)):
        config = {"depth_multiplier": 0.35, "classifier_dropout_prob": stated}
        folder = hub(tmp_path / str(stated), foreign("huggingface"), config=config)
        assert read_checkpoint(folder)[0].spec.dropout == meant


def test_a_graph_is_known_by_its_content(tmp_path: Path) -> None:
    pass

    spec = published("tf-slim", width=0.1, size=32, classes=5, background=None)
    (tmp_path / "renamed").write_bytes(
        write_litert(lower(ModelConfig.default(spec), random_arrays(spec)))
    )
    found, _ = read_checkpoint(tmp_path / "renamed")
    assert found.origin is not None and found.origin.dialect == "litert"
    with pytest.raises(DialectError, match="in the dialect litert, not timm"):
        read_checkpoint(tmp_path / "renamed", ImportOptions(dialect="timm"))


def test_an_average_that_was_preferred_is_named(tmp_path: Path) -> None:
    state = {n: torch.from_numpy(a) for n, a in foreign("timm").items()}
    worse = {n: t + 1 for n, t in state.items()}
    torch.save({"state_dict": worse, "state_dict_ema": state}, tmp_path / "m.pth")
    found, arrays = read_checkpoint(tmp_path / "m.pth")
    assert same(arrays, random_arrays(SPEC))
    assert found.origin is not None and "state_dict_ema" in found.origin.note
