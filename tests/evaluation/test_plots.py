import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.evaluation import plots
from mobilenetv2.evaluation.calibration import Calibration, measure_calibration
from mobilenetv2.evaluation.predictions import Predictions

Draw = Callable[[Path], None]
ROWS = [
    {
        "epoch": float(epoch), "train_loss": 2 / epoch, "train_top1": 1 - 0.5 / epoch,
        "selection_loss": 2.2 / epoch, "selection_top1": 1 - 0.6 / epoch,
    }
    for epoch in range(1, 9)
]  # fmt: skip


def numbered(logits: NDArray, labels: NDArray) -> Predictions:
    return Predictions(logits, labels, tuple(map(str, range(logits.shape[1]))))


def matrix(count: int) -> NDArray:
    random = np.random.default_rng(count)
    return random.integers(0, 4, (count, count)) + np.diag(random.integers(2, 8, count) * count)


def names(count: int) -> list[str]:
    return [f"class number {index}" for index in range(count)]


def recalls(count: int) -> list[tuple[str, float, tuple[float, float]]]:
    return [(name, i / count, (i / count / 2, 1.0)) for i, name in enumerate(names(count))]


def photos(count: int, channels: int = 3) -> list[tuple[NDArray, str]]:
    random = np.random.default_rng(count)
    return [
        (random.integers(0, 256, (24, 24, channels), np.uint8), f"is {i}\nanswered {i + 1}")
        for i in range(count)
    ]


def measured(count: int) -> Calibration:
    random = np.random.default_rng(count)
    return measure_calibration(
        numbered(random.normal(0, 2, (count, 4)), random.integers(0, 4, count))
    )


DRAWN: dict[str, Draw] = {
    "a reliability": lambda path: plots.reliability([("As it is", measured(200))], path),
    "two of them": lambda path: plots.reliability(
        [("Before", measured(1)), ("After temperature 12.50", measured(9))], path
    ),
    "one of no numbers": lambda path: plots.reliability(
        [("As it is", measure_calibration(numbered(np.full((4, 3), np.nan), np.zeros(4, int))))],
        path,
    ),
    "a sheet of pairs": lambda path: plots.contact_sheet(
        [(np.hstack((picture, picture)), text) for picture, text in photos(24)], path, "A title", 3
    ),
    "curves": lambda path: plots.curves(ROWS, path),
    "curves of one epoch": lambda path: plots.curves(ROWS[:1], path),
    "a confusion of 2": lambda path: plots.confusion(matrix(2), names(2), path, "A title"),
    "a confusion of 12": lambda path: plots.confusion(matrix(12), names(12), path, "A title"),
    "long names": lambda path: plots.confusion(matrix(2), ["m" * 90, "W" * 90], path, "x"),
    "the most that are named": lambda path: plots.confusion(matrix(40), names(40), path, "x"),
    "a confusion of 300": lambda path: plots.confusion(matrix(300), names(300), path, "x"),
    "one without photos": lambda path: plots.confusion(np.zeros((3, 3), int), "abc", path, "x"),
    "recalls of 2": lambda path: plots.per_class(recalls(2), path),
    "recalls of 300": lambda path: plots.per_class(recalls(300), path),
    "a recall of nothing": lambda path: plots.per_class(
        [("a", 0.5, (0.2, 0.8)), ("b", float("nan"), (0.0, 1.0))], path
    ),
    "a sheet of 1": lambda path: plots.contact_sheet(photos(1), path, "A title"),
    "a sheet of 24": lambda path: plots.contact_sheet(photos(24), path, "A title"),
    "a grey sheet": lambda path: plots.contact_sheet(photos(7, 1), path, "A title"),
    "strange names": lambda path: plots.confusion(
        matrix(3), ["$_$", "a_b^{c", "\\$%"], path, "runs/$x_$/y: 90%"
    ),
    "strange names of recalls": lambda path: plots.per_class(
        [("$_$", 0.5, (0.2, 0.8)), ("$\\frac$" + "W" * 90, 0.6, (0.2, 0.8))], path
    ),
    "strange captions": lambda path: plots.contact_sheet(
        [(photos(1)[0][0], "is $_$\nnot $^$")], path, "$_$"
    ),
}


@pytest.mark.parametrize("what", DRAWN)
def test_a_picture_opens_is_not_blank_and_of_a_sensible_size(tmp_path: Path, what: str) -> None:
    DRAWN[what](tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert image.format == "PNG"
        levels = np.asarray(image.convert("L"))
    height, width = levels.shape
    assert 100 <= width <= 2000 and 100 <= height <= 2000
    assert 0.005 < (levels < 200).mean() < 0.9  # neither blank nor all dark
    edges = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    assert (edges > 250).mean() > 0.98  # nothing is cut off at the border


def test_the_diagonal_of_a_sound_confusion_is_dark_and_the_rest_is_light(tmp_path: Path) -> None:
    plots.confusion(np.diag([5] * 60), names(60), tmp_path / "x.png", "")
    with Image.open(tmp_path / "x.png") as image:
        levels = np.asarray(image.convert("L")).astype(float)
    dark = np.argwhere((levels > 30) & (levels < 80))  # Blues' darkest, not the black of the frame
    assert len(dark) > 500
    slope, _ = np.polyfit(dark[:, 1], dark[:, 0], 1)
    assert slope == pytest.approx(1, abs=0.05)


def test_a_mistaken_row_is_as_dark_for_a_rare_class_as_for_a_common_one(tmp_path: Path) -> None:
    made = []
    for photos_of_each in ([1, 1], [1000, 1]):
        path = tmp_path / "x.png"
        plots.confusion(np.diag(photos_of_each), ["a", "b"], path, "")
        with Image.open(path) as image:
            levels = np.asarray(image.convert("L"))
        made.append((levels < 80).sum())
    assert made[0] == pytest.approx(made[1], rel=0.1)


def test_of_many_classes_the_worst_are_shown_and_the_very_worst_at_the_top(tmp_path: Path) -> None:
    plots.per_class(recalls(200), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        red, _, blue = np.asarray(image.convert("RGB")).astype(int).transpose(2, 0, 1)
    bars = (blue - red > 60).sum(1)
    lengths = bars[bars > 0]
    assert lengths.max() < 0.25 * red.shape[1]  # the best of the worst 40 has a recall of 0.2
    top, bottom = np.array_split(lengths, 2)
    assert top.max() <= bottom.max() / 1.5


def test_more_classes_make_a_larger_matrix_up_to_a_bound(tmp_path: Path) -> None:
    widths = []
    for count in (3, 20, 100, 400):
        plots.confusion(matrix(count), names(count), tmp_path / f"{count}.png", "")
        with Image.open(tmp_path / f"{count}.png") as image:
            widths.append(image.width)
    assert widths[0] < widths[1] < widths[2] == widths[3]


def test_the_same_figures_give_the_same_file(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        plots.curves(ROWS, tmp_path / name)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_a_picture_is_replaced_in_one_step_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    plots.curves(ROWS[:2], path)
    old = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(OSError, match="No space left"):
            plots.curves(ROWS, path)
    assert path.read_bytes() == old
    plots.curves(ROWS, path)
    assert path.read_bytes() != old
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_that_the_font_lacks_letters_is_said_once_and_no_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plots._say_that_letters_are_missing.cache_clear()
    for names in (("猫", "犬"), ("鳥", "魚")):
        rows = [(name, 0.5, (0.2, 0.8)) for name in names]
        plots.per_class(rows, tmp_path / "x.png")  # a warning would be an error here
        plots.confusion(matrix(2), names, tmp_path / "y.png", names[0])
    with Image.open(tmp_path / "x.png") as image:
        assert image.size[0] > 100
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: the font of the PNG files lacks some letters of the class names")


def test_other_warnings_of_a_drawing_are_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def savefig(*_: object, **__: object) -> None:
        warnings.warn("something else", UserWarning, stacklevel=2)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    with pytest.warns(UserWarning, match="something else"):
        plots.curves(ROWS, tmp_path / "x.png")
    assert capsys.readouterr().err == ""


def test_a_grey_picture_keeps_its_own_levels(tmp_path: Path) -> None:
    pale = np.linspace(100, 140, 24 * 24).reshape(24, 24, 1).astype(np.uint8)
    plots.contact_sheet([(pale, "")], tmp_path / "x.png", "")
    with Image.open(tmp_path / "x.png") as image:
        levels = np.asarray(image.convert("L"))
    assert levels[levels < 250].min() >= 98 and levels[levels < 250].max() <= 142


@pytest.mark.parametrize(("count", "marked"), [(1, [1]), (3, [1, 2, 3])])
def test_only_whole_epochs_are_marked(
    count: int, marked: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: drawn.append(figure))
    plots.curves(ROWS[:count], tmp_path / "x.png")
    for axis in drawn[0].axes:
        low, high = axis.get_xlim()
        assert [tick for tick in axis.get_xticks() if low <= tick <= high] == marked


def test_dots_of_a_reliability_diagram_lie_where_they_are_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: drawn.append(figure))
    made = measured(80)
    plots.reliability([("Before", made), ("After", made)], tmp_path / "x.png")
    full = [row for row in made.bins if row.count]
    assert len(drawn[0].axes) == 2
    for axis, title in zip(drawn[0].axes, ("Before", "After"), strict=True):
        assert axis.get_title("left") == f"{title}: calibration error {made.error:.1%}"
        (dots,) = axis.collections
        places = [(row.confidence, row.accuracy) for row in full]
        np.testing.assert_allclose(dots.get_offsets(), places)
        whiskers = [tuple(line.get_ydata()) for line in axis.lines[1:]]
        assert whiskers == [row.interval for row in full]
