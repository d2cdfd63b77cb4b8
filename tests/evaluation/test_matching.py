import pytest

from mobilenetv2.errors import DataError
from mobilenetv2.evaluation.matching import index_note, match
from mobilenetv2.spec.records import Labels

FOOD = Labels(("Hot_Dog", "ice-cream, icecream", "crème brûlée", "Straße, road", "class 4"))
SLIM = Labels.imagenet("first")


@pytest.mark.parametrize(
    ("folder", "index"),
    [
        ("Hot_Dog", 0), ("hot dog", 0), ("HOT-DOG", 0), ("hot_-  dog", 0), (" Hot Dog ", 0),
        ("\uff28ot dog", 0),
        ("ice cream", 1), ("IceCream", 1), ("ice-cream, icecream", 1), ("Ice_Cream,_icecream", 1),
        ("Crème Brûlée", 2), ("cre\u0300me bru\u0302le\u0301e", 2), ("CRÈME-BRÛLÉE", 2),
        ("STRASSE", 3), ("Road", 3), ("Class_4", 4),
    ],
)  # fmt: skip
def test_a_folder_is_its_label_whatever_the_case_signs_and_spelling(
    folder: str, index: int
) -> None:
    assert match((folder,), FOOD, "place") == (index,)


def test_folders_may_come_in_any_order_and_need_not_be_all() -> None:
    assert match(("road", "hot dog", "ice cream"), FOOD, "place") == (3, 0, 1)
    names = tuple(name.upper() for name in FOOD.names)
    assert match(names[::-1], FOOD, "place") == (4, 3, 2, 1, 0)


def test_a_label_itself_goes_before_another_labels_synonym() -> None:
    labels = Labels(("boat, ship", "ship"))
    assert match(("ship", "boat"), labels, "place") == (1, 0)


def test_wordnet_ids_are_imagenets_outputs_moved_by_a_background_class_before_them() -> None:
    folders = ("n02123045", "n01440764", "n15075141")
    assert match(folders, Labels.imagenet(), "place") == (281, 0, 999)
    assert match(folders, SLIM, "place") == (282, 1, 1000)
    assert match(folders, Labels.imagenet("last"), "place") == (281, 0, 999)
    assert [SLIM.wordnet[index] for index in match(folders, SLIM, "place")] == list(folders)


def test_every_class_of_imagenet_is_found_by_its_wordnet_id() -> None:
    plain = Labels.imagenet()
    folders = tuple(str(id_) for id_ in plain.wordnet)
    assert match(folders, plain, "place") == tuple(range(1000))
    assert match(folders, SLIM, "place") == tuple(range(1, 1001))


def test_imagenets_labels_match_by_name() -> None:
    assert match(("tench", "Great_White_Shark"), SLIM, "place") == (1, 3)
    assert match(("tench", "Great_White_Shark"), Labels.imagenet(), "place") == (0, 2)


def test_a_name_of_two_classes_is_an_error_and_capitals_tell_some_apart() -> None:
    for folder in ("crane", "Maillot", "CARDIGAN"):
        with pytest.raises(DataError, match=f"place: two classes .*'{folder}'"):
            match(("tench", folder), SLIM, "place")
    assert match(("Cardigan", "cardigan"), Labels.imagenet(), "place") == (264, 474)
    assert match(("n02012849", "n03126707"), Labels.imagenet(), "place") == (134, 517)


def test_a_number_is_the_output_of_that_index() -> None:
    assert match(("3", "0", "2"), FOOD, "place") == (3, 0, 2)
    digits = Labels(tuple("9876543210"))
    assert match(("0", "9"), digits, "place") == (9, 0)  # labels go first


@pytest.mark.parametrize("which", ["first", "last"])
def test_a_background_class_is_never_matched_by_accident(which: str) -> None:
    labels = Labels.imagenet("first" if which == "first" else "last")
    assert labels.background is not None
    for folder in (str(labels.background), "None", "none", "", "null", "n00000000"):
        with pytest.raises(DataError, match="match no class"):
            match((folder, "5"), labels, "place")
    every = (*map(str, range(1001)),)
    others = tuple(folder for folder in every if folder != str(labels.background))
    assert match(others, labels, "place") == tuple(map(int, others))
    assert match(("background", "tench"), labels, "place")[0] == labels.background  # by name it is


def test_what_matches_nothing_is_named_and_counted() -> None:
    with pytest.raises(DataError) as caught:
        match(("hot dog", "sushi", "ramen"), FOOD, "my photos")
    message = str(caught.value)
    assert message.startswith("my photos: 2 of 3 ") and "'sushi', 'ramen'" in message
    assert all(repr(name) in message for name in FOOD.names)


def test_of_many_that_match_nothing_a_few_are_named_by_the_way_that_fits_best() -> None:
    folders = ("n01440764", "n01443537", *(f"n9999999{i}" for i in range(7)))
    with pytest.raises(DataError, match=r"7 of 9 class .*'n99999994' \.\.\.; the .* \.\.\.$"):
        match(folders, SLIM, "place")
    with pytest.raises(DataError, match=r"1 of 3 class folders .*: '7';"):
        match(("0", "1", "7"), FOOD, "place")


def test_no_way_is_mixed_with_another() -> None:
    with pytest.raises(DataError, match=r"1 of 2 class folders .*: 'n01443537'"):
        match(("tench", "n01443537"), SLIM, "place")


def test_two_folders_of_one_class_are_named() -> None:
    with pytest.raises(DataError, match=r"^place: .*'Hot dog' and 'hot_dog' .*'Hot_Dog'; join"):
        match(("road", "Hot dog", "hot_dog"), FOOD, "place")
    with pytest.raises(DataError, match="'ice cream' and 'icecream'"):
        match(("ice cream", "icecream"), FOOD, "place")


def test_folders_of_numbers_are_noted_unless_they_are_labels() -> None:
    assert index_note(("0", "1"), Labels(("0", "1"))) is None
    assert index_note(("cat", "1"), Labels(("cat", "1"))) is None
    angles = Labels(("0", "180", "270"))  # one of them is the name of a folder, and not its class
    assert index_note(("0", "180"), angles) is None
    assert "0 as '0', 1 as '180' and 2 as '270'" in str(index_note(("0", "1", "2"), angles))
    assert "0 as 'cat' and 1 as 'dog'" in str(index_note(("0", "1"), Labels(("cat", "dog"))))
