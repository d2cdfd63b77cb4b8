"""What several rooms' tests share: photos of coloured shapes, a tiny model, a tiny finished run."""

import io
import os
import shutil
import socket
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, get_args

import hypothesis
import numpy as np
import public_data
import pytest
from PIL import Image, ImageDraw

# Before torch comes in, here and in every process started from here: tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests that import ONNX Runtime by themselves leave nothing in the developer's folders, either.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Graphs and trials of hundreds of test models are nothing to keep in the developer's cache folder.
os.environ.setdefault("MOBILENETV2_KEEP", "0")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--passed``, by which CI runs a test once although it has two environments."""
    parser.addoption(
        "--passed", type=Path, metavar="FILE",
        help="leave out the tests that FILE names, and add the names of those that pass",
    )  # fmt: skip


class Passed:
    """Tests that passed, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = set(path.read_text("utf-8").splitlines()) if path.is_file() else set[str]()
        self.found: list[str] = []

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        left_out = [item for item in items if item.nodeid in self.before]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.nodeid not in self.before]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.found.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput"):
            names = sorted({*self.before, *self.found})
            self.path.write_text("".join(f"{name}\n" for name in names), "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Let JAX keep what it compiles in one folder for all processes of this run."""
    if path := config.getoption("passed"):
        config.pluginmanager.register(Passed(path))
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # else a process of a run that set it
        folder = tempfile.mkdtemp(prefix="jax-compiled-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


# No absolute times: a busy machine is not a defect.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

SHAPES = {"ball": (220, 40, 40), "box": (40, 200, 40), "triangle": (40, 60, 220)}


def draw(path: Path, shape: str, seed: int) -> None:
    """A shape of its own colour somewhere on a noisy background, 40 x 36 pixels."""
    random = np.random.default_rng([seed, len(shape)])
    image = Image.fromarray(random.integers(90, 170, (36, 40, 3), np.uint8))
    pen, (x, y) = ImageDraw.Draw(image), random.integers(2, 16, 2).tolist()
    if shape == "ball":
        pen.ellipse((x, y, x + 18, y + 18), fill=SHAPES[shape])
    elif shape == "box":
        pen.rectangle((x, y, x + 18, y + 18), fill=SHAPES[shape])
    else:
        pen.polygon([(x, y + 18), (x + 18, y + 18), (x + 9, y)], fill=SHAPES[shape])
    image.save(path)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches beyond this machine: every other name is as unknown as it is offline."""
    resolve = socket.getaddrinfo

    def guarded(host: str | bytes | None, *rest: Any, **options: Any) -> Any:
        if host not in (None, "", "localhost", "127.0.0.1", "::1"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


OF_READERS = Path(__file__).parent / "checkpoints" / "containers"
"""Tests of the processes themselves."""


@pytest.fixture(scope="session")
def readers() -> Iterator[dict[str, Any]]:
    """A process for each library; :func:`read_container` would import PyTorch for each file."""
    from mobilenetv2.checkpoints.containers.reader import Library, LibraryProcess

    with ExitStack() as stack:
        yield {name: stack.enter_context(LibraryProcess(name)) for name in get_args(Library)}


@pytest.fixture(autouse=True)
def kept_readers(
    request: pytest.FixtureRequest, readers: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are read by processes that stay, but in the tests of these processes."""
    if OF_READERS not in request.path.parents:
        kept = {library: nullcontext(process) for library, process in readers.items()}
        path = "mobilenetv2.checkpoints.containers.reader.LibraryProcess"
        monkeypatch.setattr(path, kept.__getitem__)


@pytest.fixture(scope="session")
def photo_folder() -> Callable[[Path, int], Path]:
    """Fills a folder with class folders of ``count`` different photos each, PNG and JPEG."""

    def fill(folder: Path, count: int) -> Path:
        for shape in SHAPES:
            (folder / shape).mkdir(parents=True)
            for index in range(count):
                suffix = "jpg" if index % 2 else "png"
                draw(folder / shape / f"{index:02}.{suffix}", shape, index)
        return folder

    return fill


@pytest.fixture(scope="session")
def png() -> Callable[[int], bytes]:
    """A small PNG file by its number: different numbers, different pictures."""

    def make(number: int) -> bytes:
        levels = np.random.default_rng(number).integers(0, 256, (6, 5, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "PNG")
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Mapping[str, bytes]], Path]:
    """Writes files as a new 'folder', 'zip' or 'tar'; a name that ends in '/' is a folder."""

    def make(kind: str, files: Mapping[str, bytes]) -> Path:
        place = tmp_path_factory.mktemp("source") / {"folder": "photos"}.get(kind, f"photos.{kind}")
        if kind == "folder":
            place.mkdir()
            for name, data in files.items():
                path = place / name
                (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
                if not name.endswith("/"):
                    path.write_bytes(data)
        elif kind == "zip":
            with zipfile.ZipFile(place, "w") as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
        else:
            with tarfile.TarFile(place, "w") as tar:
                for name, data in files.items():
                    member = tarfile.TarInfo(name)
                    member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        return place

    return make


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Options of ``train`` for a tiny network from scratch."""
    changes = ("network=small", "width=0.1", "size=32", "batch_size=4", "learning_rate=0.02")
    return ("--weights", "none", *(word for change in changes for word in ("--set", change)))


@pytest.fixture(scope="session")
def photos(
    tmp_path_factory: pytest.TempPathFactory, photo_folder: Callable[[Path, int], Path]
) -> Path:
    """Three classes of 12 photos, no splits. Only to be read."""
    return photo_folder(tmp_path_factory.mktemp("photos") / "shapes", 12)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, photos: Path, quick: tuple[str, ...]) -> Path:
    """The run folder of an epoch on ``photos``. Only to be read."""
    from mobilenetv2.cli.main import main

    run = tmp_path_factory.mktemp("runs") / "shapes"
    assert main(["train", str(photos), "--output", str(run), "--epochs", "1", *quick]) == 0
    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A model folder with random weights, whose answers differ from photo to photo.

    Its classes have no alphabetical order, a synonym, another case, and ids. Only to be read.
    """
    from mobilenetv2.data.dataset import open_dataset
    from mobilenetv2.editions import torch as edition
    from mobilenetv2.editions.torch.network import predictor
    from mobilenetv2.evaluation.predictions import predict_split
    from mobilenetv2.model import store
    from mobilenetv2.model.arrays import random_arrays
    from mobilenetv2.spec.published import published
    from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

    spec = published("small", width=0.1, classes=3)
    labels = Labels(("triangle", "Ball", "box, crate"), ("n03", "n01", "n02"))
    config = ModelConfig(spec, Preprocessing.default(spec), labels)
    arrays = random_arrays(spec)
    network = edition.MobileNetV2(config)
    edition.load(network, arrays)
    split = open_dataset(photos).splits["all"]
    features, _ = predict_split(predictor(network, outputs="features"), split, config.preprocessing)
    # Random features hardly vary around their means: standardised, they tell photos apart.
    weight = arrays["classifier.weight"] / np.maximum(features.std(0), 1e-2)
    arrays |= {"classifier.weight": weight, "classifier.bias": -weight @ features.mean(0)}
    folder = tmp_path_factory.mktemp("models") / "random"
    store.save(folder, config, arrays)
    return folder


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def the_error(err: str) -> str:
    """The message of the one error line, the last but for the lines of a tensor table."""
    assert "Traceback" not in err
    lines = err.splitlines()
    errors = [line for line in lines if line.startswith("mobilenetv2: error: ")]
    assert len(errors) == 1, err
    after = lines[lines.index(errors[0]) + 1 :]
    assert all(line.startswith(("- ", "+ ", "! ")) for line in after), err
    return errors[0].removeprefix("mobilenetv2: error: ")


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused; its message. The test's folder is as it was before."""
    from mobilenetv2.cli.main import main

    def run(*arguments: str | Path) -> str:
        before = tree(tmp_path)
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert (status, out) == (2, ""), err
        assert tree(tmp_path) == before
        return the_error(err)

    return run


@pytest.fixture(scope="session")
def shared_case() -> Callable[[str], Path]:
    """A script of ``../shared/cases``, which makes what people hold; without it tests skip."""

    def locate(name: str) -> Path:
        path = Path(__file__).parents[2] / "shared" / "cases" / name
        if not path.is_file():
            pytest.skip(f"{path} is not there (it lies beside the project where it is developed)")
        return path

    return locate


@pytest.fixture(scope="session")
def public_folder() -> Callable[[str], Path]:
    """The folder of a public dataset, by its name in the table; what needs it skips without."""

    def locate(name: str) -> Path:
        try:
            return public_data.find(name)
        except public_data.MissingData as missing:
            pytest.skip(str(missing))

    return locate
