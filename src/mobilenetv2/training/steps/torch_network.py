"""PyTorch networks in training: precision, BatchNorm and replicas.

The running statistics of published weights may move by only 0.001 to 0.003 a step (Keras, TF-slim).
In a run of a few hundred steps they stay far from the statistics of the new data: the accuracy was
about 100% in training and 50% in evaluation. :func:`set_policy` makes them move faster, or also
uses the running statistics in training.

Replicas share a network's weights and compute parts of a batch in parallel. Threads that share an
operator synchronise after it, hundreds of times a step; replicas on separate cores do not. On two
cores, the small network was 1.1 to 1.25 times as fast at 24 and 32 pixels, and not faster at 224
pixels, where operators take longer. BatchNorm uses the statistics of each part, as in all training
on several devices.
"""

import copy
import types
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mobilenetv2.training.distributed import ALONE, Group
from mobilenetv2.training.steps import LEAST_UPDATE_RATE

Result = TypeVar("Result")


def choose_precision(precision: str, device: str) -> torch.dtype:
    """Return the data type of a recipe's ``precision`` on a device.

    'auto' is bfloat16 only if the hardware supports it: emulation is slower than float32.
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
    """Exclude depthwise convolutions of stride 2 from autocast.

    oneDNN has no kernel for their backward pass in bfloat16 and uses a slow reference. On AVX-512,
    the four layers took half of the time of a step, and a tenth in float32.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.stride != (1, 1):
            module.forward = types.MethodType(_in_float32, module)  # type: ignore[method-assign]


def _in_float32(layer: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return nn.Conv2d.forward(layer, x.float())


@torch.no_grad()
def reestimate(
    network: nn.Module, batches: Iterable[Tensor], kept: frozenset[nn.Module] = frozenset(),
    group: Group = ALONE,
) -> None:  # fmt: skip
    """Measure the BatchNorm statistics again, as means over batches; end in evaluation mode.

    Running statistics lag behind the weights. For averaged weights they are averages of statistics,
    which fit no network (Wu & Johnson, arXiv 2105.07576).

    Args:
        network: the network.
        batches: normalised images, float (batch, channels, height, width), or feature maps.
        kept: BatchNorm layers whose statistics do not change. Default: none.
        group: processes, each of which measures batches of its own. Default: this one alone.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) and module not in kept
    ]
    before, count = [norm.momentum for norm in norms], 0
    network.eval()
    for norm in norms:
        norm.train()
    try:
        for count, batch in enumerate(batches, 1):
            for norm in norms:
                norm.momentum = 1 / count  # the mean over the batches so far
            network(batch)
        if group.size > 1:
            _mean_over_processes(norms, count, group)
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
        network.eval()


def _mean_over_processes(norms: Sequence[nn.BatchNorm2d], count: int, group: Group) -> None:
    """Give BatchNorm layers the mean of the statistics over the batches of all processes."""
    (whole,) = group.total(count)
    moved = [b for norm in norms for b in (norm.running_mean, norm.running_var) if b is not None]
    for buffer in moved:
        buffer.mul_(count / whole)
    group.add(moved)


def set_policy(network: nn.Module, policy: str) -> None:
    """Put the network into training mode, with a recipe's ``freezing.batch_norm``.

    Args:
        network: the network.
        policy: 'adapt' for batch statistics, and running statistics that move by at least 0.1 a
            step; 'frozen' for fixed running statistics. Scale and shift are trained in both cases.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if policy == "frozen":
                module.eval()
            else:
                module.momentum = max(module.momentum or 0.0, LEAST_UPDATE_RATE)


class Replicas:
    """A network and its replicas, ``count`` together. Results do not depend on their timing."""

    def __init__(self, network: nn.Module, count: int) -> None:
        self.networks = [network, *(sharing(network) for _ in range(count - 1))]
        self._pool = one_thread_each(count) if count > 1 else None

    def each(
        self, function: Callable[[Any, slice], Result], parts: Sequence[slice],
        settle: Callable[[], None] = lambda: None,
    ) -> list[Result]:  # fmt: skip
        """Call ``function`` with a network and each part, in parallel on all networks.

        The BatchNorm statistics become the mean of those of the networks.

        Args:
            function: function from a network and a part to a result.
            parts: the parts.
            settle: function that is called whenever the networks have computed a part each.

        Returns:
            The results, in the order of the parts.
        """
        results: list[Result] = []
        for start in range(0, len(parts), len(self.networks)):
            some = parts[start : start + len(self.networks)]
            if len(some) == 1 or self._pool is None:
                results.append(function(self.networks[0], some[0]))
            else:
                networks = self.networks[: len(some)]
                self._follow(networks)
                results += self._pool.map(function, networks, some)
                self._average(networks)
            settle()
        return results

    @torch.no_grad()
    def _follow(self, networks: Sequence[nn.Module]) -> None:
        """Copy the buffers, modes and BatchNorm momentum of the first network to the others."""
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
                # Equal buffers are not changed: the mean of equal numbers may differ in a bit.
                if not all(torch.equal(buffer, part) for part in parts):
                    buffer.copy_(torch.stack([buffer, *parts]).mean(0))


def one_thread_each(count: int) -> ThreadPoolExecutor:
    """Return a pool of threads that share PyTorch's cores evenly; other threads do not change."""
    threads, all_here = torch.get_num_threads(), Barrier(count)

    def take_share() -> None:
        torch.set_num_threads(max(1, threads // count))
        # PyTorch fixes a thread's number of cores at the first query, to the last value that any
        # thread has set. Without this query, that would be the value that is restored below.
        torch.get_num_threads()

    pool = ThreadPoolExecutor(count, "replica", take_share)
    # Start all threads now: the barrier keeps each one busy until the last has started.
    list(pool.map(lambda _: all_here.wait(), range(count)))
    torch.set_num_threads(threads)
    return pool


def sharing(network: nn.Module) -> nn.Module:
    """Return a copy of a network that shares its parameters and has its own buffers."""
    replica = copy.deepcopy(network)
    for module, original in zip(replica.modules(), network.modules(), strict=True):
        for name, parameter in original._parameters.items():
            module._parameters[name] = parameter
    return replica
