"""The article's PyTorch version: its names, its blocks, and the same network as a spec."""

import numpy as np
import pytest
import torch

from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions import torch as edition
from mobilenetv2.editions.article import torch as article
from mobilenetv2.errors import WeightsError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec import count
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, StageSpec
from mobilenetv2.spec.published import published


def test_the_names_are_the_articles() -> None:
    block = article.InvertedResidual(8, 12, 1)
    assert list(block.state_dict())[:4] == [
        "bottleneck.0.0.weight",
        "bottleneck.0.0.bias",
        "bottleneck.0.1.weight",
        "bottleneck.0.1.bias",
    ]
    assert {
        "bottleneck.1.1.running_mean",
        "bottleneck.2.0.bias",
        "shortcut.0.weight",
        "shortcut.0.bias",
        "shortcut.1.num_batches_tracked",
    } <= set(block.state_dict())
    assert block.state_dict()["bottleneck.1.0.weight"].shape == (48, 1, 3, 3)
    assert not hasattr(article.InvertedResidual(8, 8, 2), "shortcut")
    article.InvertedResidual(8, 12, 1).load_state_dict(block.state_dict())  # as they are
    kinds = [
        [type(m).__name__ for m in made]
        for made in (
            article.Conv3x3BNReLU(4, 8, 2, 4),
            article.Conv1x1BNReLU(4, 8),
            article.Conv1x1BN(4, 8),
        )
    ]
    assert kinds == [["Conv2d", "BatchNorm2d", "ReLU6"]] * 2 + [["Conv2d", "BatchNorm2d"]]


@pytest.mark.parametrize("size", [(12, 12), (13, 10)])
@pytest.mark.parametrize(
    ("channels", "out", "stride", "expansion"),
    [(8, 8, 1, 6), (8, 16, 1, 6), (8, 8, 2, 6), (8, 16, 2, 3), (8, 16, 1, 1), (8, 8, 2, 1)],
)
def test_a_block_is_the_specs_block(
    channels: int, out: int, stride: int, expansion: int, size: tuple[int, int]
) -> None:
    spec = published(
        "article-torch", stem_channels=channels, size=32, classes=2, head_channels=8,
        stages=(StageSpec(expansion, out, 1, stride),),
    )  # fmt: skip
    network = edition.MobileNetV2(spec)
    edition.load(network, random_arrays(spec))
    ours = network.double().eval().blocks[0]
    theirs = article.InvertedResidual(channels, out, stride, expansion).double().eval()
    arrays = random_arrays(spec)
    state = {
        f"{place}.{theirs_}": torch.tensor(arrays[f"blocks.0.{name}.{ours_}"]).double()
        for name, place in article.PLACES.items()
        for ours_, theirs_ in article.PARTS.items()
        if f"blocks.0.{name}.{ours_}" in arrays
    }
    missing = theirs.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, channels, *size)))
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), ours(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [(64, 64), (65, 48)])
def test_the_whole_network_is_the_spec(size: tuple[int, int]) -> None:
    network = article.MobileNetV2(7).eval()
    spec = network.spec
    assert spec == published("article-torch", classes=7)
    assert spec.dropout == network.dropout.p == 0.2
    arrays = random_arrays(spec)
    article.load(network, arrays)
    found = article.dump(network)
    assert {n: a.shape for n, a in found.items()} == parameter_shapes(spec)
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    assert len(network.state_dict()) == len(arrays) + sum(n.endswith(".bn.mean") for n in arrays)
    x = np.random.default_rng(0).normal(size=(1, 3, *size))
    reference = plain.MobileNetV2(spec, dtype=np.float64)
    plain.load(reference, arrays)
    with torch.no_grad():
        logits = network.double()(torch.from_numpy(x)).numpy()
    expected = reference(x)
    assert 0.5 < expected.std() < 20
    assert np.abs(logits - expected).max() <= 1e-9 * np.abs(expected).max()
    with pytest.raises(WeightsError, match="mine"):
        article.load(network, random_arrays(NetworkSpec(classes=7)), "mine")


def test_what_the_departures_cost() -> None:
    spec, paper = published("article-torch"), NetworkSpec()
    assert count.parameters(spec) == article.PARAMETERS
    assert count.multiply_adds(spec) == article.MULTIPLY_ADDS
    assert sum(p.numel() for p in article.MobileNetV2().parameters()) == article.PARAMETERS
    costs = {
        (count.parameters(s) - count.parameters(paper),
         count.multiply_adds(s) - count.multiply_adds(paper))
        for s in (paper.replace(shortcut="projection"), paper.replace(expand="always"))
    }  # fmt: skip
    assert costs == {(144_848, 22_077_440), (1_088, 12_845_056)}
    assert count.parameters(spec) - count.parameters(spec.replace(conv_bias=False)) == 18_312
