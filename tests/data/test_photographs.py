"""The built-in photographs are real ones, and two."""

import numpy as np

from mobilenetv2.data.photographs import photographs


def test_two_real_photographs() -> None:
    found = photographs()
    assert [(photo.mode, photo.size) for photo in found] == [("RGB", (640, 427))] * 2
    # Not the same, and not flat.
    pixels = [np.asarray(photo, np.float32) for photo in found]
    assert all(picture.std() > 30 for picture in pixels)
    assert np.abs(pixels[0] - pixels[1]).mean() > 20
