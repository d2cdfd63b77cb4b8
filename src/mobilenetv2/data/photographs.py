"""Two built-in photographs, for a look at what a network answers where none are given.

scikit-learn carries them: a Chinese temple and a flower, 427 x 640 pixels (CC BY 2.0).
"""

from PIL import Image

from mobilenetv2.errors import require


def photographs() -> list[Image.Image]:
    """The photographs, RGB.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    images = require("sklearn.datasets").load_sample_images().images
    return [Image.fromarray(image) for image in images]
