"""What the article starts from: MobileNetV1's blocks and ResNet's, built, counted and trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import mobilenetv2 as mn
from mobilenetv2.editions.torch import MobileNetV2, load
from mobilenetv2.errors import SpecError
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec import count
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import intermediate_names, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, StageSpec
from mobilenetv2.spec.published import published

STAGES = {
    "separable": (StageSpec(1, 16, 2, 2, "separable"), StageSpec(1, 24, 1, 1, "separable")),
    "bottleneck": (StageSpec(4, 16, 2, 2, "bottleneck"), StageSpec(2, 24, 1, 1, "bottleneck")),
    "mixed": (
        StageSpec(4, 16, 2, 1, "bottleneck"),
        StageSpec(6, 16, 2, 2),
        StageSpec(1, 24, 1, 2, "separable"),
    ),
}


def spec_of(kind: str, **changes: Any) -> NetworkSpec:
    changes = {"size": (48, 33), "classes": 5, "dropout": 0.0, "stem_channels": 8, **changes}
    return NetworkSpec(stages=STAGES[kind], head="none", **changes)


def plain(x: Tensor, spec: NetworkSpec, arrays: Arrays) -> Tensor:
    """The definitions once more, on PyTorch's functions, without our modules."""
    weights = {name: torch.tensor(array).double() for name, array in arrays.items()}

    def layer(x: Tensor, name: str, stride: int = 1, activated: bool = True) -> Tensor:
        kernel = weights[f"{name}.conv.weight"]
        groups = x.shape[1] // kernel.shape[1]
        x = functional.conv2d(
            x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups
        )
        scale, shift, mean, variance = (
            weights[f"{name}.bn.{part}"] for part in ("scale", "shift", "mean", "variance")
        )
        x = functional.batch_norm(x, mean, variance, scale, shift, eps=1e-5)
        return functional.relu6(x) if activated else x

    x = layer(x, "stem", 2)
    index = 0
    for stage in spec.stages:
        for repeat in range(stage.repeats):
            name, stride, came = f"blocks.{index}", 1 if repeat else stage.stride, x
            if stage.kind == "separable":
                x = layer(layer(x, f"{name}.depthwise", stride), f"{name}.pointwise")
            elif stage.kind == "bottleneck":
                x = layer(layer(x, f"{name}.reduce"), f"{name}.convolve", stride)
                x = layer(x, f"{name}.expand", activated=False)
                if f"{name}.shortcut.conv.weight" in weights:
                    came = layer(came, f"{name}.shortcut", stride, activated=False)
                x = functional.relu6(x + came)
            else:
                x = layer(layer(x, f"{name}.expand"), f"{name}.depthwise", stride)
                x = layer(x, f"{name}.project", activated=False)
                x = x + came if stride == 1 and x.shape == came.shape else x
            index += 1
    return functional.linear(
        x.mean((2, 3)), weights["classifier.weight"], weights["classifier.bias"]
    )


@pytest.mark.parametrize("kind", STAGES)
def test_the_network_is_its_definition(kind: str) -> None:
    spec = spec_of(kind)
    arrays, network = random_arrays(spec), MobileNetV2(spec)
    load(network, arrays)
    network.double().eval()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 48, 33)))
    with torch.no_grad():
        found, expected = network.intermediates(x), plain(x, spec, arrays)
    assert expected.std() > 0.1
    torch.testing.assert_close(found["logits"], expected, rtol=0, atol=1e-9)
    assert tuple(found) == intermediate_names(spec)
    shapes = {n: (value.shape[1], *value.shape[2:]) for n, value in found.items()}
    for conv in resolve(spec).convolutions:
        assert shapes[conv.name] == (conv.out_channels, *conv.out_size)


def test_mobilenet_v1_has_its_published_counts() -> None:
    spec = published("mobilenet-v1")
    assert count.parameters(spec) == 4_231_976
    assert count.multiply_adds(spec) == 568_740_352
    assert len(list(resolve(spec).convolutions)) == 27
    with torch.device("meta"):
        network = MobileNetV2(spec)
    assert sum(p.numel() for p in network.parameters()) == 4_231_976
    assert network.head is None and network.classifier.in_features == 1024


def test_a_classic_bottleneck_has_resnets_counts() -> None:
    """ResNet-50's second block, 256 - 64 - 64 - 256: three kernels and three BatchNorms."""
    stages = (StageSpec(1, 256, 1, 1, "bottleneck"), StageSpec(4, 256, 1, 1, "bottleneck"))
    spec = NetworkSpec(stages=stages, head="none", classes=2)
    rows = [row for row in count.layers(spec) if row.name.startswith("blocks.1.")]
    assert [row.name.rpartition(".")[2] for row in rows] == ["reduce", "convolve", "expand"]
    kernels, norms = 256 * 64 + 64 * 64 * 9 + 64 * 256, 2 * (64 + 64 + 256)
    assert sum(row.parameters for row in rows) == kernels + norms == 70_400
    assert sum(row.multiply_adds for row in rows) == kernels * 112 * 112


def test_the_classic_counterpart_is_narrow_where_mobilenetv2_is_wide() -> None:
    classic, inverted = (resolve(published(name)) for name in ("resnet-bottleneck", "paper"))
    for one, other in zip(classic.blocks, inverted.blocks, strict=True):
        assert one.inner_channels == other.out_channels
        assert one.out_channels == 4 * other.out_channels
        assert (one.residual and one.shortcut is None) or one.shortcut is not None
    assert count.expanded_memory(published("resnet-bottleneck")) == 0
    # 16 bits of the widest tensors in and out and the block's input: 64 channels of 112 x 112.
    assert count.bottleneck_memory(published("resnet-bottleneck")) == 2 * 64 * 112 * 112


@settings(max_examples=40)
@given(
    st.lists(
        st.builds(
            lambda kind, t, c, n, s: StageSpec(1 if kind == "separable" else t, c, n, s, kind),
            st.sampled_from(["inverted", "separable", "bottleneck"]),
            st.integers(1, 6), st.integers(1, 40), st.integers(1, 3), st.sampled_from([1, 2]),
        ),
        min_size=1, max_size=4,
    ),
    st.sampled_from(["published", "none"]),
    st.sampled_from(["identity", "projection", "none"]),
)  # fmt: skip
def test_every_mixture_has_the_parameters_that_are_counted(
    stages: list[StageSpec], head: Any, shortcut: Any
) -> None:
    spec = NetworkSpec(stages=tuple(stages), head=head, shortcut=shortcut, classes=3, size=(64, 64))
    with torch.device("meta"):
        network = MobileNetV2(spec)
    assert count.parameters(spec) == sum(p.numel() for p in network.parameters())
    shapes = [tuple(p.shape) for p in network.state_dict().values() if p.ndim]
    assert shapes == list(parameter_shapes(spec).values())
    assert NetworkSpec.from_dict(spec.to_dict()) == spec
    assert count.peak_memory(spec) > 0


@pytest.mark.parametrize("edition", ["jax", "keras"])
def test_the_other_editions_say_that_they_do_not_have_them(edition: Any) -> None:
    package = "flax" if edition == "jax" else "keras"
    pytest.importorskip(package, reason=f"{package} is not installed (extra: {edition})")
    with pytest.raises(SpecError, match=f"the {edition} edition does not have separable blocks"):
        mn.build(published("mobilenet-v1", width=0.25), edition=edition)
    headless = NetworkSpec(head="none", size=(32, 32), width=0.1)
    with pytest.raises(SpecError, match="does not have a network without a head"):
        mn.build(headless, edition=edition)


@pytest.mark.parametrize("kind", ["separable", "bottleneck"])
def test_a_few_steps_learn(kind: str, tmp_path: Path) -> None:
    network = mn.build(spec_of(kind), seed=1).train()
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(10, 3, 48, 33)).astype(np.float32))
    labels, losses = torch.arange(10) % 5, []
    for _ in range(30):
        loss = functional.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    mn.save(network, tmp_path / "model")
    again = mn.load(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(again(x), network.eval()(x))


def test_a_recipe_trains_mobilenet_v1(photos: Path, tmp_path: Path) -> None:
    from mobilenetv2.cli.main import main

    changes = ("network=mobilenet-v1", "width=0.25", "size=32", "batch_size=4")
    words = [word for change in changes for word in ("--set", change)]
    command = ["train", str(photos), "--weights", "none", "--output", str(tmp_path / "run")]
    assert main([*command, "--epochs", "1", *words]) == 0
    assert mn.load(tmp_path / "run" / "best").spec.stages[0].kind == "separable"


def test_impossible_kinds_are_named() -> None:
    with pytest.raises(SpecError, match="a separable stage has no expansion"):
        StageSpec(6, 16, 1, 1, "separable")
    with pytest.raises(SpecError, match="stage kind 'dense' is unknown; known are: inverted"):
        StageSpec(1, 16, 1, 1, "dense")  # type: ignore[arg-type]
