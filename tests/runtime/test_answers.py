"""What an answer says of itself: attributes, JSON, the notebook's table."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.errors import ImageError
from mobilenetv2.runtime.answers import Answer, Features, Guess, Unreadable
from mobilenetv2.spec.records import Labels

LABELS = Labels(("hat", "<b>shoes</b>", "t-shirt", "a", "b", "c", "d"))
VALUES = np.array([0.1, 0.6, 0.2, 0.04, 0.03, 0.02, 0.01])


def test_the_best_class_and_the_top() -> None:
    answer = Answer(VALUES, LABELS, photo=Path("x/a.jpg"))
    assert (answer.index, answer.label, answer.probability) == (1, "<b>shoes</b>", 0.6)
    assert answer.top(2) == [Guess(1, "<b>shoes</b>", 0.6), Guess(2, "t-shirt", 0.2)]
    assert len(answer.top()) == 5 and len(answer.top(99)) == 7
    assert answer.top(0) == answer.top(-1) == []
    assert answer.error is None and answer.photo == Path("x/a.jpg")
    assert repr(answer) == "Answer(x/a.jpg: <b>shoes</b> 60.0%, t-shirt 20.0%, hat 10.0%)"
    assert repr(Answer(VALUES, LABELS)).startswith("Answer(<b>shoes</b> 60.0%")


def test_any_number_of_classes_is_named_where_outputs_are_sigmoid() -> None:
    values = np.array([0.9, 0.2, 0.6, 0.1, 0.1, 0.1, 0.1])
    answer = Answer(values, LABELS, "sigmoid")
    assert [guess.label for guess in answer.named()] == ["hat", "t-shirt"]
    assert [guess.label for guess in answer.named(1)] == ["hat"]
    assert len(answer.top()) == 5
    assert Answer(values / 10, LABELS, "sigmoid").named() == []
    assert [guess.index for guess in Answer(values, LABELS).named()] == [0, 2, 1, 3, 4]


def test_json_is_the_line_of_the_command() -> None:
    found = json.loads(json.dumps(Answer(VALUES, LABELS, photo=Path("a.jpg")).to_dict(1)))
    assert found == {
        "image": "a.jpg",
        "predictions": [{"index": 1, "label": "<b>shoes</b>", "probability": 0.6}],
    }
    assert Answer(VALUES, LABELS).to_dict()["image"] is None
    features = Features(np.array([0.5, 2], np.float32), Path("a.jpg"))
    assert features.to_dict() == {"image": "a.jpg", "features": [0.5, 2.0]}
    assert features.error is None and repr(features) == "Features(a.jpg: 2 numbers)"


def test_an_unreadable_photo_has_the_attributes_of_an_answer_and_the_error() -> None:
    answer = Unreadable(ImageError("a.jpg: not a picture"), Path("a.jpg"))
    assert answer.label is None and answer.index is None and math.isnan(answer.probability)
    assert answer.top() == answer.top(3) == answer.named() == [] and len(answer.probabilities) == 0
    assert isinstance(answer.error, ImageError) and answer.photo == Path("a.jpg")
    assert answer.to_dict() == {"image": "a.jpg", "error": "a.jpg: not a picture"}
    assert repr(answer) == "Unreadable(a.jpg: not a picture)"
    names = {name for name in vars(Answer) if not name.startswith("_")} - {"labels", "outputs"}
    assert names <= {name for name in vars(Unreadable) if not name.startswith("_")}


def test_a_notebook_gets_a_table_in_which_foreign_text_is_escaped() -> None:
    page = Answer(VALUES, LABELS, photo=Path("<i>.jpg"))._repr_html_()
    assert "&lt;b&gt;shoes&lt;/b&gt;" in page and "<caption>&lt;i&gt;.jpg</caption>" in page
    assert "<b>" not in page and "<i>" not in page
    assert page.count("<tr>") == 5 and "width:60.0%" in page
    assert "&lt;i&gt;" in Unreadable(ImageError("<i>: not a picture"))._repr_html_()


def test_where_the_network_gives_no_numbers_the_answer_still_shows() -> None:
    answer = Answer(np.full(7, math.nan), LABELS)
    assert "hat -" in repr(answer) and answer._repr_html_().count("width:0.0%") == 5
    assert math.isnan(answer.probability)


@pytest.mark.parametrize("count", [1, 3])
def test_equal_probabilities_come_in_the_classes_order(count: int) -> None:
    assert [g.index for g in Answer(np.full(7, 1 / 7), LABELS).top(count)] == [0, 1, 2][:count]
