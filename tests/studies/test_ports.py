"""Study `ports`: planted mistakes on a small network, and the interval of a paired difference."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.errors import DataError
from mobilenetv2.evaluation.metrics import wilson
from mobilenetv2.hub.models import locate
from mobilenetv2.model import store
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.studies import ports
from mobilenetv2.studies.ports import EMBEDDED, PORTS, PUBLISHED, RIGHT, STUDY, Port, Subject
from mobilenetv2.studies.study import Case, Options, Row, Table

QUICK = Options(quick=True)


def noise(count: int, size: tuple[int, int] = (32, 32)) -> tuple[Image.Image, ...]:
    generator = np.random.default_rng(0)
    return tuple(
        Image.fromarray(generator.integers(0, 256, (*size, 3), np.uint8)) for _ in range(count)
    )


@pytest.fixture(scope="module")
def small() -> Subject:
    """The embedded network with noise, of which it says what it says: no port is wrong of it."""
    config, arrays = store.load(locate(EMBEDDED))
    found = Subject(config, arrays, noise(12), np.zeros(12, int))
    truth = ports.logits_of(found, PORTS[RIGHT]).argmax(1)
    return Subject(config, arrays, found.photos, truth)


@pytest.fixture
def no_cache() -> Iterator[None]:
    yield
    ports.subject.cache_clear()
    ports.right_logits.cache_clear()


def test_a_port_without_a_mistake_changes_nothing(small: Subject) -> None:
    right = ports.logits_of(small, PORTS[RIGHT])
    found = ports.compare(right, ports.logits_of(small, PORTS[RIGHT]), small.truth)
    assert (found["top1"], found["lost"], found["won"], found["same"]) == (1, 0, 0, 1)
    assert found["difference"] == 0
    assert ports.change(found).interval == (0, 0)


def test_momentum_is_for_training_only(small: Subject) -> None:
    right = ports.logits_of(small, PORTS[RIGHT])
    assert (ports.logits_of(small, PORTS["momentum"]) == right).all()
    assert ports.ported(small.config, PORTS["momentum"]).spec != small.config.spec


@pytest.mark.parametrize(
    "name", [name for name, port in PORTS.items() if EMBEDDED in port.networks]
)
def test_every_other_mistake_changes_the_logits(small: Subject, name: str) -> None:
    right = ports.logits_of(small, PORTS[RIGHT])
    changed = np.abs(ports.logits_of(small, PORTS[name]) - right).max()
    assert changed == 0 if name in (RIGHT, "momentum") else changed > 1e-3


def test_epsilon_acts_as_in_the_formula_of_batch_norm(small: Subject) -> None:
    """The wrong epsilon is the right one with a larger variance."""
    arrays = {
        name: array + np.float32(1e-3 - 1e-5) if name.endswith(".bn.variance") else array
        for name, array in small.arrays.items()
    }
    wider = Subject(small.config, arrays, small.photos, small.truth)
    expected = ports.logits_of(wider, PORTS[RIGHT])
    found = ports.logits_of(small, PORTS["epsilon"])
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_blue_first_is_the_mirrored_order_of_channels(small: Subject) -> None:
    turned = tuple(Image.fromarray(np.asarray(photo)[..., ::-1]) for photo in small.photos)
    expected = ports.logits_of(
        Subject(small.config, small.arrays, turned, small.truth), PORTS[RIGHT]
    )
    assert (ports.logits_of(small, PORTS["BGR"]) == expected).all()


def test_an_offset_of_the_classes_loses_what_was_right() -> None:
    right = np.eye(6)[[0, 1, 2, 3]]
    found = ports.compare(right, right, np.array([0, 1, 2, 5]), offset=1)
    assert found["top1"] == 0
    assert found["same"] == 0
    assert (found["lost"], found["won"]) == (3, 0)
    assert found["difference"] == 0


def test_the_measures_of_known_answers() -> None:
    right, wrong = np.eye(8)[[0, 1, 2, 3]], np.eye(8)[[0, 2, 2, 4]]
    found = ports.compare(right, 3 * wrong, np.array([0, 1, 5, 4]))
    assert found["top1"] == 0.5  # the first, and the last
    assert (found["lost"], found["won"], found["same"]) == (1, 1, 0.5)
    assert found["difference"] == 3
    assert found["largest"] == 1


def test_a_resize_without_antialiasing_picks_four_pixels() -> None:
    stripes = np.zeros((90, 90, 3), np.uint8)
    stripes[:, ::3] = 255  # a third of each line is white
    photo = Image.fromarray(stripes)
    sampled = np.asarray(ports.resize_without_antialiasing(photo, 30))
    assert sampled.shape == (30, 30, 3)
    assert (sampled == 0).all()  # every sample is the middle one of three columns, which is black
    record = Preprocessing(size=(30, 30), resize=(30, 30))
    smooth = ports.picture(photo, record, PORTS[RIGHT])
    assert np.abs(smooth[:, 2:-2].astype(float) - 85).max() < 30
    assert (ports.picture(photo, record, Port("", antialias=False)) == sampled).all()


def test_a_resize_without_antialiasing_is_bilinear_where_it_enlarges() -> None:
    photo = noise(1, (20, 30))[0]
    found = np.asarray(ports.resize_without_antialiasing(photo, 40), float)
    expected = np.asarray(photo.resize((60, 40), Image.Resampling.BILINEAR), float)
    assert np.abs(found - expected)[2:-2, 2:-2].max() <= 1


def test_the_paired_interval_is_newcombes() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), 2635-2650, method 10: 0.0569 to 0.3404.
    found = ports.paired_shares(36, 12, 2, 0)
    assert found.interval == pytest.approx((-0.3404, -0.0569), abs=1e-4)


def test_the_paired_interval_of_independent_answers_adds_the_squares_of_wilsons() -> None:
    # Half of 100 photos for each port, and a quarter for both: the correlation is 0.
    found = ports.paired_shares(25, 25, 25, 25)
    low, high = wilson(50, 100)
    assert found.value == 0
    assert found.interval == pytest.approx((-(2**0.5) * (0.5 - low), 2**0.5 * (high - 0.5)))


def test_the_paired_interval_has_a_width_where_no_photo_changed() -> None:
    found = ports.paired_shares(90, 0, 0, 10)
    assert found.value == 0
    assert -0.1 < found.interval[0] < 0 < found.interval[1] < 0.1
    assert ports.paired_shares(0, 10, 0, 0).value == -1


@pytest.mark.parametrize("shares", [(0.8, 0.06, 0.04), (0.5, 0.2, 0.05), (0.9, 0.05, 0.0)])
def test_the_paired_interval_holds_the_true_difference(shares: tuple[float, ...]) -> None:
    generator = np.random.default_rng(1)
    truth, held = shares[2] - shares[1], 0
    for counts in generator.multinomial(100, [*shares, 1 - sum(shares)], 1000):
        low, high = ports.paired_shares(*map(int, counts)).interval
        held += low <= truth <= high
    assert 930 <= held <= 997


def test_the_grid_has_every_mistake_where_it_can_be_made() -> None:
    found = [(factors["network"], factors["mistake"]) for factors in STUDY.grid(QUICK)]
    assert len(found) == len(set(found))
    assert (PUBLISHED, "epsilon") not in found  # its BatchNorm is folded
    assert (EMBEDDED, "class offset") not in found
    assert {name for _, name in found} == set(PORTS)


def planted(**shares: tuple[float, int, int]) -> Table:
    """A table of 1,000 photos: (top-1, lost, won) by mistake of the embedded network."""
    table = []
    for name, (top1, lost, won) in {"none": (0.9, 0, 0), **shares}.items():
        case = Case({"network": EMBEDDED, "mistake": name})
        changed = float(lost + won > 0)
        values = {
            "photos": 1000, "top1": top1, "top5": 1.0, "lost": lost, "won": won,
            "same": 1 - (lost + won) / 1000, "difference": changed, "largest": 9.0,
        }  # fmt: skip
        table += [Row(case, measure, value) for measure, value in values.items()]
    return Table(table)


def test_a_planted_loss_is_found_and_a_null_one_is_not() -> None:
    found = STUDY.judge(planted(BGR=(0.8, 110, 10), relu=(0.9, 12, 12), momentum=(0.9, 0, 0)))
    verdicts = {one.claim.split(" loses")[0]: one.verdict for one in found}
    assert found[0].claim.startswith("A port with blue first")
    assert verdicts["A port with blue first"] == "held"
    assert verdicts["A port with ReLU instead of ReLU6"] == "cannot be told"
    assert verdicts["A port with another momentum of BatchNorm"] == "did not hold"
    assert found[0].estimate == pytest.approx(-10)
    assert "90.0% became 80.0%" in found[0].found


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    STUDY.draw(planted(BGR=(0.8, 110, 10)), tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > 500


def test_a_missing_dataset_is_named(tmp_path: Path, no_cache: None) -> None:
    options = Options(quick=True, data=tmp_path)
    with pytest.raises(DataError, match="published"):
        STUDY.measure(Case({"network": PUBLISHED, "mistake": RIGHT}), options)


@pytest.mark.slow
def test_the_published_checkpoint_without_its_class_offset_is_always_wrong(
    public_folder: Callable[[str], Path], no_cache: None
) -> None:
    public_folder("published")
    options = Options(quick=True, data=public_folder("imagenet-samples").parent)
    right, wrong = (
        STUDY.measure(Case({"network": PUBLISHED, "mistake": name}), options).values
        for name in (RIGHT, "class offset")
    )
    assert right["top1"] > 0.8
    assert wrong["top1"] < 0.1
    assert (wrong["same"], wrong["difference"]) == (0, 0)
