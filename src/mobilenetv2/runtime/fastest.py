"""The fastest way to run a model on this machine, found by a short trial and remembered.

``exact`` tries runtimes that compute in float32, whose answers differ by rounding only. ``auto``
also tries bfloat16, where the processor computes in it, and int8 files that ``quantize`` has made
of the model and judged on photos. Every way runs the same photos in turns, as bulk prediction does:
several threads, each with an engine of one thread. What a trial has found is kept in the cache
folder, for this machine, model, and versions of the runtimes.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilenetv2 import __version__, machine
from mobilenetv2.errors import ImageError, MobileNetV2Error
from mobilenetv2.files import open_file, read_start, sha256_of_file, write_atomically
from mobilenetv2.formats import BY_ENDING, RUNTIMES, engines_of
from mobilenetv2.hub.cache import cache_folder, keeps
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.progress import say
from mobilenetv2.runtime.predictor import (
    EnginePredictor,
    Predictor,
    create_engine,
    is_exported,
    load_artifact,
)
from mobilenetv2.spec.records import ModelConfig, Preprocessing
from mobilenetv2.text import percent

Allowed: TypeAlias = Literal["exact", "auto"]
"""Answers that a way may give: those of float32, or of any precision, with a word on it."""
Sample: TypeAlias = Callable[[Preprocessing], NDArray]
"""Function from a preprocessing to photos, uint8 (photos, height, width, channels): none where
there are too few for a trial."""
Item = TypeVar("Item")
FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
SECONDS, ROUNDS, BATCH = 0.25, 2, 2
"""Seconds of each way in a round, number of rounds, and photos of a batch."""
PICTURES = 64
"""Number of photos on which ways are compared."""
CLEARLY = 1.05
"""Ratio to the default way's rate from which on another one is chosen."""
WORTHWHILE = 300
"""Least number of photos for which a trial that is not remembered yet is worth its time."""
EXACT = 1e-3
"""Largest difference of a logit, as a share of the largest one, that is called rounding."""
FOLDER, VERIFIED = "trials", "int8"
"""Folders in the cache: what trials have found, and the int8 files that were made of a model."""
_LARGEST = 256 * 1024


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a model."""

    runtime: str
    precision: str
    path: str
    """Model folder or exported file."""

    @property
    def name(self) -> str:
        """Name for people: 'openvino bfloat16'."""
        return f"{self.runtime} {self.precision}"


@dataclass(frozen=True, slots=True)
class Tried:
    """Result of one way."""

    way: Way
    rate: float = 0.0
    """Photos a second, without reading them; 0 if it does not run."""
    same: float = 1.0
    """Share of the photos with the same top-1 class as in float32."""
    difference: float = 0.0
    """Largest difference of a probability."""
    rounding: bool = True
    """True if the logits differ by float32's rounding only."""
    photos: int = 0
    error: str = ""


def sample_of(
    photos: Iterable[Item], read: Callable[[Item], NDArray], record: Preprocessing
) -> NDArray:
    """Return the first photos for a trial; none where it would take longer than all of them.

    Args:
        photos: the photos.
        read: function that returns one as the network takes it, and raises ImageError.
        record: the network's preprocessing.

    Returns:
        uint8 (photos, height, width, channels).
    """
    first = [*islice(photos, WORTHWHILE)]
    found: list[NDArray] = []
    for photo in first if len(first) == WORTHWHILE else ():
        with suppress(ImageError):
            found.append(read(photo))
        if len(found) == PICTURES:
            break
    return np.stack(found) if found else np.zeros((0, *record.size, record.channels), np.uint8)


def choose(
    place: Path, allowed: Allowed, record: Preprocessing, sample: Sample | None, callers: int,
    anew: bool = False,
) -> tuple[Way, tuple[Tried, ...]]:  # fmt: skip
    """Return the fastest way that is allowed, and what was tried; the first way without photos.

    Args:
        place: model folder or exported file of this package.
        allowed: 'exact' or 'auto'.
        record: preprocessing of the model.
        sample: function that returns photos for a trial; it is called if none is remembered.
        callers: number of threads.
        anew: True to try again what is remembered.
    """
    candidates = ways(place, allowed)
    if len(candidates) == 1:
        return candidates[0], ()
    key = _key(place, allowed, callers, candidates)
    found = None if anew else _remembered(key, candidates)
    if found is None:
        pictures = sample(record) if sample is not None else np.zeros((0,))
        if not len(pictures):
            return candidates[0], ()
        found = try_all(candidates, pictures, callers)
        _remember(key, found)
    able = [one for one in found if one.rate and (one.rounding or allowed == "auto")]
    best = max(able, key=lambda one: one.rate, default=found[0])
    usual = found[0] if best.rate < CLEARLY * found[0].rate else best
    return usual.way, found


def sentence(way: Way, tried: Sequence[Tried]) -> str:
    """Return which way was chosen and why, and by how much its answers differ."""
    if not tried:
        return f"{way.name}"
    rates = {one.way: one.rate for one in tried}
    first = tried[0]
    faster = "" if first.way == way or not first.rate else (
        f", {rates[way] / first.rate:.2f} times as fast as {first.way.name}"
    )  # fmt: skip
    (chosen,) = (one for one in tried if one.way == way)
    if chosen.rounding:
        return f"{way.name}{faster}"
    return (
        f"{way.name}{faster}; {percent(chosen.same)} of {chosen.photos} photos have the same top-1 "
        f"class as in float32, and probabilities differ by up to {chosen.difference:.2g}"
    )


def ways(place: Path, allowed: Allowed) -> list[Way]:
    """Return the ways to run a model that are installed here; the default one is the first.

    Args:
        place: model folder or exported file.
        allowed: 'exact' or 'auto'.
    """
    if is_exported(place):
        made = BY_ENDING[place.suffix.lower()]
        return [Way(name, "as exported", str(place)) for name in _installed(engines_of(made.name))]
    able = _installed([name for name, runtime in RUNTIMES.items() if runtime.builds])
    found = [Way(name, FLOAT32, str(place)) for name in able]
    if allowed == "auto":
        if "openvino" in able:
            from mobilenetv2.runtime.engines.openvino import computes_bfloat16

            if computes_bfloat16():
                found.append(Way("openvino", BFLOAT16, str(place)))
        found += [
            Way(name, INT8, str(path))
            for path in verified(place)
            for name in _installed(engines_of(BY_ENDING[path.suffix.lower()].name))
        ]
    return found


def _installed(names: Sequence[str]) -> list[str]:
    return [name for name in names if not RUNTIMES[name].own.missing()]


def try_all(candidates: Sequence[Way], pictures: NDArray, callers: int) -> tuple[Tried, ...]:
    """Run all ways in turns, and compare their answers with the first one's.

    Args:
        candidates: the ways, the first of which is float32.
        pictures: photos, uint8 (photos, height, width, channels).
        callers: number of threads.
    """
    say(f"trying {len(candidates)} ways to run the model on {len(pictures)} photos")
    started: dict[Way, tuple[ModelConfig, Predictor]] = {}
    failed: dict[Way, str] = {}
    for way in candidates:
        try:
            started[way] = start(way, callers)
        except MobileNetV2Error as error:
            failed[way] = str(error)
    logits, rates = dict[Way, NDArray](), dict.fromkeys(candidates, 0.0)
    with ThreadPoolExecutor(callers) as pool:
        for way, (_, predict) in started.items():
            logits[way] = _answers(predict, pictures, pool)  # the first runs of every thread, too
        for _ in range(ROUNDS):
            for way, (_, predict) in started.items():
                rates[way] = max(rates[way], _rate(predict, pictures, pool))
    reference = logits.get(candidates[0])
    return tuple(
        _compared(way, started[way][0], rates[way], logits[way], reference)
        if way in started else Tried(way, error=failed[way])
        for way in candidates
    )  # fmt: skip


def start(way: Way, callers: int) -> tuple[ModelConfig, Predictor]:
    """Return the config and a predictor that several threads call, each for itself.

    Raises:
        MobileNetV2Error: the runtime cannot run it.
    """
    artifact = load_artifact(Path(way.path), way.runtime)
    precision = BFLOAT16 if way.precision == BFLOAT16 else FLOAT32
    engine = create_engine(artifact, way.runtime, 1, callers, precision)
    return artifact.config, EnginePredictor(engine, artifact.config.preprocessing)


def _answers(predict: Predictor, pictures: NDArray, pool: ThreadPoolExecutor) -> NDArray:
    parts = [pictures[at : at + BATCH] for at in range(0, len(pictures), BATCH)]
    return np.concatenate([*pool.map(predict, parts)])


def _rate(predict: Predictor, pictures: NDArray, pool: ThreadPoolExecutor) -> float:
    """Return the photos a second over at least :data:`SECONDS`."""
    done, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < SECONDS:
        _answers(predict, pictures, pool)
        done += len(pictures)
    return done / seconds


def _compared(
    way: Way, config: ModelConfig, rate: float, logits: NDArray, reference: NDArray | None
) -> Tried:
    if reference is None:
        return Tried(way, rate, photos=len(logits))
    outputs = config.outputs
    found, expected = (probabilities(values, outputs) for values in (logits, reference))
    same = float((found.argmax(-1) == expected.argmax(-1)).mean())
    largest = float(np.abs(reference).max())
    rounding = float(np.abs(logits - reference).max()) <= EXACT * max(largest, 1e-9)
    return Tried(way, rate, same, float(np.abs(found - expected).max()), rounding, len(logits))


def remember_verified(model: Path, made: Path) -> None:
    """Note that an int8 file was made of a model folder and judged, so that it may be tried.

    Args:
        model: the model folder.
        made: the int8 file.
    """
    if not keeps():
        return
    with suppress(OSError):
        note = _note_of(model)
        known = _read(note) or []
        entry = [str(made.absolute()), sha256_of_file(made)]
        others = [one for one in known if isinstance(one, list) and one[:1] != entry[:1]]
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps([*others, entry]))


def verified(model: Path) -> list[Path]:
    """Return the int8 files that were made of a model folder, and that have not changed since."""
    found = []
    with suppress(OSError):
        for one in _read(_note_of(model)) or []:
            if isinstance(one, list) and len(one) == 2:
                path = Path(str(one[0]))
                if path.is_file() and sha256_of_file(path) == one[1]:
                    found.append(path)
    return found


def _note_of(model: Path) -> Path:
    made = sha256()
    for name in ("config.json", "model.safetensors"):
        made.update(sha256_of_file(model / name).encode())
    return cache_folder() / VERIFIED / f"{made.hexdigest()[:40]}.json"


def _key(place: Path, allowed: Allowed, callers: int, candidates: Sequence[Way]) -> str:
    """Return the digest of all that a trial's result depends on."""
    here = machine.describe()
    files = sorted({Path(way.path) for way in candidates} | {place})
    contents = [
        sha256_of_file(one)
        for file in files
        for one in ([file] if file.is_file() else sorted(file.glob("*.[js][sa]*")))
    ]
    packages = sorted({package for way in candidates for package in _packages(way.runtime)})
    parts = [
        __version__, allowed, callers, here["processor"], here["flags"], here["cores_usable"],
        contents, [(package, _version(package)) for package in packages],
        [asdict(way) for way in candidates],
    ]  # fmt: skip
    return sha256(json.dumps(parts).encode()).hexdigest()[:40]


def _packages(runtime: str) -> Sequence[str]:
    return RUNTIMES[runtime].own.packages


def _version(package: str) -> str:
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return ""


def _read(path: Path) -> Any:
    with suppress(OSError, ValueError), open_file(path) as file:
        return json.loads(read_start(file, _LARGEST))
    return None


def _remembered(key: str, candidates: Sequence[Way]) -> tuple[Tried, ...] | None:
    """Return what a trial of the same ways has found; None if there was none."""
    found = _read(cache_folder() / FOLDER / f"{key}.json") if keeps() else None
    try:
        tried = tuple(Tried(Way(**one.pop("way")), **one) for one in found or ())
    except (TypeError, AttributeError, KeyError):
        return None
    return tried if [one.way for one in tried] == [*candidates] else None


def _remember(key: str, found: Sequence[Tried]) -> None:
    if not keeps():
        return
    with suppress(OSError):
        path = cache_folder() / FOLDER / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps([asdict(one) for one in found]))
