"""One pass through a network of the PyTorch edition that leaves it as it is."""

from contextlib import ExitStack

import torch
from torch import nn

from mobilenetv2.editions.edition import COARSE, ROUNDING, Draw, Evaluated
from mobilenetv2.spec.network import Size


def evaluate(network: nn.Module, draw: Draw, size: Size) -> Evaluated:
    """Pass random images through the network as it is, with its hooks, in evaluation mode.

    Training flags and random states are restored.
    """
    images, weight = draw(size), next(network.parameters())
    kind, modules = weight.device.type, [*network.modules()]
    modes = [module.training for module in modules]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.random.fork_rng([weight.device] if kind == "cuda" else []))
        if any(module._compiled_call_impl is not None for module in modules):
            # Compiling again for these images would take minutes.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            network.eval()
            x = torch.from_numpy(images).to(weight.device, weight.dtype).permute(0, 3, 1, 2)
            outputs = network(x).float().cpu().numpy()
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
    name = str(weight.dtype).removeprefix("torch.")
    return Evaluated(images, outputs, ROUNDING.get(name, COARSE) if kind == "cpu" else COARSE)
