"""What several of this room's tests share."""

from dataclasses import replace
from pathlib import Path

import pytest

from mobilenetv2.model import store
from mobilenetv2.model.arrays import identity_batch_norm
from mobilenetv2.spec.records import Origin


@pytest.fixture
def folded(model: Path, tmp_path: Path) -> Path:
    """The random model as LiteRT files come: BatchNorm an identity that carries the bias."""
    config, arrays = store.load(model)
    for name in {name.partition(".bn.")[0] for name in arrays if ".bn." in name}:
        bias = arrays[f"{name}.bn.shift"]
        arrays |= identity_batch_norm(name, bias, config.spec.numerics.epsilon)
    store.save(tmp_path / "folded", replace(config, origin=Origin("x", folded=True)), arrays)
    return tmp_path / "folded"
