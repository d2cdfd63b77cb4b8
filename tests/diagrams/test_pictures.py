"""The diagrams of docs/ are what the code draws; this file makes them:

python tests/diagrams/test_pictures.py
"""

from pathlib import Path

import pytest

import mobilenetv2 as mn

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PICTURES = {
    "network.svg": ("mobilenet_v2", None),
    "block-stride-1.svg": ("mobilenet_v2", 2),
    "block-stride-2.svg": ("mobilenet_v2", 1),
    "block-separable.svg": ("mobilenet-v1", 2),
    "block-bottleneck.svg": ("resnet-bottleneck", 1),
}
"""Name of a file -> network and block."""


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_code_draws(name: str) -> None:
    model, block = PICTURES[name]
    assert (IMAGES / name).read_text("utf-8") == str(mn.diagram(model, block=block)), (
        f"docs/images/{name} is old: python tests/diagrams/test_pictures.py"
    )


def test_every_diagram_of_docs_is_made_here() -> None:
    assert {path.name for path in IMAGES.glob("*.svg")} >= PICTURES.keys()
    pages = "".join(path.read_text("utf-8") for path in IMAGES.parent.glob("*.md"))
    for name in PICTURES:
        assert f"(images/{name})" in pages, name


if __name__ == "__main__":
    for name, (model, block) in PICTURES.items():
        mn.diagram(model, block=block, file=IMAGES / name)
