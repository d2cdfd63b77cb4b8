"""A PyTorch network in training: what its layers compute in, its BatchNorm, its replicas.

The running statistics of a published checkpoint may move by 0.001 to 0.003 a step (Keras, TF-slim).
In a run of a few hundred steps they never arrive at the new data: ~100% in training, ~50% in
evaluation. :func:`set_policy` makes them move faster, or holds everything to those of the weights.

Replicas share a network's weights and compute a batch in parts at the same time. Threads that share
an operator wait for each other after it, hundreds of times a step; two replicas on a core each do
not. Measured on two cores for the small network at 24 and 32 pixels: 1.1 to 1.25 times; at 224
pixels, where operators are long, nothing. BatchNorm sees the parts, as it does wherever a batch is
spread over devices.
"""

import copy
import types
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mobilenetv2.training.steps import LEAST_UPDATE_RATE

Result = TypeVar("Result")


def choose_precision(precision: str, device: str) -> torch.dtype:
    """Return what a recipe's ``precision`` means on a device.

    'auto' is bfloat16 only where the hardware has it: emulated, it is slower than float32.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
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


@torch.no_grad()
def reestimate(
    network: nn.Module, batches: Iterable[Tensor], kept: frozenset[nn.Module] = frozenset()
) -> None:
    """Measure the running statistics anew, as plain means over batches (Wu & Johnson, arXiv
    2105.07576): running ones lag behind the weights, and those of an average of weights are
    averages, too, which no network has seen. Those ``kept`` stay; it ends in evaluation mode."""
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) and module not in kept
    ]
    before = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
    try:
        for count, batch in enumerate(batches, 1):
            for norm in norms:
                norm.momentum = 1 / count  # the mean so far; the first replaces what was there
            network(batch)
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
        network.eval()


def set_policy(network: nn.Module, policy: str) -> None:
    """Put the network into training mode under a recipe's ``freezing.batch_norm``.

    'adapt': statistics of the batch, running ones that move by at least 0.1 a step.
    'frozen': BatchNorm computes with its running statistics and leaves them; scale and shift
    are trained all the same.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if policy == "frozen":
                module.eval()
            else:
                module.momentum = max(module.momentum or 0.0, LEAST_UPDATE_RATE)


class Replicas:
    """A network and its replicas, ``count`` together. Which of them is faster changes no result."""

    def __init__(self, network: nn.Module, count: int) -> None:
        self.networks = [network, *(sharing(network) for _ in range(count - 1))]
        self._pool = one_thread_each(count) if count > 1 else None

    def each(
        self, function: Callable[[Any, slice], Result], parts: Sequence[slice]
    ) -> list[Result]:
        """Call ``function`` on a network and each part, as many at a time as there are networks.

        BatchNorm's running statistics end as the mean of what the parts of a time made of them.
        """
        results: list[Result] = []
        for start in range(0, len(parts), len(self.networks)):
            some = parts[start : start + len(self.networks)]
            if len(some) == 1 or self._pool is None:
                results.append(function(self.networks[0], some[0]))
                continue
            networks = self.networks[: len(some)]
            self._follow(networks)
            results += self._pool.map(function, networks, some)
            self._average(networks)
        return results

    @torch.no_grad()
    def _follow(self, networks: Sequence[nn.Module]) -> None:
        """Bring the others to where the first one is: buffers, modes, BatchNorm's momentum."""
        for modules in zip(*(network.modules() for network in networks), strict=True):
            first, *others = modules
            for other in others:
                other.training = first.training
                if isinstance(first, nn.BatchNorm2d):
                    other.momentum = first.momentum
                for name, buffer in first._buffers.items():
                    if buffer is not None:
                        other._buffers[name].copy_(buffer)

    @torch.no_grad()
    def _average(self, networks: Sequence[nn.Module]) -> None:
        for first, *others in zip(*(network.modules() for network in networks), strict=True):
            for name, buffer in first._buffers.items():
                if buffer is None or not buffer.is_floating_point():
                    continue
                parts = [other._buffers[name] for other in others]
                # What no part changed stays: the mean of equal numbers may differ in the last bit.
                if not all(torch.equal(buffer, part) for part in parts):
                    buffer.copy_(torch.stack([buffer, *parts]).mean(0))


def one_thread_each(count: int) -> ThreadPoolExecutor:
    """Return threads that share PyTorch's cores evenly; everybody else's number stays as it is."""
    threads, all_here = torch.get_num_threads(), Barrier(count)

    def take_share() -> None:
        torch.set_num_threads(max(1, threads // count))
        # A thread's number is settled when it is first asked for, and is then what anybody set
        # last: unasked, it would become the one that is put back below.
        torch.get_num_threads()

    pool = ThreadPoolExecutor(count, "replica", take_share)
    # All threads begin now: none is done before the last has begun.
    list(pool.map(lambda _: all_here.wait(), range(count)))
    torch.set_num_threads(threads)
    return pool


def sharing(network: nn.Module) -> nn.Module:
    """Return a copy that shares the parameters and has buffers of its own."""
    replica = copy.deepcopy(network)
    for module, original in zip(replica.modules(), network.modules(), strict=True):
        for name, parameter in original._parameters.items():
            module._parameters[name] = parameter
    return replica
