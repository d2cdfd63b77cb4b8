"""Notes on photos: nearly black ones, and sentences for many."""

import numpy as np
from PIL import Image

from mobilenetv2.images.notes import Note, darkness, summaries


def test_only_a_photo_without_any_light_is_nearly_black() -> None:
    pixels = np.full((300, 200, 3), 15, np.uint8)
    note = darkness(Image.fromarray(pixels))
    assert note == Note("dark", "no level above 15 of 255")
    pixels[211, 17, 1] = 16  # one pixel is enough
    assert darkness(Image.fromarray(pixels)) is None


def test_a_sentence_for_each_kind_counts_and_names_the_first() -> None:
    depth, dark = Note("depth", "12 of 16 bits"), Note("dark", "no level above 3 of 255")
    first, second = summaries([("a.png", depth), ("b.png", dark), ("c.png", depth)])
    assert "2 photos hold" in first and "first: a.png, 12 of 16 bits" in first
    assert second == "1 photo is nearly black (b.png, no level above 3 of 255)"
    assert summaries([]) == []
