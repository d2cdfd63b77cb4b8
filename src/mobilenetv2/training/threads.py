"""One thread for the arithmetic of a run, so that its sums do not depend on the number of cores.

Floating-point addition is not associative: PyTorch and BLAS divide sums among their threads, and
another division gives other last bits, which training then amplifies. Photos are decoded in as many
threads as ever, and replicas of the network keep a thread each, for neither divides a sum.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mobilenetv2.errors import MobileNetV2Error, argument, require


def check_deterministic(edition: str, device: str, minutes: float | None = None) -> None:
    """Raise unless a run can give the same bits with any number of cores.

    Args:
        edition: the framework that trains.
        device: where it computes.
        minutes: training time that the speed of the machine turns into epochs; None without it.

    Raises:
        MobileNetV2Error: the edition, the device or the time makes that impossible.
    """
    asked = argument("deterministic", True)
    if edition != "torch":
        raise MobileNetV2Error(
            f"{asked} needs {argument('edition', 'torch')}: the number of threads of {edition} "
            f"cannot be set for one run; leave out {argument('deterministic')} or "
            f"{argument('edition')}"
        )
    if device != "cpu":
        raise MobileNetV2Error(
            f"{asked} needs {argument('device', 'cpu')}: {device} adds in an order of its own; "
            f"leave out {argument('deterministic')} or {argument('device')}"
        )
    if minutes is not None:
        raise MobileNetV2Error(
            f"{asked} and {argument('minutes')} exclude each other: the speed of the machine would "
            f"set the number of epochs; give {argument('epochs')}"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch and BLAS compute in one thread in the block of a ``with`` statement."""
    import torch

    require("sklearn.linear_model")  # it loads SciPy's BLAS, and only what is loaded can be set
    limits = require("threadpoolctl").threadpool_limits  # a dependency of scikit-learn
    before = torch.get_num_threads()
    with limits(1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
