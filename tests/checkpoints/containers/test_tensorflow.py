"""TensorFlow checkpoints against its own Saver, old and new, and those that lie."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzz import mutate
from fuzz_files import crc32c, first_block, in_table
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.tensorflow import write_tensorflow
from mobilenetv2.errors import WeightsError

pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra: keras)")
pytestmark = pytest.mark.slow
Open = Callable[[Path], Container]

ARRAYS: dict[str, NDArray] = {
    "MobilenetV2/Conv/weights": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "MobilenetV2/Conv/weights/ExponentialMovingAverage": np.ones((2, 3, 4), "f4"),
    "MobilenetV2/Conv/BatchNorm/gamma": np.linspace(0, 1, 7),
    "MobilenetV2/Conv/half": np.ones(3, "f2"),
    "global_step": np.array(12345, "i8"),
}


def same(found: Container, expected: dict[str, NDArray]) -> None:
    assert found.metadata["format"] == "tensorflow"
    assert list(found.arrays) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)


OLD = {name: array for name, array in ARRAYS.items() if array.dtype != np.float16}
"""What V1 can hold, which TensorFlow can write there and not read."""


def saver(folder: Path, version: str, name: str = "model.ckpt", shards: int = 1) -> Path:
    import tensorflow as tf

    kinds, arrays = tf.compat.v1, OLD if version == "V1" else ARRAYS
    with tf.Graph().as_default(), kinds.Session() as session:
        variables = {
            key: kinds.get_variable(key, initializer=tf.constant(array), use_resource=True)
            for key, array in arrays.items()
        }
        session.run(kinds.global_variables_initializer())
        made = kinds.train.Saver(
            variables, write_version=getattr(kinds.train.SaverDef, version), sharded=shards > 1
        )
        return Path(made.save(session, str(folder / name), write_meta_graph=True))


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_what_tensorflows_saver_writes_is_read(opened: Open, tmp_path: Path, version: str) -> None:
    prefix = saver(tmp_path, version)
    assert prefix.is_file() == (version == "V1")
    same(opened(prefix), OLD if version == "V1" else ARRAYS)
    same(opened(tmp_path), OLD if version == "V1" else ARRAYS)
    (tmp_path / "checkpoint").unlink()
    if version == "V2":
        for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001", "."):
            same(opened(tmp_path / name), ARRAYS)


def test_shards_are_one_checkpoint(opened: Open, tmp_path: Path) -> None:
    same(opened(saver(tmp_path, "V2", shards=2)), ARRAYS)


def test_names_are_never_patterns(opened: Open, tmp_path: Path) -> None:
    same(opened(saver(tmp_path, "V2", "model[1].ckpt-7")), ARRAYS)


def test_a_published_archive_is_read_and_leaves_nothing(opened: Open, tmp_path: Path) -> None:
    saver(tmp_path, "V2")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        for path in sorted(tmp_path.glob("model.ckpt.*")):
            archive.add(path, f"./{path.name}")
    before = sorted(tmp_path.iterdir())
    same(opened(tmp_path / "a.tgz"), ARRAYS)
    assert sorted(tmp_path.iterdir()) == before


def test_text_is_skipped_by_name_and_bfloat16_is_widened(opened: Open, tmp_path: Path) -> None:
    import tensorflow as tf

    values = tf.constant([1.0, -2.5, 3e38], tf.bfloat16)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "m"), tensor_names=["graph", "values"], shape_and_slices=["", ""],
        tensors=[tf.constant(b"text"), values],
    )  # fmt: skip
    found = opened(tmp_path / "m")
    assert found.metadata["skipped"] == ["graph"]
    expected = tf.cast(values, tf.float32).numpy()
    np.testing.assert_array_equal(found.arrays["values"], expected, strict=True)


def test_what_is_written_tensorflow_restores_and_is_always_the_same(
    opened: Open, tmp_path: Path
) -> None:
    import tensorflow as tf

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_tensorflow(ARRAYS, tmp_path / name / "model.ckpt")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"
    )
    assert first == second
    assert sorted(first) == ["model.ckpt.data-00000-of-00001", "model.ckpt.index"]
    prefix = tmp_path / "a" / "model.ckpt"
    same(opened(prefix), ARRAYS)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {
            key: tf.compat.v1.get_variable(key, array.shape, tf.as_dtype(array.dtype))
            for key, array in ARRAYS.items()
        }
        tf.compat.v1.train.Saver(variables).restore(session, str(prefix))
        for key, array in ARRAYS.items():
            np.testing.assert_array_equal(session.run(variables[key]), array, strict=True)


def test_missing_parts_are_named(opened: Open, tmp_path: Path) -> None:
    prefix = saver(tmp_path, "V2")
    (tmp_path / "model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(WeightsError, match=r"index is there, but not model\.ckpt\.data-00000"):
        opened(prefix)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="a folder with 0 TensorFlow checkpoints"):
        opened(tmp_path / "empty")


def test_a_checkpoint_file_never_leads_out_of_its_folder(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    saver(tmp_path / "other", "V2")
    folder = tmp_path / "folder"
    folder.mkdir()
    for place in (f"{tmp_path}/other/model.ckpt", "../other/model.ckpt", ".."):
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "{place}"\n')
        with pytest.raises(WeightsError, match="a folder with 0 TensorFlow checkpoints"):
            opened(folder)


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_a_flipped_bit_is_noticed(opened: Open, tmp_path: Path, part: str) -> None:
    prefix = saver(tmp_path, "V2")
    path = tmp_path / f"model.ckpt.{part}"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        opened(prefix)


def test_a_shape_larger_than_the_data_is_refused_before_it_is_read(
    opened: Open, tmp_path: Path
) -> None:
    prefix = tmp_path / "m"
    write_tensorflow({"a": np.zeros((77, 3), "f4")}, prefix)
    index = prefix.with_name("m.index").read_bytes()
    # TensorShapeProto: a dimension (2) of 2 bytes with the size (1) 77 as a varint.
    block = index[: first_block(index)]
    assert block.count(b"\x12\x02\x08\x4d") == 1
    forged = block.replace(b"\x12\x02\x08\x4d", b"\x12\x02\x08\x7f")
    prefix.with_name("m.index").write_bytes(in_table(index)(forged))
    with pytest.raises(WeightsError, match=r"'a' of shape \[127, 3\] is larger than what its data"):
        opened(prefix)


def test_the_checksum_of_the_forged_table_is_right() -> None:
    """Else the test before would see a checksum, not a shape."""
    assert crc32c(b"123456789") == 0xE3069283  # the check value of RFC 3720's CRC32C


def test_mutated_real_files(opened: Open, tmp_path: Path) -> None:
    prefix = saver(tmp_path, "V2")
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        whole = (tmp_path / name).read_bytes()
        for seed in range(30):
            (tmp_path / name).write_bytes(mutate(whole, seed))
            outcome(opened, prefix)
        (tmp_path / name).write_bytes(whole)
    path = tmp_path / "model.ckpt.index"
    whole = path.read_bytes()
    block, wrap = whole[: first_block(whole)], in_table(whole)
    for seed in range(60):
        path.write_bytes(wrap(mutate(block, seed)))
        outcome(opened, prefix)
    path.write_bytes(whole)
    same(opened(prefix), ARRAYS)


def outcome(opened: Open, path: Path) -> None:
    try:
        assert isinstance(opened(path), Container)
    except WeightsError as error:
        assert str(error).startswith(str(path))
