"""The model folder: what goes in comes out bit for bit, and everything else is an error."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as serialise

from mobilenetv2.errors import WeightsError
from mobilenetv2.model import store
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing

SPEC = NetworkSpec(width=0.1, size=(33, 40), classes=5, head_channels=24)
CONFIG = ModelConfig(
    SPEC, Preprocessing((33, 40), (40, 48)), Labels(("a", "b", "Stühle", "貓", "background")),
    Origin("net.tflite", "0" * 64, "litert", folded=True), {"validation.top1": 0.1 + 0.2},
)  # fmt: skip
ARRAYS = random_arrays(SPEC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.save(tmp_path / "net", CONFIG, ARRAYS)
    return tmp_path / "net"


def same(left: Arrays, right: Arrays) -> bool:
    return list(left) == list(right) and all(
        left[name].dtype == right[name].dtype and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


def test_the_same_weights_are_the_same_bytes(folder: Path) -> None:
    saved = set()
    for _ in range(20):
        store.save(folder, CONFIG, ARRAYS)
        saved.add(b"".join(path.read_bytes() for path in sorted(folder.iterdir())))
    assert len(saved) == 1


def write(folder: Path, arrays: Arrays) -> None:
    (folder / store.WEIGHTS).write_bytes(serialise(arrays, {"format_version": "1"}))


def test_a_saved_network_comes_back_bit_for_bit(folder: Path) -> None:
    config, arrays = store.load(folder)
    assert config == CONFIG == store.load_config(folder)
    assert same(arrays, ARRAYS)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [store.CONFIG, store.WEIGHTS, store.CARD]
    )
    assert (folder / store.CARD).read_text("utf-8").startswith("---\n")


def test_float16_is_stored_in_half_the_bytes_and_comes_back_as_the_rounded_numbers(
    folder: Path,
) -> None:
    size = (folder / store.WEIGHTS).stat().st_size
    store.save(folder, CONFIG, ARRAYS, "float16")
    saved = sum(2 * array.size for array in ARRAYS.values())
    assert abs(size - (folder / store.WEIGHTS).stat().st_size - saved) < 2000  # header lengths
    rounded = {name: array.astype("f2").astype("f4") for name, array in ARRAYS.items()}
    assert same(store.load(folder)[1], rounded)
    assert not same(rounded, ARRAYS)


def test_arrays_of_any_float_type_and_memory_order_are_saved(folder: Path) -> None:
    strange = {name: np.asfortranarray(array.astype("f8")) for name, array in ARRAYS.items()}
    store.save(folder, CONFIG, strange)
    assert same(store.load(folder)[1], ARRAYS)


def missing(arrays: Arrays) -> None:
    del arrays["head.conv.weight"]


def reshaped(arrays: Arrays) -> None:
    arrays["classifier.weight"] = np.ascontiguousarray(arrays["classifier.weight"].T)


def surplus(arrays: Arrays) -> None:
    arrays["stem.bn.num_batches_tracked"] = np.zeros(1, np.float32)


def not_finite(arrays: Arrays) -> None:
    arrays["stem.bn.shift"] = np.full(8, np.nan, np.float32)


def negative(arrays: Arrays) -> None:
    arrays["stem.bn.variance"] = np.full(8, -1, np.float32)


WRONG = {
    missing: r"1 missing \(first: head\.conv\.weight\)",
    reshaped: r"first: classifier\.weight, expected \[5, 24\], found \[24, 5\]",
    surplus: r"1 unexpected \(first: stem\.bn\.num_batches_tracked\)",
    not_finite: r"stem\.bn\.shift has values that are not finite",
    negative: r"stem\.bn\.variance has a variance below 0",
}


@pytest.mark.parametrize(("change", "message"), WRONG.items())
def test_arrays_that_are_no_network_are_neither_read_nor_written(
    change: Callable[[Arrays], None], message: str, folder: Path
) -> None:
    arrays = dict(ARRAYS)
    change(arrays)
    with pytest.raises(WeightsError, match=f"^{folder}: .*{message}"):
        store.save(folder, CONFIG, arrays)
    assert same(store.load(folder)[1], ARRAYS)  # the old one is still there
    write(folder, arrays)
    with pytest.raises(WeightsError, match=f"^{folder / store.WEIGHTS}: .*{message}"):
        store.load(folder)


def test_when_saving_fails_halfway_the_old_network_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes | str) -> None:
        if path.name == store.CARD:
            raise OSError(28, "No space left on device", str(path))
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    monkeypatch.setattr(store, "write_atomically", full)
    other = random_arrays(SPEC, seed=1)
    with pytest.raises(OSError, match="No space left"):
        store.save(folder, CONFIG, other)
    with pytest.raises(OSError, match="No space left"):
        store.save(folder.with_name("new"), CONFIG, other)
    assert same(store.load(folder)[1], ARRAYS)
    assert [path.name for path in folder.parent.iterdir()] == ["net"]
    monkeypatch.undo()
    store.save(folder, CONFIG, other)
    assert same(store.load(folder)[1], other)


def test_half_precision_that_overflows_is_not_written(folder: Path) -> None:
    large = {**ARRAYS, "classifier.bias": np.full(5, 1e6, np.float32)}
    store.save(folder, CONFIG, large)
    with np.errstate(over="ignore"), pytest.raises(WeightsError, match=r"classifier\.bias has"):
        store.save(folder, CONFIG, large, "float16")
    assert same(store.load(folder)[1], large)
