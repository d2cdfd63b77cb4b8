"""A pass through a network of the torch edition that leaves it as it is."""

import random

import torch

import mobilenetv2 as mn

OTHER = "this network computes something else than the MobileNetV2 of its config"


def test_the_network_and_the_random_states_stay_as_they_are() -> None:
    network = mn.load("embedded").train()
    network.blocks[2].eval()
    seen: list[bool] = []
    network.stem.register_forward_hook(lambda module, *_: seen.append(module.training))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    states = torch.get_rng_state(), random.getstate()
    mn.convert(network, "numpy")
    assert seen == [False]
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert all(parameter.grad is None for parameter in network.parameters())
