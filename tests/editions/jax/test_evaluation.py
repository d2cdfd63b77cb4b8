"""A pass through a network of the jax edition that leaves it as it is."""

from pathlib import Path

import pytest

import mobilenetv2 as mn

OTHER = "this network computes something else than the MobileNetV2 of its config"


def test_a_changed_jax_network_is_refused_and_stays_in_training_mode(tmp_path: Path) -> None:
    pytest.importorskip("flax")
    network = mn.load("embedded", "jax")
    network.train()
    mn.save(network, tmp_path / "m")
    assert not network.stem.bn.use_running_average and not network.dropout.deterministic
    network.stem.stride = 2
    with pytest.raises(mn.MobileNetV2Error, match=OTHER):
        mn.save(network, tmp_path / "m")
