"""The fastest runtime and precision for a model on this machine, found by trials and remembered.

``exact`` tries runtimes that compute in float32, whose answers differ by rounding only. ``auto``
also tries bfloat16, where the processor computes in it, and int8 files that ``quantize`` has made
of the model and judged on photos. All candidates compute the same photos in turns, as bulk
prediction does: several threads, each with an engine of one thread. The results are kept in the
cache folder, for this machine, model, and versions of the runtimes.
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
from mobilenetv2.runtime.engines.engine import Output
from mobilenetv2.runtime.lasting import Predictor
from mobilenetv2.runtime.predictor import is_exported, load_any_artifact, start_engine
from mobilenetv2.spec.foreign import NOTHING, AnyConfig, Given
from mobilenetv2.spec.records import Preprocessing
from mobilenetv2.text import percent

Allowed: TypeAlias = Literal["exact", "auto"]
"""Answers that a candidate may give: those of float32, or of any precision, with a word on it."""
Sample: TypeAlias = Callable[[Preprocessing], NDArray]
"""Function from a preprocessing to photos, uint8 (photos, height, width, channels): none where
there are too few for a trial."""
Item = TypeVar("Item")
FLOAT32, BFLOAT16, INT8, AS_EXPORTED = "float32", "bfloat16", "int8", "as exported"
SECONDS, ROUNDS, BATCH = 0.25, 2, 2
"""Seconds of each candidate in a round, number of rounds, and photos of a batch."""
PICTURES = 64
"""Number of photos on which candidates are compared."""
CLEARLY = 1.05
"""Ratio to the rate of the default from which on another candidate is chosen."""
WORTHWHILE = 300
"""Least number of photos for which a trial that is not remembered yet is worth its time."""
EXACT = 1e-4
"""Largest difference of an output, as a share of the largest one, that is called rounding."""
FOLDER, VERIFIED = "trials", "int8"
"""Folders in the cache: what trials have found, and the int8 files that were made of a model."""
_LARGEST = 256 * 1024


@dataclass(frozen=True, slots=True)
class Candidate:
    """Runtime and precision that may compute a model."""

    runtime: str
    precision: str
    path: str
    """Model folder or exported file."""

    @property
    def name(self) -> str:
        """Name for people: 'openvino', 'openvino bfloat16'."""
        own = self.precision in (FLOAT32, AS_EXPORTED)
        return self.runtime if own else f"{self.runtime} {self.precision}"


@dataclass(frozen=True, slots=True)
class Trial:
    """Result of one candidate."""

    candidate: Candidate
    rate: float = 0.0
    """Photos a second, without reading them; 0 if it does not run."""
    same: float = 1.0
    """Share of the photos with the same top-1 class as in float32; 1 for features."""
    difference: float = 0.0
    """Largest difference of a probability; for features, as a share of the largest one."""
    rounding: bool = True
    """True if the outputs differ by float32's rounding only."""
    photos: int = 0
    """Number of photos that were compared."""
    output: Output = "logits"
    """Output that was compared."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Before:
    """Candidate that has answered some of the photos."""

    name: str
    file: str | None = None
    """SHA-256 of its int8 file, if it has one."""

    def is_of(self, candidate: Candidate) -> bool:
        """Return True for this candidate."""
        if candidate.name != self.name:
            return False
        return self.file is None or sha256_of_file(Path(candidate.path)) == self.file


@dataclass(frozen=True, slots=True)
class Asked:
    """A model, and how it is going to be used."""

    place: Path
    """Model folder or exported file."""
    allowed: Allowed
    """Answers that a candidate may give: 'exact' or 'auto'."""
    output: Output = "logits"
    """Output of the predictor."""
    given: Given = NOTHING
    """Options of the user about a file of another program."""
    callers: int = 1
    """Number of threads."""


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
    asked: Asked, record: Preprocessing, sample: Sample | None, before: Before | None = None,
    anew: bool = False, keep: bool = True,
) -> tuple[Candidate, tuple[Trial, ...]]:  # fmt: skip
    """Return the fastest candidate that is allowed, and all trials; the first one without photos.

    Args:
        asked: the model, and how it is used.
        record: preprocessing of the model.
        sample: function that returns photos for a trial; it is called if none is remembered.
        before: candidate that is taken without a trial, if it is there.
        anew: True to try again what is remembered.
        keep: False to remember nothing.
    """
    able = candidates(asked.place, asked.allowed)
    for candidate in able if before is not None else ():
        if before is not None and before.is_of(candidate):
            return candidate, ()
    if len(able) == 1:
        return able[0], ()
    key = _key(asked, able)
    found = None if anew else _remembered(key, able)
    if found is None:
        pictures = sample(record) if sample is not None else np.zeros((0,))
        if not len(pictures):
            return able[0], ()
        found = try_all(able, pictures, asked)
        if keep:
            _remember(key, found)
    right = [one for one in found if one.rate and (one.rounding or asked.allowed == "auto")]
    best = max(right, key=lambda one: one.rate, default=found[0])
    usual = found[0]
    if usual.rate and usual.rounding and best.rate < CLEARLY * usual.rate:
        best = usual
    return best.candidate, found


def sentence(chosen: Candidate, trials: Sequence[Trial]) -> str:
    """Return which candidate was chosen and why, and by how much its answers differ."""
    if not trials:
        return chosen.name
    first = trials[0]
    (own,) = (one for one in trials if one.candidate == chosen)
    faster = "" if first is own or not first.rate else (
        f", {own.rate / first.rate:.2f} times as fast as {first.candidate.name}"
    )  # fmt: skip
    if own.rounding:
        return f"{chosen.name}{faster}"
    if not own.photos:
        return f"{chosen.name}{faster}; no runtime here computes the model in float32 to compare it"
    if own.output == "features":
        return f"{chosen.name}{faster}; features differ by up to {percent(own.difference)}"
    other = f"with {first.candidate.name}" if chosen.precision == AS_EXPORTED else "in float32"
    return (
        f"{chosen.name}{faster}; {percent(own.same)} of {own.photos} photos have the same top-1 "
        f"class as {other}, and probabilities differ by up to {own.difference:.2g}"
    )


def rates(trials: Sequence[Trial]) -> list[str]:
    """Return a line for each trial: its rate, or why it does not run; one line without trials."""
    if not trials:
        return [
            "nothing was tried: a run is resumed, one runtime is installed, or there are fewer "
            f"than {WORTHWHILE} photos"
        ]
    return [
        f"{one.candidate.name}: " + (one.error or f"{one.rate:.0f} photos/s, without reading them")
        for one in trials
    ]


def candidates(place: Path, allowed: Allowed) -> list[Candidate]:
    """Return the candidates that are installed here; the default one is the first.

    Args:
        place: model folder or exported file.
        allowed: 'exact' or 'auto'.
    """
    if is_exported(place):
        known = engines_of(BY_ENDING[place.suffix.lower()].name)
        engines = _installed(known) or known[:1]  # its error says what to install
        return [Candidate(name, AS_EXPORTED, str(place)) for name in engines]
    able = _installed([name for name, runtime in RUNTIMES.items() if runtime.builds])
    found = [Candidate(name, FLOAT32, str(place)) for name in able]
    if allowed == "auto":
        if "openvino" in able:
            from mobilenetv2.runtime.engines.openvino import computes_bfloat16

            if computes_bfloat16():
                found.append(Candidate("openvino", BFLOAT16, str(place)))
        found += [
            Candidate(name, INT8, str(path))
            for path in verified(place)
            for name in _installed(engines_of(BY_ENDING[path.suffix.lower()].name))
        ]
    return found


def _installed(names: Sequence[str]) -> list[str]:
    return [name for name in names if not RUNTIMES[name].own.missing()]


def try_all(able: Sequence[Candidate], pictures: NDArray, asked: Asked) -> tuple[Trial, ...]:
    """Run all candidates in turns, and compare their outputs with those of the first one that runs.

    Args:
        able: the candidates; those that compute in float32 are the first.
        pictures: photos, uint8 (photos, height, width, channels).
        asked: the model, and how it is used.
    """
    say(f"trying {len(able)} runtimes and precisions on {len(pictures)} photos")
    started: dict[Candidate, tuple[AnyConfig, Predictor]] = {}
    failed: dict[Candidate, str] = {}
    outputs, rates = dict[Candidate, NDArray](), dict.fromkeys(able, 0.0)
    with ThreadPoolExecutor(asked.callers) as pool:
        for candidate in able:
            try:
                config, predict = start(candidate, asked)
                # The first runs of every thread, too.
                outputs[candidate] = _outputs(predict, pictures, pool)
                started[candidate] = config, predict
            except MobileNetV2Error as error:
                failed[candidate] = str(error)
        for _ in range(ROUNDS):
            for candidate, (_, predict) in started.items():
                rates[candidate] = max(rates[candidate], _rate(predict, pictures, pool))
    exact = (outputs[one] for one in started if one.precision in (FLOAT32, AS_EXPORTED))
    reference = next(exact, None)
    return tuple(
        _compared(one, started[one][0], rates[one], outputs[one], reference, asked.output)
        if one in started else Trial(one, error=failed[one])
        for one in able
    )  # fmt: skip


def start(candidate: Candidate, asked: Asked) -> tuple[AnyConfig, Predictor]:
    """Return the config and a predictor that several threads call, each for itself.

    Raises:
        MobileNetV2Error: the runtime cannot run it.
    """
    artifact = load_any_artifact(Path(candidate.path), candidate.runtime, asked.given, 1)
    precision = BFLOAT16 if candidate.precision == BFLOAT16 else FLOAT32
    predict = start_engine(
        artifact, candidate.runtime, 1, asked.callers, asked.output, precision
    )  # fmt: skip
    return artifact.config, predict


def _outputs(predict: Predictor, pictures: NDArray, pool: ThreadPoolExecutor) -> NDArray:
    parts = [pictures[at : at + BATCH] for at in range(0, len(pictures), BATCH)]
    return np.concatenate([*pool.map(predict, parts)])


def _rate(predict: Predictor, pictures: NDArray, pool: ThreadPoolExecutor) -> float:
    """Return the photos a second over at least :data:`SECONDS`."""
    done, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < SECONDS:
        _outputs(predict, pictures, pool)
        done += len(pictures)
    return done / seconds


def _compared(
    candidate: Candidate, config: AnyConfig, rate: float, outputs: NDArray,
    reference: NDArray | None, kind: Output,
) -> Trial:  # fmt: skip
    if reference is None:
        return Trial(candidate, rate, rounding=False, output=kind)
    largest = max(float(np.abs(reference).max()), 1e-9)
    apart = float(np.abs(outputs - reference).max()) / largest
    if kind == "features":
        return Trial(candidate, rate, 1.0, apart, apart <= EXACT, len(outputs), kind)
    found, expected = (probabilities(values, config.outputs) for values in (outputs, reference))
    same = float((found.argmax(-1) == expected.argmax(-1)).mean())
    difference = float(np.abs(found - expected).max())
    return Trial(candidate, rate, same, difference, apart <= EXACT, len(outputs))


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


def _key(asked: Asked, able: Sequence[Candidate]) -> str:
    """Return the digest of all that the results of trials depend on."""
    here = machine.describe()
    files = sorted({Path(one.path) for one in able} | {asked.place})
    contents = [
        sha256_of_file(one)
        for file in files
        for one in ([file] if file.is_file() else sorted(file.glob("*.[js][sa]*")))
    ]
    packages = sorted({package for one in able for package in _packages(one.runtime)})
    parts = [
        __version__, asked.allowed, asked.output, repr(asked.given), asked.callers,
        here["processor"], here["flags"], here["cores_usable"], contents,
        [(package, _version(package)) for package in packages], [asdict(one) for one in able],
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


def _remembered(key: str, able: Sequence[Candidate]) -> tuple[Trial, ...] | None:
    """Return the trials of the same candidates; None if there were none."""
    found = _read(cache_folder() / FOLDER / f"{key}.json") if keeps() else None
    try:
        trials = tuple(
            Trial(Candidate(**one.pop("candidate")), **one) for one in found or ()
        )  # fmt: skip
    except (TypeError, AttributeError, KeyError):
        return None
    return trials if [one.candidate for one in trials] == [*able] else None


def _remember(key: str, found: Sequence[Trial]) -> None:
    if not keeps():
        return
    with suppress(OSError):
        path = cache_folder() / FOLDER / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps([asdict(one) for one in found]))
