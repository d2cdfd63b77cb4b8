"""timm's config files and folders: every key is used, refused or named."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilenetv2.checkpoints.containers.safetensors import safetensors_bytes
from mobilenetv2.checkpoints.description import ImportOptions
from mobilenetv2.checkpoints.dialects.timm import (
    FOLDER,
    MEANINGLESS,
    TIMM,
    approximated,
    compose,
    describe_timm,
    networks,
)
from mobilenetv2.checkpoints.exporter import write_checkpoint
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 400) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    "input_size", "crop_pct", "interpolation", "mean", "std", "label_names", "crop_mode",
    "num_classes", "license", "label_descriptions", "test_input_size", "classifier", "labels",
)  # fmt: skip
ARGUMENTS = (
    "output_stride", "pad_type", "bn_eps", "bn_momentum", "act_layer", "drop_rate", "in_chans",
    "global_pool", "num_classes", "norm_layer", "more",
)  # fmt: skip
SPEC = published("timm", width=0.35, classes=5, size=64)


def some(names: tuple[str, ...]) -> Any:
    return st.dictionaries(st.sampled_from(names), JSON, max_size=4)


@given(config=some(FIELDS), arguments=some(ARGUMENTS), flat=st.booleans())
def test_any_config(config: dict[str, Any], arguments: dict[str, Any], flat: bool) -> None:
    below = config if flat else {"pretrained_cfg": config}
    try:
        found = describe_timm({"architecture": "mobilenetv2_100", "model_args": arguments, **below})
    except (DialectError, SpecError) as error:
        assert str(error)
    else:
        assert found.spec is not None and found.preprocessing is not None


def whole(**changes: Any) -> dict[str, Any]:
    return {"architecture": "mobilenetv2_035", "pretrained_cfg": {}, **changes}


def test_the_architecture_is_the_network() -> None:
    assert networks().keys() == {
        f"mobilenetv2_{end}" for end in ("035", "050", "075", "100", "110d", "120d", "140")
    }
    found = describe_timm(whole(architecture="mobilenetv2_110d"))
    assert found.spec == published("timm-110d", width=1.1)


def test_arguments_that_change_the_network_are_used() -> None:
    arguments = {
        "pad_type": "same", "bn_eps": 1e-3, "act_layer": "relu", "drop_rate": 0.3, "in_chans": 3,
        "global_pool": "max", "num_classes": 7, "bn_momentum": 0.01,
    }  # fmt: skip
    found = describe_timm(whole(model_args=arguments))
    assert found.spec is not None
    numerics = found.spec.numerics
    assert (numerics.padding, numerics.epsilon, numerics.activation) == ("same", 1e-3, "relu")
    assert (numerics.update_rate, found.spec.dropout) == (0.01, 0.3)
    assert (found.spec.classifier.pooling, found.classes, found.note) == ("max", 7, "")
    off = describe_timm(whole(model_args={"fix_stem": False, "aa_layer": "", "group_size": 0}))
    assert off.note == "" and off.spec == describe_timm(whole()).spec


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "resnet18"}, "'resnet18' is not a MobileNetV2"),
        ({"architecture": None}, "'' is not a MobileNetV2"),
        ({"architecture": "mobilenetv2_1000"}, "'mobilenetv2_1000' is unknown.*mobilenetv2_100"),
        ({"model_args": {"output_stride": 16}}, "output_stride = 16: dilated"),
        ({"model_args": {"pad_type": "valid"}}, "pad_type = 'valid'"),
        ({"model_args": {"norm_layer": "groupnorm"}}, "norm_layer = 'groupnorm'"),
        ({"model_args": {"aa_layer": "blurpool"}}, "aa_layer = 'blurpool'"),
        ({"model_args": {"act_layer": "silu"}}, "silu"),
        ({"model_args": {"fix_stem": True}}, "fix_stem = True"),
        ({"model_args": {"bn_eps": 10**400}}, "bn_eps = 1000"),
        ({"pretrained_cfg": {"mean": [10**400] * 3}}, r"mean = \[1000"),
        ({"pretrained_cfg": {"input_size": [3, 10**400, 224]}}, r"input_size = \[3, 1000"),
        ({"pretrained_cfg": {"crop_pct": 1e-320}}, "crop_pct"),
        ({"global_pool": "catavgmax"}, "global_pool = 'catavgmax'"),
        ({"pretrained_cfg": {"input_size": [3, 224]}}, r"input_size = \[3, 224\]"),
        ({"pretrained_cfg": {"crop_pct": 1.5}}, "crop_pct 1.5"),
        ({"label_names": {"0": "a", "2": "b"}}, "label_names has gaps"),
    ],
)
def test_what_is_not_read_is_refused_with_the_value(config: dict[str, Any], message: str) -> None:
    with pytest.raises((DialectError, SpecError), match=message):
        describe_timm(whole(**config))


def test_the_older_flat_layout() -> None:
    found = describe_timm({
        "architecture": "mobilenetv2_050", "num_classes": 2, "labels": ["cat", "dog"],
        "input_size": [3, 160, 160], "crop_pct": 0.9, "interpolation": "bilinear",
        "license": "mit", "url": "", "pool_size": [5, 5],
    })  # fmt: skip
    assert (found.labels, found.licence, found.classes) == (Labels(("cat", "dog")), "mit", 2)
    assert found.preprocessing is not None and found.note == ""
    record = found.preprocessing
    assert (record.size, record.resize, record.interpolation) == (
        (160, 160), (177, 177), "bilinear",
    )  # fmt: skip


def test_labels_by_index_and_with_descriptions() -> None:
    found = describe_timm(whole(label_names={"1": "b", "0": "a"}, label_descriptions={"a": "Ape"}))
    assert found.labels == Labels(("Ape", "b"))
    ids = [*Labels.imagenet().wordnet]
    assert describe_timm(whole(label_names=ids)).labels == Labels.imagenet()
    own = describe_timm(whole(label_names=ids[:2], label_descriptions={str(ids[0]): "fish"}))
    assert own.labels is not None and own.labels.names == ("fish", ids[1])
    assert own.labels.wordnet == (ids[0], ids[1])


def test_names_that_occur_twice_are_not_used() -> None:
    found = describe_timm(whole(label_names=["cat", "dog", "cat"], num_classes=3))
    assert found.labels is None and found.classes == 3 and "twice: 'cat'" in found.note
    crane = [name.split(",")[0] for name in Labels.imagenet().names]
    assert describe_timm(whole(label_names=crane)).labels == Labels(tuple(crane))


def test_a_resize_follows_the_requested_size_as_in_timm() -> None:
    cfg = whole(pretrained_cfg={"crop_pct": 0.95})
    for size in ((160, 160), (256, 192)):
        record = describe_timm(cfg, size).preprocessing
        assert record is not None and record.size == size
        assert record.resize == tuple(int(side / 0.95) for side in size)
    squashed = describe_timm(whole(pretrained_cfg={"crop_mode": "squash"})).preprocessing
    assert squashed is not None and squashed.fit == "stretch"
    grey = describe_timm(whole(model_args={"in_chans": 1}))
    assert grey.preprocessing is not None and grey.preprocessing.channels == 1 and grey.note


def test_what_nothing_is_known_of_is_named() -> None:
    found = describe_timm(
        whole(
            more=1,
            model_args={"other": 2},
            pretrained_cfg={"third": 3, "test_input_size": [3, 9, 9]},
        )
    )
    for name in ("more", "other", "third", "test_input_size"):
        assert name in found.note
    nothing = dict.fromkeys(MEANINGLESS - {"architecture"}, "x")
    assert describe_timm(whole(pretrained_cfg=nothing)).note == ""


# ---------------------------------------------------------------- folders


def folder(path: Path, spec: NetworkSpec, arrays: Arrays, **changes: Any) -> Path:
    path.mkdir()
    (path / "model.safetensors").write_bytes(safetensors_bytes(TIMM.encode(spec, arrays)))
    (path / "config.json").write_text(json.dumps(whole(**changes)))
    return path


def test_a_config_that_contradicts_the_tensors_is_refused(tmp_path: Path) -> None:
    arrays = random_arrays(SPEC)
    other = folder(tmp_path / "other", SPEC, arrays, architecture="mobilenetv2_050")
    with pytest.raises(DialectError, match=r"config describes: looks like width 0\.35"):
        read_checkpoint(other)
    count = folder(tmp_path / "count", SPEC, arrays, num_classes=7)
    with pytest.raises(DialectError, match="says 7 classes, and its tensors have 5"):
        read_checkpoint(count)


@pytest.mark.parametrize("entry", [{"crop_mode": "border"}, {"interpolation": "random"}])
def test_a_resize_that_is_not_done_here_asks_for_another(
    tmp_path: Path, entry: dict[str, str]
) -> None:
    place = folder(tmp_path / "hub", SPEC, random_arrays(SPEC), pretrained_cfg=entry)
    with pytest.raises(DialectError, match=f"{next(iter(entry.values()))}.*resize='stretch'"):
        read_checkpoint(place)
    with pytest.raises(DialectError, match="resize='stretch'"):  # a range is no resize
        read_checkpoint(place, ImportOptions(preprocessing="0..1"))
    assert read_checkpoint(place, ImportOptions(resize="cover"))[0].spec.width == 0.35
    assert read_checkpoint(place, ImportOptions(preprocessing="keras"))[0].spec.width == 0.35


def test_a_folder_without_a_classifier_gives_features(tmp_path: Path) -> None:
    place = folder(tmp_path / "hub", SPEC, random_arrays(SPEC), num_classes=0)
    file = place / "model.safetensors"
    kept = {n: a for n, a in TIMM.encode(SPEC, random_arrays(SPEC)).items() if "classif" not in n}
    file.write_bytes(safetensors_bytes(kept))
    config, _ = read_checkpoint(place)
    assert config.origin is not None and config.origin.untrained_classifier
    assert config.labels == Labels.numbered(1000)


@pytest.mark.parametrize("family", ["timm", "timm-110d", "keras"])
def test_what_is_written_is_read_again(tmp_path: Path, family: str) -> None:
    width = {"timm": 0.35, "timm-110d": 1.1, "keras": 1.0}[family]
    spec = published(family, width=width, size=(96, 128), classes=3, dropout=0.2)
    record = Preprocessing(interpolation="bicubic").at(spec.size)
    config = ModelConfig(spec, record, Labels(("hat", "pants", "shoes")))
    arrays = random_arrays(spec)
    made = write_checkpoint(config, arrays, "timm", tmp_path / "net-0.35")
    assert made.paths == (tmp_path / "net-0.35",)
    names = {path.name for path in (tmp_path / "net-0.35").iterdir()}
    assert names == FOLDER.folder
    found, again = read_checkpoint(tmp_path / "net-0.35")
    assert all((again[name] == arrays[name]).all() for name in arrays)
    assert (found.preprocessing, found.labels) == (config.preprocessing, config.labels)
    for name in ("padding", "epsilon", "activation"):
        assert getattr(found.spec.numerics, name) == getattr(spec.numerics, name)
    assert found.spec.dropout == 0.2 and found.origin is not None and not found.origin.note


def test_imagenets_labels_are_written_as_timm_writes_them(tmp_path: Path) -> None:
    spec = published("timm", width=0.35)
    content = compose(ModelConfig(spec, Preprocessing(), Labels.imagenet()))
    assert content["label_names"][0] == "n01440764"
    assert content["label_descriptions"]["n01440764"] == "tench"
    assert content["pretrained_cfg"]["crop_pct"] == 0.875
    assert describe_timm(content).labels == Labels.imagenet()


def test_a_network_that_timm_has_no_name_for(tmp_path: Path) -> None:
    spec = published("timm", width=0.65, classes=3)
    config = ModelConfig.default(spec)
    with pytest.raises(DialectError, match=r"width 0\.65.*weights\.safetensors"):
        write_checkpoint(config, random_arrays(spec), "timm", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_resize_that_its_config_cannot_say() -> None:
    assert not approximated(Preprocessing())
    assert not approximated(Preprocessing((160, 160), (182, 182)))
    assert approximated(Preprocessing((160, 160), (182, 200)))
    assert approximated(Preprocessing(central_fraction=0.875))
    assert approximated(Preprocessing().unresized())
