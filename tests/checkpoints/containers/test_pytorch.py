"""PyTorch files against torch.save and torch.load, and those that want more than to be read."""

import argparse
import datetime
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.pytorch import pytorch_bytes
from mobilenetv2.errors import WeightsError

torch = pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
Open = Callable[[Path], Container]


def network() -> dict[str, Any]:
    torch.manual_seed(0)
    return OrderedDict(
        {
            "stem.0.weight": torch.randn(8, 3, 3, 3),
            "stem.1.running_mean": torch.randn(8).double(),
            "stem.1.num_batches_tracked": torch.tensor(7),
            "head.weight": torch.randn(4, 8).half(),
            "head.transposed": torch.randn(4, 8).T,
            "head.bias": torch.nn.Parameter(torch.randn(4)),
            "head.empty": torch.zeros(0, 3),
        }
    )


def same(found: Container, expected: dict[str, Any]) -> None:
    assert list(found.arrays) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found.arrays[name], tensor.detach().numpy(), strict=True)


@pytest.mark.parametrize("modern", [True, False])
def test_what_torch_saves_is_read_bit_for_bit(opened: Open, tmp_path: Path, modern: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save(network(), path, _use_new_zipfile_serialization=modern)
    found = opened(path)
    same(found, network())
    assert found.metadata["format"] == "pytorch" and found.metadata["key"] is None


def test_bfloat16_is_widened(opened: Open, tmp_path: Path) -> None:
    values = torch.randn(50).to(torch.bfloat16)
    torch.save({"a": values}, tmp_path / "a.bin")
    same(opened(tmp_path / "a.bin"), {"a": values.float()})


def test_what_is_written_torch_reads_and_it_is_always_the_same(tmp_path: Path) -> None:
    arrays = {name: tensor.detach().numpy() for name, tensor in network().items()}
    for array in arrays.values():
        array.flags.writeable = False
    assert pytorch_bytes(arrays) == pytorch_bytes(arrays)
    (tmp_path / "a.pth").write_bytes(pytorch_bytes(arrays))
    back = torch.load(tmp_path / "a.pth", weights_only=True)
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name].numpy(), array, strict=True)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "model_ema"])
def test_a_training_checkpoint_is_looked_through(opened: Open, tmp_path: Path, key: str) -> None:
    checkpoint = {
        key: network(), "epoch": 12, "arch": "mobilenet_v2", "best": np.float64(0.75),
        "args": argparse.Namespace(lr=0.1, root=tmp_path),
        "optimizer": {"state": {0: torch.zeros(3)}},
    }  # fmt: skip
    torch.save(checkpoint, tmp_path / "a.pth.tar")
    found = opened(tmp_path / "a.pth.tar")
    same(found, network())
    assert found.metadata == {"format": "pytorch", "key": key}


def test_the_average_is_preferred_and_its_key_is_told(opened: Open, tmp_path: Path) -> None:
    average = {name: tensor + 1 for name, tensor in network().items()}
    torch.save({"state_dict": network(), "state_dict_ema": average}, tmp_path / "a.pth")
    found = opened(tmp_path / "a.pth")
    same(found, average)
    assert found.metadata["key"] == "state_dict_ema"


@pytest.mark.parametrize("ema", [
    {"decay": 0.9998}, {}, {"decay": torch.tensor(0.9998), "updates": torch.tensor(7)},
    {"shadow": {}, "state_dict": {"step": torch.tensor(7)}},
])  # fmt: skip
def test_what_an_average_is_made_with_is_no_network(
    opened: Open, tmp_path: Path, ema: dict[str, Any]
) -> None:
    torch.save({"model": network(), "ema": ema}, tmp_path / "a.pth")
    found = opened(tmp_path / "a.pth")
    same(found, network())
    assert found.metadata["key"] == "model"


def test_the_average_may_lie_beside_what_it_is_made_with(opened: Open, tmp_path: Path) -> None:
    average = {name: tensor + 1 for name, tensor in network().items()}
    ema = {"decay": torch.tensor(0.9998), "state_dict": average}
    torch.save({"model": network(), "ema": ema}, tmp_path / "a.pth")
    found = opened(tmp_path / "a.pth")
    same(found, average)
    assert found.metadata["key"] == "ema.state_dict"


def test_wrappers_come_off_where_every_name_has_them(opened: Open, tmp_path: Path) -> None:
    wrapped = {f"module._orig_mod.module.{name}": value for name, value in network().items()}
    torch.save({"model_ema": {"n_averaged": torch.tensor(3), **wrapped}}, tmp_path / "a.pth")
    found = opened(tmp_path / "a.pth")
    same(found, network())
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    torch.save(mixed, tmp_path / "b.pth")
    assert list(opened(tmp_path / "b.pth").arrays) == ["module.a", "b"]


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_code_in_a_pickle_is_not_run(opened: Open, tmp_path: Path, how: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "a.pth"
    content = {"state_dict": network(), "extra": Hostile(marker)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content["extra"], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(WeightsError, match=r"a\.pth: .*\(\w+\.system\)"):
        opened(path)
    assert not marker.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert marker.exists()  # so the file really was hostile


def test_a_whole_module_is_refused_with_the_way_out(opened: Open, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        opened(tmp_path / "a.pth")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'a.pth'}: ")
    assert "(torch.nn.modules.linear.Linear)" in message
    assert message.endswith("torch.save(model.state_dict(), FILE)")


def scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a date": (lambda path: torch.save({"when": datetime.date(2018, 1, 13)}, path), "for safety;"),
    "a deque": (lambda path: torch.save({"losses": deque([1.0])}, path), "for safety;"),
    "a newer pickle": (
        lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=4)), "or is damaged;"
    ),
    "TorchScript": (scripted, "a TorchScript program, which is not run"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_nobody_is_told_to_switch_the_protection_off(
    opened: Open, tmp_path: Path, what: str
) -> None:
    make, words = REFUSED[what]
    make(tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        opened(tmp_path / "a.pth")
    message = str(caught.value)
    assert words in message and "\n" not in message
    assert message.endswith("torch.save(model.state_dict(), FILE)")
    assert not [word for word in ("weights_only", "torch.load", "Re-running") if word in message]


def quantised() -> Any:
    return torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "expanded": (lambda: {"a": torch.zeros(1).expand(2**20, 2**18)}, "a view larger than what"),
    "overlapping": (lambda: {"a": torch.zeros(5).as_strided((3, 3), (1, 1))}, "a view larger"),
    "sparse": (lambda: {"a": torch.eye(3).to_sparse()}, "sparse or nested"),
    "meta": (lambda: {"a": torch.zeros(2**40, device="meta")}, "has no values"),
    "complex": (lambda: {"a": torch.zeros(3, dtype=torch.complex64)}, "torch.complex64, which"),
    "float8": (lambda: {"a": torch.zeros(3).to(torch.float8_e4m3fn)}, "float8_e4m3fn, which"),
    "no tensors": (lambda: {"epoch": 3}, r"no state dict with tensors \(it has: \['epoch'\]\)"),
    "a list": (lambda: [torch.zeros(3)], r"no state dict with tensors \(it has: list\)"),
    "numbers as names": (lambda: {0: torch.zeros(3)}, "keys that are not names"),
    "shared too often": (
        lambda: dict.fromkeys(map(str, range(100)), torch.zeros(2**20)),
        "declared larger than the file can hold",
    ),
}


@pytest.mark.parametrize("why", WRONG)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_that_are_no_weights_are_refused(opened: Open, tmp_path: Path, why: str) -> None:
    make, message = WRONG[why]
    torch.save(make(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=message) as caught:
        opened(tmp_path / "a.pth")
    assert str(caught.value).startswith(f"{tmp_path / 'a.pth'}: ")


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors_are_refused(opened: Open, tmp_path: Path) -> None:
    torch.save({"a": quantised()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"'a' is quantised; only float"):
        opened(tmp_path / "a.pth")


def test_a_single_flipped_bit_of_a_weight_is_noticed(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(network(), path)
    content = bytearray(path.read_bytes())
    values = network()["stem.0.weight"].numpy().tobytes()
    content[content.index(values) + 100] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # which PyTorch does not notice
    with pytest.raises(WeightsError, match=r"damaged zip file \(Bad CRC-32"):
        opened(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(network(), path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/99", bytes(200_000_000))
    assert path.stat().st_size < 300_000
    with pytest.raises(WeightsError, match="'archive/data/99' is declared larger than the file"):
        opened(path)


def test_a_pickle_that_asks_for_memory_is_refused(opened: Open, tmp_path: Path) -> None:
    """A storage of 2 TB in the pickle of a file of a kilobyte."""
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(77)}, path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            if name.endswith("data.pkl"):  # 77 as the size of the storage and of the tensor
                assert content.count(b"K\x4d") == 2
                content = content.replace(b"K\x4d", b"\x8a\x06" + (2**39).to_bytes(6, "little"))
            new.writestr(name, content)
    with pytest.raises(WeightsError, match=r"a\.pth: damaged"):
        opened(path)
