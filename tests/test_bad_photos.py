"""Photos that cannot be read, through the command: named, before anything is written."""

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.cli.main import main

Refused = Callable[..., str]


def bomb() -> bytes:
    """The header of a PNG of 20,000 x 20,000 pixels; its data would unpack to 1.2 GB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def bad_photo(kind: str, folder: Path) -> tuple[Path, str]:
    """(a file that cannot be read, how its error goes on after its name)."""
    path = folder / f"bad.{'png' if kind in ('bomb', 'dot') else 'jpg'}"
    if kind == "bomb":
        path.write_bytes(bomb())
        return path, "more pixels than the limit of 150,000,000"
    if kind == "dot":
        Image.new("RGB", (1, 1)).save(path)
        return path, "1 x 1 pixels are too few; the smallest side must be 4 or more"
    if kind == "text":
        path.write_text("To whom it may concern")
        return path, "not a picture, or a format that is not read"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-800])
    return path, "damaged or truncated picture"


KINDS = ("text", "truncated", "dot", "bomb")


@pytest.mark.parametrize("kind", KINDS)
def test_an_unreadable_photo_over_the_limit_is_named_before_anything_is_trained_or_measured(
    kind: str, photos: Path, model: Path, quick: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    path, reason = bad_photo(kind, data / "box")
    for command in (
        ["train", data, "--output", tmp_path / "run", *quick],
        ["evaluate", data, "--model", model],
    ):
        message = refused(*command)
        assert "1 of 37 photos cannot be read, more than 1%; mend or remove: " in message
        assert f"{path}: {reason}" in message


@pytest.mark.parametrize("kind", KINDS)
def test_predict_says_what_is_wrong_with_a_photo_and_goes_on(
    kind: str, photos: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, reason = bad_photo(kind, tmp_path)
    good = photos / "ball" / "00.png"
    assert main(["predict", str(path), str(good), "--model", str(model), "--json"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert f'"error": "{path}: {reason}' in first
    assert f'{{"image": "{good}", "predictions": [' in second
