"""float32 or bfloat16: what a processor is fast in, layer by layer."""

import types

import torch
from torch import Tensor, nn


def choose(wish: str, device: str) -> torch.dtype:
    """bfloat16 only where the hardware computes in it: emulated, it is slower than float32."""
    if wish != "auto":
        return torch.bfloat16 if wish == "bfloat16" else torch.float32
    if device.startswith("cuda"):
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        able = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    else:
        able = False
    return torch.bfloat16 if able else torch.float32


def keep_slow_layers_in_float32(network: nn.Module) -> None:
    """Take depthwise convolutions of stride 2 out of autocast.

    oneDNN has no kernel for their backward pass in bfloat16 and falls back to a reference: measured
    on AVX-512, the four of them took half of the time of a step, a tenth in float32.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.stride != (1, 1):
            module.forward = types.MethodType(_in_float32, module)  # type: ignore[method-assign]


def _in_float32(layer: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return nn.Conv2d.forward(layer, x.float())
