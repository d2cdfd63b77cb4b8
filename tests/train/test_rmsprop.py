"""RMSProp as TensorFlow has it: against a plain loop, and against Keras's own where it is there."""

import numpy as np
import pytest
import torch

from mobilenetv2.train.steps.torch_optimizers import RMSProp


def moved(rates: list[float], epsilon: float = 1.0, decay: float = 0.0) -> list[float]:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = RMSProp([{"params": [weight]}], lr=0.0, epsilon=epsilon, weight_decay=decay)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (weight**3).sum().backward()
        optimizer.step()
    return [float(value) for value in weight.detach()]


@pytest.mark.parametrize("epsilon, decay", [(1.0, 0.0), (1e-3, 0.0), (1.0, 0.25)])
def test_it_is_the_formula_of_tensorflow(epsilon: float, decay: float) -> None:
    rates = [0.01, 0.02, 0.005, 0.01]
    w = np.array([1.0, -2.0])
    squares, velocity = np.ones(2), np.zeros(2)
    for rate in rates:
        g = 3 * w**2 + decay * w
        squares = 0.9 * squares + 0.1 * g**2
        velocity = 0.9 * velocity + rate * g / np.sqrt(squares + epsilon)
        w = w - velocity
    assert moved(rates, epsilon, decay) == pytest.approx(list(w), rel=1e-12)


def test_what_has_no_gradient_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    RMSProp([{"params": [weight]}], lr=1.0).step()
    assert weight.tolist() == [1, 1]
