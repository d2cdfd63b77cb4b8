import base64
import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.evaluation.report.page import Explainer, beside, gallery, images, overlays
from mobilenetv2.evaluation.report.result import Answer, Result
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import ModelConfig


def opened(address: str) -> NDArray:
    start, _, text = address.partition(",")
    assert start == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_each_photo_is_shown_as_the_network_saw_it_with_what_was_answered(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    result = make_result()
    mistakes = result.most_confident_errors(4)
    page = parse(gallery(result, mistakes, None))
    images = page.of("img")
    assert len(images) == len(page.of("figure")) == 4 and page.of("div", "single")
    for image, mistake in zip(images, mistakes, strict=True):
        photo = result.split.photos[mistake.photo]
        seen = preprocess(result.split.image(photo), result.config.preprocessing)
        np.testing.assert_array_equal(opened(image["src"]), seen)  # so small: no JPEG
    first, names = mistakes[0], result.config.labels.names
    caption = page.text("figcaption", "b")
    assert caption.startswith(f"answered {names[first.answer]} {first.probability:.0%}")
    assert f"is {names[first.truth[0]]} {first.of_truth:.0%}" in caption
    assert page.of("span", "file")[0]["title"] == result.split.photos[first.photo].name


def test_right_answers_say_how_sure_they_are(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    result = make_result()
    (answer,) = result.least_sure(1)
    assert f"{answer.probability:.0%} sure" in parse(gallery(result, [answer], None)).text()


@pytest.fixture
def quadrants() -> Explainer:
    """A map of 2 x 2 for each picture: class 0 speaks out of the first quadrant, 1 the last."""

    def maps(shown: NDArray) -> NDArray:
        assert shown.dtype == np.uint8 and shown.ndim == 4 and len(shown) <= 8
        one = np.zeros((2, 2, 2), np.float32)
        one[0, 0, 0] = one[1, 1, 1] = 1
        return np.repeat(one[None], len(shown), 0)

    return Explainer(maps, lambda map_, index: np.eye(2)[index])


def test_what_speaks_for_the_answer_glows(quadrants: Explainer) -> None:
    shown = [np.full((64, 64, 3), 90, np.uint8)] * 11  # more than one batch
    found = overlays(shown, [0, 1] * 5 + [0], quadrants)
    assert len(found) == 11
    first, last = found[0].astype(int), found[1].astype(int)
    assert first.shape == (64, 64, 3) and found[0].dtype == np.uint8
    assert np.abs(first[:8, :8] - last[:8, :8]).sum(2).mean() > 40
    assert np.abs(first - last[::-1, ::-1]).mean() < 3  # class 1 is class 0 turned round
    for class_, glow in zip([0, 1] * 5 + [0], found, strict=True):
        np.testing.assert_array_equal(glow, found[class_])


def test_with_an_explainer_there_are_two_pictures_of_each_photo(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    result = make_result()
    explainer = Explainer(
        lambda shown: np.ones((len(shown), 2, 2, 4)), lambda map_, index: np.ones(4)
    )
    page = parse(gallery(result, result.most_confident_errors(3), explainer))
    assert len(page.of("img")) == 6 and page.of("div", "pairs")
    assert sum("heat map" in image["alt"] for image in page.of("img")) == 3


def test_grey_pictures_are_shown_too(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    result = make_result()
    assert isinstance(result.config, ModelConfig)
    seen = dataclasses.replace(result.config.preprocessing, mean=(120.0,), std=(50.0,))
    spec = result.config.spec.replace(input_channels=1)
    config = dataclasses.replace(result.config, spec=spec, preprocessing=seen)
    result = dataclasses.replace(result, config=config)
    answers = result.most_confident_errors(2)
    assert all(picture.shape[2] == 1 for picture in images(result, answers))
    shown = opened(parse(gallery(result, answers, None)).of("img")[0]["src"])
    assert np.abs(shown[..., 0] - shown[..., 2]).max() <= 2


def test_a_picture_beside_what_speaks_for_its_answer(quadrants: Explainer) -> None:
    shown = [np.full((64, 48, 3), level, np.uint8) for level in (10, 200)]
    for picture, pair, glow in zip(
        shown, beside(shown, [0, 1], quadrants), overlays(shown, [0, 1], quadrants), strict=True
    ):
        np.testing.assert_array_equal(pair[:, :48], picture)
        np.testing.assert_array_equal(pair[:, -48:], glow)
        assert (pair[:, 48:-48] == 255).all() and pair.shape[1] > 96
    assert beside([shown[0][..., :1]], [0], quadrants)[0].shape[2] == 3


def test_mistakes_among_several_classes_say_what_was_missed_and_what_was_not_there(
    make_result: Callable[..., Result], parse: Callable[[str], Any]
) -> None:
    result, names = make_result(outputs="sigmoid", several=True), ("ball", "box", "triangle")
    missed = Answer(0, (0, 1), 1, 0.03, math.nan, False)
    extra = Answer(7, (), 2, 0.9, math.nan, False)
    page = parse(gallery(result, [missed, extra], None))
    caption = page.text("figcaption", "b")
    assert f"missed {names[1]} 3%is {names[0]} and {names[1]}" in caption
    assert f"answered {names[2]} 90%is of no class" in caption
