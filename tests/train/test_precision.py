"""Which precision is chosen, and what stays in float32."""

import pytest
import torch
from torch import nn

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.spec.published import published
from mobilenetv2.train.steps import torch_network


@pytest.mark.parametrize(
    "capabilities, expected",
    [
        ({}, torch.float32),
        ({"avx512_f": True}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
    ],
)
def test_auto_is_bfloat16_only_where_the_processor_computes_in_it(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert torch_network.choose_precision("auto", "cpu") == expected
    assert torch_network.choose_precision("auto", "mps") == torch.float32
    assert torch_network.choose_precision("float32", "cpu") == torch.float32
    assert torch_network.choose_precision("bfloat16", "cpu") == torch.bfloat16


def test_only_depthwise_convolutions_of_stride_2_leave_autocast() -> None:
    network = MobileNetV2(published("small", width=0.1, classes=3), seed=0)
    state = network.state_dict()
    torch_network.keep_slow_layers_in_float32(network)
    assert network.state_dict().keys() == state.keys()
    seen: dict[str, torch.dtype] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _module, _inputs, output, name=name: seen.update({name: output.dtype})
            )
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(2, 3, 32, 32)).sum().backward()
    strided = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.stride == (2, 2)
    }
    assert len(strided) == 3
    assert {name for name, dtype in seen.items() if dtype == torch.float32} == strided
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
