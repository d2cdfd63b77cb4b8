"""The catalogue against the libraries' own tables, where they are installed, and against itself."""

import dataclasses
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mobilenetv2.files import sha256_of_file
from mobilenetv2.spec.catalogue import DEFAULT, HUB, Checkpoint, catalogue, known_file
from mobilenetv2.spec.published import PUBLISHED, published

ENTRIES = list(catalogue().values())
COMMON = {entry.file for entry in ENTRIES if entry.where.startswith(HUB)} | {"mobilenetv2.pth.tar"}
DIALECTS = "torchvision timm keras tf-slim huggingface tonylins d-li14 litert".split()


def find(name: str) -> Checkpoint:
    return catalogue()[name]


def test_names_are_friendly_unique_and_safe_as_folders() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names) == 92
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9.]+)+", name) for name in names)
    assert {entry.dialect for entry in ENTRIES} == set(DIALECTS)
    assert all(entry.name.startswith(entry.dialect) for entry in ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_holds_together(entry) -> None:  # type: ignore[no-untyped-def]
    parts = urlsplit(entry.where)
    assert parts.scheme == "https" or re.fullmatch(r"hf://google/[\w.]+", entry.where)
    if not entry.where.startswith(HUB):
        assert entry.file and re.fullmatch(r"[\w.-]+", entry.file)
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.sha256_prefix is None or re.fullmatch(r"[0-9a-f]{8}", entry.sha256_prefix)
    if entry.sha256_prefix:
        assert f"-{entry.sha256_prefix}." in entry.where
    assert entry.verified == bool(entry.sha256 or entry.sha256_prefix)
    assert entry.top1 is None or 30 < entry.top1 < 80
    assert entry.file_size is None or 3e6 < entry.file_size < 30e6
    assert {"first": 1001, "last": 965, None: 1000}[entry.background] == (entry.classes or 1000)
    rules = entry.published_preprocessing()
    assert (rules is None) == (entry.dialect == "litert")
    if rules is not None:
        assert rules.size == (entry.size, entry.size)
        family = PUBLISHED[str(entry.preprocessing)]
        assert family.spec.background == entry.background
        assert published(str(entry.preprocessing), size=entry.size).classes == (
            entry.classes or 1000
        )


def test_what_training_starts_from_is_safe_free_and_verified() -> None:
    start = find(DEFAULT)
    assert start.where.endswith(".safetensors") and start.sha256
    assert start.licence == "Apache-2.0" and not start.where.startswith(HUB)


def test_the_records_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        find(DEFAULT).width = 2.0  # type: ignore[misc]


def test_the_second_torchvision_weights_resize_otherwise() -> None:
    first, second = (find(f"torchvision-v{n}").published_preprocessing() for n in (1, 2))
    assert first is not None and second is not None
    assert (first.resize, second.resize) == ((256, 256), (232, 232))
    assert first == dataclasses.replace(second, resize=(256, 256))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_file_is_known_by_its_checksum_or_its_name(entry: Checkpoint) -> None:
    if entry.sha256:
        assert known_file("model.pth", entry.sha256) == entry
    if entry.sha256_prefix:
        assert known_file("model.pth", entry.sha256_prefix + 56 * "0") == entry
    by_name = known_file(entry.file or "model.safetensors", None)
    assert by_name == (None if entry.file in COMMON else entry)


def test_another_content_under_a_published_name_is_not_the_published_file() -> None:
    assert known_file("mobilenet_v2-7ebf99e0.pth", 64 * "0") is None
    assert known_file("mobilenetv2_1.0-0c6065bc.pth", 64 * "0") == find("d-li14-1.0")  # no checksum
    assert known_file("shoes.pth", 64 * "0") is known_file("shoes.pth", None) is None


def test_what_a_known_file_says() -> None:
    entry = find("torchvision-v2")
    rules, labels = entry.published_preprocessing(), entry.labels()
    assert rules is not None and rules.resize == (232, 232)
    assert labels is not None and labels.names[0] == "tench" and len(labels) == 1000
    slim = find("tf-slim-1.0-224").labels()
    assert slim is not None and (len(slim), slim.background) == (1001, 0)
    assert find("keras-1.0-224-notop").labels() is find("litert-1.0-224").labels() is None


# ---------------------------------------------------------------- against the libraries


def test_torchvision_says_the_same() -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed (see CONTRIBUTING.md)")
    weights = importlib.import_module("torchvision.models").MobileNet_V2_Weights
    for number, theirs in ((1, weights.IMAGENET1K_V1), (2, weights.IMAGENET1K_V2)):
        ours = find(f"torchvision-v{number}")
        transforms, rules = theirs.transforms(), ours.published_preprocessing()
        assert rules is not None
        assert theirs.url == ours.where
        assert theirs.meta["_metrics"]["ImageNet-1K"]["acc@1"] == ours.top1
        assert len(theirs.meta["categories"]) == ours.classes
        assert round(theirs.meta["_file_size"] * 1.048576, 1) * 1e6 == ours.file_size
        assert (transforms.resize_size, transforms.crop_size) == ([rules.resize[0]], [ours.size])


def test_timm_says_the_same() -> None:
    pytest.importorskip("timm", reason="timm is not installed (see CONTRIBUTING.md)")
    timm = importlib.import_module("timm")
    names = timm.list_models("mobilenetv2_*", pretrained=True)
    assert {f"timm-{name.split('_')[1].split('.')[0]}" for name in names} == {
        entry.name for entry in ENTRIES if entry.dialect == "timm"
    }
    for name in names:
        theirs = timm.models.get_pretrained_cfg(name)
        ours = find(f"timm-{theirs.architecture.split('_')[1]}")
        assert ours.where in (
            theirs.url, f"https://huggingface.co/{theirs.hf_hub_id}/resolve/main/model.safetensors"
        )  # fmt: skip
        assert theirs.license == str(ours.licence).lower()
        assert (theirs.num_classes, theirs.input_size[1]) == (ours.classes, ours.size)
        rules = ours.published_preprocessing()
        assert rules is not None and theirs.interpolation == rules.interpolation
        assert theirs.crop_pct == ours.size / rules.resize[0]
        assert [255 * value for value in theirs.mean] == pytest.approx(rules.mean)


@pytest.mark.slow
def test_keras_asks_for_the_same_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("keras", reason="keras is not installed (extra: keras)")
    module = importlib.import_module("keras.src.applications.mobilenet_v2")
    asked: list[str] = []

    class Asked(Exception):
        pass

    def get_file(name: str, address: str, **_: object) -> None:
        asked.append(address)
        raise Asked

    monkeypatch.setattr(module.file_utils, "get_file", get_file)
    chosen = [find(f"keras-{name}") for name in ("1.0-224", "0.35-96-notop", "0.5-160")]
    for entry in chosen:
        top = entry.classes is not None
        with pytest.raises(Asked):
            module.MobileNetV2(
                input_shape=(entry.size, entry.size, 3), alpha=entry.width, include_top=top
            )
    assert asked == [entry.where for entry in chosen]


def test_the_hub_would_give_the_same_addresses() -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra: hub)")
    hub = importlib.import_module("huggingface_hub")
    for name, file in (("100", "mobilenetv2_100.ra_in1k"), ("110d", "mobilenetv2_110d.ra_in1k")):
        address = hub.hf_hub_url(
            f"timm/{file}", "model.safetensors", endpoint="https://huggingface.co"
        )
        assert find(f"timm-{name}").where == address


def test_litert_checksums_are_those_of_the_files(public_folder: Callable[[str], Path]) -> None:
    for entry in ENTRIES:
        if entry.dialect == "litert":
            file = public_folder("published") / str(entry.file)
            assert sha256_of_file(file) == entry.sha256
            assert file.stat().st_size == entry.file_size
