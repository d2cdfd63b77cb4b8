"""A network whose BatchNorm came folded survives training mode once it is imported."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.checkpoints.graphs.litert.reader import NOTE
from mobilenetv2.checkpoints.rebasing import (
    built_in_views,
    measure_moments,
    measured_size,
    rebase_imported,
    rebase_on,
)
from mobilenetv2.editions.numpy import MobileNetV2, load
from mobilenetv2.errors import ImageError
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model.arrays import Arrays, identity_batch_norm, is_folded, random_arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig, Origin

SPECS = {
    "paper": NetworkSpec(width=0.1, size=(64, 64), classes=5),
    "one channel": NetworkSpec(width=0.35, size=(32, 48), classes=5, input_channels=1),
    "bias before BatchNorm": published("article-torch", width=0.1, size=64, classes=5),
    "MobileNetV1": published("mobilenet-v1", width=0.25, size=64, classes=5),
    "ResNet's block": published("resnet-bottleneck", width=0.25, size=64, classes=5),
}


def folded(spec: NetworkSpec) -> tuple[ModelConfig, Arrays]:
    arrays = random_arrays(spec)
    for layer in resolve(spec).convolutions:
        shift = arrays[f"{layer.name}.bn.shift"]
        arrays |= identity_batch_norm(layer.name, shift, spec.numerics.epsilon)
    origin = Origin("net.tflite", folded=True, note="Dequantised.")
    return replace(ModelConfig.default(spec), origin=origin), arrays


def noise(config: ModelConfig, count: int) -> NDArray:
    shape = (count, *config.spec.size, config.spec.input_channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("name", SPECS)
def test_the_statistics_are_those_of_what_enters_each_batch_norm(name: str) -> None:
    """PyTorch's network says what does."""
    torch = pytest.importorskip("torch")
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.editions.torch.network import ConvBN, normalise

    config, arrays = folded(SPECS[name])
    network = edition.MobileNetV2(config).eval()
    edition.load(network, arrays)
    seen: dict[str, NDArray] = {}
    for layer, module in network.named_modules():
        if isinstance(module, ConvBN):
            module.bn.register_forward_pre_hook(
                lambda _, x, layer=layer: seen.update({layer: x[0].double().numpy()})
            )
    pictures = noise(config, 6)  # a batch and a half
    with torch.no_grad():
        network(normalise(pictures, config.preprocessing))
    found = measure_moments(config, arrays, pictures)
    assert found.keys() == seen.keys()
    for layer, x in seen.items():
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        spread = np.sqrt(variance).max()
        np.testing.assert_allclose(found[layer].mean, mean, rtol=1e-4, atol=1e-4 * spread)
        np.testing.assert_allclose(
            found[layer].variance, variance, rtol=1e-3, atol=1e-6 * spread**2
        )


@pytest.mark.parametrize("name", ["paper", "one channel", "bias before BatchNorm"])
def test_answers_stay_and_the_origin_says_what_was_done(name: str) -> None:
    config, arrays = folded(SPECS[name])
    changed, rebased = rebase_imported(config, arrays)
    assert is_folded(arrays) and not is_folded(rebased)
    assert changed.origin is not None and config.origin is not None
    assert not changed.origin.folded and changed.origin.rebased_on == "built-in photos"
    assert (
        "Dequantised." in changed.origin.note and "views of built-in photos" in changed.origin.note
    )
    assert replace(changed, origin=config.origin) == config
    logits = []
    for values in (arrays, rebased):
        network = MobileNetV2(config, dtype=np.float64)
        load(network, values)
        logits.append(network(noise(config, 2).transpose(0, 3, 1, 2) / 127.5 - 1))
    assert np.abs(logits[0] - logits[1]).max() <= 1e-5 * max(1, np.abs(logits[0]).max())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Numerics(momentum=0.997, momentum_of="old"), Numerics(momentum=0.9, momentum_of="old")),
        (Numerics(momentum=0.01), Numerics(momentum=0.1)),
        (Numerics(momentum=0.3), Numerics(momentum=0.3)),
    ],
)
def test_statistics_follow_a_training_of_a_few_steps(given: Numerics, expected: Numerics) -> None:
    """No file of folded weights says a momentum: benchmarks/own-loop.md has the figures."""
    config, arrays = folded(SPECS["one channel"].replace(numerics=given))
    changed, _ = rebase_imported(config, arrays)
    assert changed.spec == config.spec.replace(numerics=expected)


def test_photos_that_are_given_are_measured_instead(photos: Path, tmp_path: Path) -> None:
    config, arrays = folded(SPECS["paper"])
    paths = sorted(photos.rglob("*.jpg"))[:3]
    changed, rebased = rebase_imported(config, arrays, paths)
    assert changed.origin is not None and changed.origin.rebased_on == "given photos"
    assert "3" in changed.origin.note
    pictures = [preprocess(read_photo(path), config.preprocessing) for path in paths]
    _, same = rebase_on(pictures, "given photos", config, arrays)
    _, other = rebase_imported(config, arrays)
    for name, array in rebased.items():
        np.testing.assert_array_equal(array, same[name])
    assert (rebased["stem.bn.mean"] != other["stem.bn.mean"]).any()
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    with pytest.raises(ImageError, match="broken"):
        rebase_imported(config, arrays, [tmp_path / "broken.jpg"])


def test_a_network_rebased_again_says_it_once_and_nothing_that_is_no_longer_so() -> None:
    config, arrays = folded(SPECS["paper"])
    config = replace(config, origin=Origin("net.tflite", folded=True, note=NOTE))
    config, arrays = rebase_imported(config, arrays)
    config, arrays = rebase_on([*noise(config, 2)], "training photos", config, arrays)
    assert config.origin is not None and config.origin.rebased_on == "training photos"
    assert config.origin.note == (
        "BatchNorm was folded in the LiteRT file. BatchNorm rebased on 2 views of training photos."
    )


def test_the_views_are_many_and_always_the_same() -> None:
    record = ModelConfig.default(SPECS["paper"]).preprocessing
    one, two = built_in_views(record), built_in_views(record)
    assert len(one) == 120 and all(view.shape == (64, 64, 3) for view in one)
    assert len({view.tobytes() for view in one}) == 120
    np.testing.assert_array_equal(one, two)
    assert len(built_in_views(record.at((224, 224)))) == 30
    assert len(built_in_views(record.at((512, 512)))) == 6


def test_networks_of_large_pictures_are_measured_on_smaller_ones() -> None:
    assert measured_size((224, 192)) == (224, 192)
    height, width = measured_size((2048, 1024))
    assert height == 2 * width and height * width <= 512 * 512 * 1.01
    config, arrays = folded(NetworkSpec(width=0.1, size=(1500, 1500), classes=3))
    changed, rebased = rebase_imported(config, arrays)
    assert changed.spec == config.spec and changed.preprocessing == config.preprocessing
    assert not is_folded(rebased)


def test_weights_that_overflow_on_photos_stay_as_they_are() -> None:
    config, arrays = folded(SPECS["paper"])
    arrays["stem.conv.weight"] *= np.float32(1e38)
    _, rebased = rebase_imported(config, arrays)
    assert all(np.isfinite(array).all() for array in rebased.values())


def test_every_photo_in_the_package_is_small_and_its_source_is_named() -> None:
    import mobilenetv2.checkpoints

    folder = Path(mobilenetv2.checkpoints.__path__[0]) / "photos"
    sources = (folder / "SOURCES.md").read_text("utf-8")
    found = sorted(folder.glob("*.jpg"))
    assert len(found) == 6 and sum(path.stat().st_size for path in found) < 200_000
    for path in found:
        row = next(line for line in sources.splitlines() if f"`{path.name}`" in line)
        assert "CC0" in row or "CC BY 2.0" in row or "public domain" in row
        with Image.open(path) as image:
            assert not image.getexif()  # nothing of whoever scaled it


def test_no_framework_is_needed() -> None:
    code = (
        "import numpy as np, sys; from mobilenetv2.checkpoints.rebasing import rebase_imported\n"
        "from mobilenetv2.model.arrays import random_arrays\n"
        "from mobilenetv2.spec.network import NetworkSpec\n"
        "from mobilenetv2.spec.records import ModelConfig\n"
        "spec = NetworkSpec(width=0.1, size=32, classes=3)\n"
        "rebase_imported(ModelConfig.default(spec), random_arrays(spec))\n"
        "frameworks = {'torch', 'keras', 'tensorflow', 'jax', 'onnxruntime', 'sklearn'}\n"
        "print(frameworks & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [("tf2_mobilenet_v2_1.0_224_ptq.tflite", 25), ("mobilenet_v2_1.0_224_quant.tflite", 15)],
)
def test_published_weights_survive_training_mode(
    name: str, least: int, public_folder: Callable[[str], Path]
) -> None:
    """docs/decisions/files.md has the figures: 36 and 21 of 64, and none before."""
    torch = pytest.importorskip("torch")
    from mobilenetv2.checkpoints.importer import import_network
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.editions.torch.network import normalise

    published = public_folder("published") / name
    config, arrays = import_network(published, rebase=False)
    paths = sorted(public_folder("imagenet-samples").glob("*/*"))
    paths = [paths[index] for index in np.random.default_rng(0).permutation(len(paths))[:64]]
    photos = np.stack([preprocess(read_photo(path), config.preprocessing) for path in paths])
    x = normalise(photos, config.preprocessing)
    network = edition.MobileNetV2(config).eval()
    network.dropout.p = 0.0
    edition.load(network, arrays)
    with torch.no_grad():
        logits = network(x)
        with pytest.warns(UserWarning, match="is folded"):
            network.train()
        assert (network(x).argmax(1) == logits.argmax(1)).sum() < 3
        config, arrays = import_network(published)
        network.config = config
        edition.load(network, arrays)
        torch.testing.assert_close(
            network.eval()(x), logits, rtol=0, atol=3e-6 * logits.abs().max().item()
        )
        assert (network.train()(x).argmax(1) == logits.argmax(1)).sum() >= least
