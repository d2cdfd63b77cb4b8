"""Lists of class names: read, guessed, and held against the outputs."""

import pytest

from mobilenetv2.checkpoints.labels import background_of, read_labels, usual_labels
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.records import Labels


def test_lines_are_names_and_a_background_at_either_end_is_one() -> None:
    assert read_labels(" cat\n\ndog \n") == Labels(("cat", "dog"))
    assert read_labels("Background\ncat").background == 0
    assert read_labels("cat\ndog\nbackground\n").background == 2
    assert read_labels("cat\nbackground\ndog").background is None


@pytest.mark.parametrize("background", [None, "first"])
def test_imagenets_list_is_known_by_most_of_its_names(background: None) -> None:
    table = Labels.imagenet(background)
    names = [name.split(",")[0].upper() for name in table.names]
    assert read_labels("\n".join(names)) == table
    names[100:400] = [f"bird {index}" for index in range(300)]
    assert read_labels("\n".join(names)) == Labels(tuple(names), background=table.background)


def test_what_is_usual_goes_by_the_number_of_outputs() -> None:
    assert usual_labels(1000) == Labels.imagenet()
    assert usual_labels(1001) == Labels.imagenet("first")
    assert usual_labels(3) == Labels.numbered(3)


def test_the_background_is_first_or_last_or_an_error() -> None:
    names = ("a", "b", "c")
    assert background_of(Labels(names), 3) is None
    assert background_of(Labels(names, (), 0), 3) == "first"
    assert background_of(Labels(names, (), 2), 3) == "last"
    assert background_of(Labels(("a",), (), 0), 1) == "first"
    with pytest.raises(DialectError, match="neither first nor last"):
        background_of(Labels(names, (), 1), 3)
    with pytest.raises(DialectError, match="3 labels for 4 outputs"):
        background_of(Labels(names), 4)
