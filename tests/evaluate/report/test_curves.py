import re
from collections.abc import Callable
from typing import Any

import pytest

from mobilenetv2.evaluate.report.charts import HEIGHT, WIDTH
from mobilenetv2.evaluate.report.curves import curves


def rows(count: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": float(epoch), "learning_rate": 0.1 / epoch, "train_loss": 2 / epoch,
            "train_top1": 1 - 0.5 / epoch, "selection_loss": 2.2 / epoch,
            "selection_top1": 1 - 0.6 / min(epoch, 5),
        }
        for epoch in range(1, count + 1)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 8, 300])
def test_every_value_is_there_and_inside_the_chart(count: int, parse: Callable[[str], Any]) -> None:
    page = parse(curves(rows(count)))
    dots = page.of("circle")
    assert len(dots) == 5 * count
    for dot in dots:
        assert 0 <= float(dot["cx"]) <= WIDTH and 0 <= float(dot["cy"]) <= HEIGHT
    assert f"epoch {count}: train {1 - 0.5 / count:.1%}" in page.text("title")
    assert f"epoch {count}: {0.1 / count:.2g}" in page.text("title")
    assert page.text("title").count("was kept") == 3


@pytest.mark.parametrize(
    ("count", "marked"),
    [(1, "1"), (2, "1 2"), (3, "1 2 3"), (8, "2 4 6 8"), (300, "50 100 150 200 250 300")],
)
def test_only_whole_epochs_are_marked(count: int, marked: str, parse: Callable[[str], Any]) -> None:
    page = parse(curves(rows(count)))
    placed = [attributes for tag, attributes in page.elements if tag == "text"]
    texts = [text for tag, text in page.texts if tag == "text"]
    below = [t for t, a in zip(texts, placed, strict=True) if a["text-anchor"] == "middle"]
    assert below == 3 * marked.split()


def test_a_higher_value_is_drawn_higher(parse: Callable[[str], Any]) -> None:
    heights = [float(dot["cy"]) for dot in parse(curves(rows(6))).of("circle", "train")]
    top1, loss = heights[:6], heights[6:]
    assert top1 == sorted(top1, reverse=True) and loss == sorted(loss)


def test_a_loss_that_is_no_number_leaves_a_gap(parse: Callable[[str], Any]) -> None:
    made = rows(5)
    made[2]["train_loss"] = float("nan")
    page = parse(curves(made))
    assert len(page.of("circle")) == 5 * 5 - 1
    assert not re.search("nan|inf", " ".join(path["d"] for path in page.of("path")))


def test_the_best_epoch_is_the_one_that_is_marked(parse: Callable[[str], Any]) -> None:
    made = rows(9)
    made[4]["selection_loss"] = 0.1
    assert parse(curves(made)).text("title").count("epoch 5 was kept") == 3
