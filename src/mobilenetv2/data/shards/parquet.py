"""Writing of Parquet files with photos inside, in the form that Hugging Face's ``datasets`` reads.

The columns are ``image: {bytes, path}`` and ``label``, a number whose names stand in the metadata
of the file (``ClassLabel``). A row group has some 16 MB, so that a reader needs little memory.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mobilenetv2.data.shards.writing import Sample
from mobilenetv2.errors import require

GROUP_BYTES, MOST_IN_GROUP = 16_000_000, 1000
"""Bytes of photos from which a row group is full, and its largest number of photos."""


def features(classes: Sequence[str]) -> str:
    """Return Hugging Face's description of the columns, as JSON."""
    label = {"names": list(classes), "_type": "ClassLabel"}
    return json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": label}}})


def divided(sizes: Sequence[int], most: int) -> list[range]:
    """Return ranges of photos whose bytes are at most ``most`` together, or of single ones."""
    found, start, total = list[range](), 0, 0
    for at, size in enumerate(sizes):
        if at > start and total + size > most:
            found.append(range(start, at))
            start, total = at, 0
        total += size
    return [*found, range(start, len(sizes))] if sizes else found


def write_parquet(
    path: Path, classes: Sequence[str], samples: Iterable[Sample]
) -> Iterator[Sample]:
    """Write samples into a new file, and yield each that is taken.

    Raises:
        MissingExtra: pyarrow is not installed.
        OSError: the file cannot be written.
    """
    arrow, parquet = require("pyarrow"), require("pyarrow.parquet")
    image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    schema = arrow.schema([("image", image), ("label", arrow.int64())])
    schema = schema.with_metadata({"huggingface": features(classes)})
    # Photos are compressed already.
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        group, size = list[Sample](), 0
        for sample in samples:
            group.append(sample)
            size += len(sample.data)
            if size >= GROUP_BYTES or len(group) == MOST_IN_GROUP:
                writer.write_table(_table(arrow, schema, group))
                group, size = [], 0
            yield sample
        if group:
            writer.write_table(_table(arrow, schema, group))


def _table(arrow: Any, schema: Any, samples: Sequence[Sample]) -> Any:
    photos = [{"bytes": one.data, "path": one.name} for one in samples]
    labels = [one.label for one in samples]
    return arrow.Table.from_pydict({"image": photos, "label": labels}, schema=schema)
