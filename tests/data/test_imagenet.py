"""ImageNet's official archives: labels of validation photos, nested archives, whole path."""

import importlib.util
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.data.imagenet import (
    DEVKIT,
    TRAIN,
    VALIDATION,
    ImageNetSource,
    classes_of_ids,
    has_imagenet,
    read_devkit,
)
from mobilenetv2.errors import DataError, ImageError, MissingExtra
from mobilenetv2.spec.records import imagenet_classes

pytest.importorskip("scipy", reason="scipy is not installed, which reads the devkit (extra: torch)")
ROOT = Path(__file__).parents[2]
ODD_PNG, ODD_CMYK = "n02105855_2933.JPEG", "n01739381_1309.JPEG"


@cache
def maker() -> ModuleType:
    """The script that writes archives in the official layout."""
    spec = importlib.util.spec_from_file_location("imagenet", ROOT / "benchmarks" / "imagenet.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def photo(split: str, wordnet: str, number: int) -> bytes:
    """A picture of 40 x 40 pixels, another one for each split, class and number."""
    seed = [len(split), int(wordnet[1:]), number]
    colours = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).resize((40, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Archives with two training photos and one validation photo a class, and the latter's ids."""
    folder = tmp_path_factory.mktemp("official")
    return folder, maker().write_archives(folder, photo, 2, 1)


def linked(archives: Path, folder: Path, *without: str) -> Path:
    """A folder of links to the archives but some, to be changed."""
    folder.mkdir()
    for path in archives.iterdir():
        if path.name not in without:
            (folder / path.name).symlink_to(path)
    return folder


def test_the_numbers_of_the_devkit_are_not_the_order_of_the_networks() -> None:
    """The official first lines: 490 is the sea snake, class 65; number 1 is the kit fox, 278."""
    ids, counts = classes_of_ids(maker().meta(maker().ids(), 3), "meta.mat")
    index = imagenet_classes()[1].index
    assert (ids[490], index(ids[490])) == ("n01751748", 65)
    assert (ids[1], index(ids[1])) == ("n02119789", 278)
    assert [ids[number] for number in (361, 171, 822)] == ["n09193705", "n02105855", "n04263257"]
    assert ids == maker().ids() and set(counts.values()) == {3}
    in_their_order = [ids[number] for number in range(1, 1001)]
    assert in_their_order != sorted(in_their_order)


def test_every_validation_photo_has_the_class_of_its_number(
    archives: tuple[Path, list[str]],
) -> None:
    folder, truth = archives
    dataset = open_dataset(folder)
    assert dataset.classes == imagenet_classes()[1]
    assert not dataset.notes
    split = dataset.splits["validation"]
    found = {one.name.rpartition("/")[2]: dataset.classes[one.label] for one in split.photos}
    assert found == {f"ILSVRC2012_val_{n:08}.JPEG": id_ for n, id_ in enumerate(truth, 1)}
    assert truth[:4] == ["n01751748", "n09193705", "n02105855", "n04263257"]
    for one in split.photos[::97]:  # the bytes are those of the class, too
        assert split.source.read(one.name) == photo("validation", one.name.split("/")[1], 0)


def test_every_training_photo_is_read_from_the_archive_in_the_archive(
    archives: tuple[Path, list[str]],
) -> None:
    split = open_dataset(archives[0]).splits["train"]
    assert split.counts() == [2] * 1000
    for one in split.photos[::97]:
        _, wordnet, name = one.name.split("/")
        number = (int(name.partition("_")[2].partition(".")[0]) - 10) // 7
        assert split.classes[one.label] == wordnet
        assert split.source.read(one.name) == photo("train", wordnet, number)
        assert split.source.size(one.name) == len(photo("train", wordnet, number))


@pytest.mark.parametrize(("name", "kind"), [(ODD_PNG, "PNG"), (ODD_CMYK, "CMYK")])
def test_the_odd_photos_are_read(archives: tuple[Path, list[str]], name: str, kind: str) -> None:
    split = open_dataset(archives[0]).splits["train"]
    (one,) = (photo for photo in split.photos if photo.name.endswith(name))
    stored = Image.open(io.BytesIO(split.source.read(one.name)))
    assert kind in (stored.format, stored.mode)
    image = split.image(one)
    assert (image.mode, image.size) == ("RGB", (40, 40))


def test_the_same_is_in_the_shards(archives: tuple[Path, list[str]], tmp_path: Path) -> None:
    made = mn.shard(archives[0], tmp_path / "shards", megabytes=1)
    assert made.classes == imagenet_classes()[1] and made.shards > 1
    before, after = open_dataset(archives[0]), open_dataset(tmp_path / "shards")
    for name, split in before.splits.items():
        assert after.splits[name].photos == split.photos
        for one in split.photos[::211]:
            assert after.splits[name].source.read(one.name) == split.source.read(one.name)


def test_data_info_counts_the_archives(archives: tuple[Path, list[str]]) -> None:
    found = mn.data_info(archives[0])
    assert (found.kind, found.photos, len(found.classes)) == ("archives", 3000, 1000)


def test_one_archive_of_photos_is_enough(archives: tuple[Path, list[str]], tmp_path: Path) -> None:
    train = linked(archives[0], tmp_path / "train", VALIDATION, DEVKIT)
    assert [*open_dataset(train).splits] == ["train"]
    validation = linked(archives[0], tmp_path / "validation", TRAIN)
    assert [*open_dataset(validation).splits] == ["validation"]
    assert not has_imagenet(linked(archives[0], tmp_path / "none", TRAIN, VALIDATION))


def test_names_may_be_passed_over(archives: tuple[Path, list[str]]) -> None:
    found = open_dataset(archives[0], ignore="train/n01440764")
    assert "n01440764" not in {one.name.split("/")[1] for one in found.splits["train"].photos}


def test_the_validation_photos_need_the_devkit(
    archives: tuple[Path, list[str]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=rf"has no labels.*{DEVKIT}"):
        open_dataset(linked(archives[0], tmp_path / "photos", DEVKIT))


def test_without_scipy_it_says_what_to_install(
    archives: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingExtra, match="scipy"):
        open_dataset(archives[0])


def rewritten(path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """Put a changed copy of an archive in the place of the link to it."""
    source = path.resolve()
    path.unlink()
    with tarfile.open(source) as old:
        mode = "w:gz" if path.suffix == ".gz" else "w"
        with tarfile.open(path, mode) as new:  # type: ignore[call-overload]
            for member in old:
                file = old.extractfile(member)
                assert file
                if made := change(member.name, file.read()):
                    member.name, data = made
                    member.size = len(data)
                    new.addfile(member, io.BytesIO(data))
    return path


def test_damaged_and_foreign_archives_are_refused(
    archives: tuple[Path, list[str]], tmp_path: Path
) -> None:
    def refused(
        case: str, name: str, change: Callable[[str, bytes], tuple[str, bytes] | None]
    ) -> str:
        folder = linked(archives[0], tmp_path / case)
        rewritten(folder / name, change)
        with pytest.raises(DataError) as caught:
            ImageNetSource(folder)
        return str(caught.value)

    def without(lost: str) -> Callable[[str, bytes], tuple[str, bytes] | None]:
        return lambda name, data: None if lost in name else (name, data)

    def truth(to: bytes) -> Callable[[str, bytes], tuple[str, bytes]]:
        return lambda name, data: (name, to if "ground_truth" in name else data)

    assert "lacks 'n01440764'" in refused("class", TRAIN, without("n01440764"))
    assert "n09999999" in refused(
        "more", TRAIN, lambda name, data: (name.replace("n01440764", "n09999999"), data)
    )
    assert "999 photos" in refused("photo", VALIDATION, without("00000007"))
    assert "no name such as" in refused(
        "name", VALIDATION, lambda name, data: (name.replace("val_0", "test_0"), data)
    )
    assert "1001" in refused("number", DEVKIT, truth(b"490\n1001\n"))
    assert "no number" in refused("text", DEVKIT, truth(b"sea snake\n"))
    assert "no number" in refused("digits", DEVKIT, truth(b"490\n" + b"1" * 5000))
    assert "numbers 1 to 2" in refused("short", DEVKIT, truth(b"490\n1\n"))
    assert "no meta.mat" in refused("meta", DEVKIT, without("meta.mat"))
    assert "not the devkit's" in refused(
        "matlab", DEVKIT, lambda name, data: (name, b"x" * 300 if "meta" in name else data)
    )


def test_a_truncated_archive_is_refused(archives: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder = linked(archives[0], tmp_path / "cut", TRAIN)
    data = (archives[0] / TRAIN).read_bytes()
    (folder / TRAIN).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"lack|truncated|damaged"):
        ImageNetSource(folder)


def test_an_archive_that_is_cut_off_later_is_named(
    archives: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder = linked(archives[0], tmp_path / "later", TRAIN)
    path = folder / TRAIN
    path.write_bytes((archives[0] / TRAIN).read_bytes())
    source = ImageNetSource(folder)
    last = max(name for name in source.names() if name.startswith("train/n"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ImageError, match="truncated"):
        source.read(last)


def test_another_number_of_photos_than_the_devkit_says_is_noted(
    archives: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder = linked(archives[0], tmp_path / "counts", VALIDATION)
    five = maker().meta(maker().ids(), 5)
    rewritten(folder / DEVKIT, lambda name, data: (name, five if "meta" in name else data))
    (note,) = open_dataset(folder).notes
    assert "1,000 classes" in note and "n01440764" in note
    assert read_devkit(folder / DEVKIT)[1]["n01440764"] == 5


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "processes"), [("imagenet-paper", 1), ("imagenet-modern", 2)])
def test_the_whole_path_runs(
    archives: tuple[Path, list[str]], tmp_path: Path, recipe: str, processes: int
) -> None:
    """Archives to shards, an epoch of the recipe, evaluation; again, and nothing is left to do."""
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    words = [sys.executable, str(ROOT / "examples" / "imagenet.py"), str(archives[0]),
             str(tmp_path), "--recipe", recipe, "--processes", str(processes)]  # fmt: skip
    for change in ("network.width=0.35", "network.size=32", "epochs=1"):
        words += ["--set", change]
    for _ in range(2):
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "n = 1,000" in done.stdout
    assert " data shard " not in done.stderr and " train " not in done.stderr
    found = json.loads((tmp_path / "evaluation.json").read_text("utf-8"))
    assert found["images"] == 1000
    config = json.loads((tmp_path / "run" / "best" / "config.json").read_text("utf-8"))
    assert (*map(tuple, (config["labels"]["names"], config["labels"]["wordnet"])),) == (
        imagenet_classes()
    )
