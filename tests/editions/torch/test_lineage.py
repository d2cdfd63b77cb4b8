"""Other blocks than the paper's, built, counted and trained.

They are MobileNetV1's and ResNet's, which the article starts from, and the paper's own variants:
wide tensors that are added, and projections with an activation.
"""

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
from mobilenetv2.editions import torch as edition
from mobilenetv2.editions.torch import MobileNetV2, load
from mobilenetv2.errors import SpecError
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec import count
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.names import intermediate_names, is_statistic, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, StageSpec
from mobilenetv2.spec.published import published
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.steps.torch import TorchTrainer

STAGES = {
    "separable": (StageSpec(1, 16, 2, 2, "separable"), StageSpec(1, 24, 1, 1, "separable")),
    "bottleneck": (StageSpec(4, 16, 2, 2, "bottleneck"), StageSpec(2, 24, 1, 1, "bottleneck")),
    "wide": (StageSpec(6, 8, 3, 2, "wide"), StageSpec(1, 24, 2, 1, "wide"), StageSpec(1, 24, 1, 1)),
    "mixed": (
        StageSpec(4, 16, 2, 1, "bottleneck"),
        StageSpec(6, 16, 2, 2),
        StageSpec(1, 24, 1, 2, "separable"),
    ),
}


def spec_of(kind: str, **changes: Any) -> NetworkSpec:
    changes = {"size": (48, 33), "classes": 5, "dropout": 0.0, "stem_channels": 8, **changes}
    return NetworkSpec(stages=STAGES[kind], head="none", **changes)


CHANGES: dict[str, dict[str, Any]] = {
    **{kind: {} for kind in STAGES},
    "wide with relu6 projections": {"projection": "relu6"},
    "mixed with relu projections": {"projection": "relu"},
    "mixed with shortcuts at stride 1": {"projection": "relu6", "shortcut": "projection"},
    "wide with shortcuts at stride 1": {"shortcut": "projection"},
    "wide without shortcuts": {"shortcut": "none"},
}


def doubles(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.tensor(array).double() for name, array in arrays.items()}


def plain(x: Tensor, spec: NetworkSpec, weights: dict[str, Tensor]) -> Tensor:
    """The definitions once more, on PyTorch's functions, without our modules."""

    bounds: Any = {"linear": (-torch.inf, torch.inf), "relu": (0, torch.inf), "relu6": (0, 6)}
    low, high = bounds[spec.projection]

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
                if stage.kind == "wide":
                    x = layer(x, f"{name}.project", activated=False).clamp(low, high)
                if f"{name}.expand.conv.weight" in weights:
                    x = layer(x, f"{name}.expand")
                x = layer(x, f"{name}.depthwise", stride)
                if stage.kind == "inverted":
                    x = layer(x, f"{name}.project", activated=False).clamp(low, high)
                if spec.shortcut == "projection" and stride == 1:
                    x = x + layer(came, f"{name}.shortcut", activated=False)
                elif spec.shortcut == "identity" and stride == 1 and x.shape == came.shape:
                    x = x + came
            index += 1
    return functional.linear(
        x.mean((2, 3)), weights["classifier.weight"], weights["classifier.bias"]
    )


@pytest.mark.parametrize("name", CHANGES)
def test_the_network_is_its_definition(name: str) -> None:
    spec = spec_of(name.partition(" ")[0], **CHANGES[name])
    arrays, network = random_arrays(spec), MobileNetV2(spec)
    load(network, arrays)
    network.double().eval()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 48, 33)))
    with torch.no_grad():
        found, expected = network.intermediates(x), plain(x, spec, doubles(arrays))
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
            st.sampled_from(["inverted", "separable", "bottleneck", "wide"]),
            st.integers(1, 6), st.integers(1, 40), st.integers(1, 3), st.sampled_from([1, 2]),
        ),
        min_size=1, max_size=4,
    ),
    st.sampled_from(["published", "none"]),
    st.sampled_from(["identity", "projection", "none"]),
    st.sampled_from(["linear", "relu", "relu6"]),
)  # fmt: skip
def test_every_mixture_has_the_parameters_that_are_counted(
    stages: list[StageSpec], head: Any, shortcut: Any, projection: Any
) -> None:
    spec = NetworkSpec(
        stages=tuple(stages), head=head, shortcut=shortcut, projection=projection, classes=3,
        size=(64, 64),
    )  # fmt: skip
    with torch.device("meta"):
        network = MobileNetV2(spec)
    assert count.parameters(spec) == sum(p.numel() for p in network.parameters())
    shapes = [tuple(p.shape) for p in network.state_dict().values() if p.ndim]
    assert shapes == list(parameter_shapes(spec).values())
    assert NetworkSpec.from_dict(spec.to_dict()) == spec
    assert count.peak_memory(spec) > 0
    assert count.expanded_memory(spec) <= count.activation_memory(spec)


@pytest.mark.parametrize("edition", ["jax", "keras"])
def test_the_other_editions_say_that_they_do_not_have_them(edition: Any) -> None:
    package = "flax" if edition == "jax" else "keras"
    pytest.importorskip(package, reason=f"{package} is not installed (extra: {edition})")
    with pytest.raises(SpecError, match=f"the {edition} edition does not have separable blocks"):
        mn.build(published("mobilenet-v1", width=0.25), edition=edition)
    headless = NetworkSpec(head="none", size=(32, 32), width=0.1)
    with pytest.raises(SpecError, match="does not have a network without a head"):
        mn.build(headless, edition=edition)


@pytest.mark.parametrize("kind", ["separable", "bottleneck", "wide"])
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


@pytest.mark.parametrize("name", ["bottleneck", "wide", "mixed with relu projections"])
def test_a_step_takes_the_gradient_of_the_definition(name: str) -> None:
    """Plain SGD at rate 1, with frozen statistics, as the definition has them."""
    spec = spec_of(name.partition(" ")[0], **CHANGES[name])
    recipe = Recipe().changed(
        optimizer="sgd", momentum=0.0, weight_decay=0.0, precision="float32", batch_norm="frozen"
    )
    arrays = random_arrays(spec)
    network = mn.build(spec, dtype="float64")
    load(network, arrays)
    config = network.config
    pictures = np.random.default_rng(0).integers(0, 256, (4, *spec.size, 3), np.uint8)
    wanted = np.eye(5)[[0, 1, 2, 4]]
    found, _ = TorchTrainer(network, recipe).step(pictures, wanted, 1.0)
    weights = doubles(arrays)
    trained = [key for key in weights if not is_statistic(key)]
    for key in trained:
        weights[key].requires_grad_()
    x = torch.from_numpy(engine_input(pictures, config.preprocessing)).double()
    loss = functional.cross_entropy(plain(x, spec, weights), torch.from_numpy(wanted))
    loss.backward()
    assert found == pytest.approx(loss.item(), rel=1e-5)
    after = edition.dump(network, "float64")
    for key in trained:
        gradient = weights[key].grad
        assert gradient is not None and gradient.abs().max() > 0, key
        taken = arrays[key] - after[key]
        np.testing.assert_allclose(
            taken, gradient, rtol=0, atol=1e-5 * float(gradient.abs().max()), err_msg=key
        )


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
