"""Process that decodes photos and computes a server's models; it runs until its stdin ends.

The first message names the models; the answer says that all have answered a picture. Each further
message is a group of photos for one model. Messages are those of :mod:`mobilenetv2.worker`.
"""

import contextlib
import io
import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.errors import DataError, ImageError, MobileNetV2Error, OutputError
from mobilenetv2.files import exists, sha256_of_file
from mobilenetv2.formats import BY_ENDING
from mobilenetv2.images.photo import network_picture
from mobilenetv2.model import store
from mobilenetv2.runtime.answers import outputs_of
from mobilenetv2.runtime.loading import load_model, load_network
from mobilenetv2.runtime.predictor import FeatureMap
from mobilenetv2.spec.foreign import AnyConfig, Given
from mobilenetv2.spec.mapping import from_mapping, to_mapping
from mobilenetv2.spec.records import Labels, Preprocessing
from mobilenetv2.text import first_line
from mobilenetv2.worker import receive, send

MODULE = "mobilenetv2.serving.computing.compute"
PHOTOS, PICTURES, EXPLAIN = "photos", "pictures", "explain"
"""Kinds of groups: files of photos, uint8 pictures of the network's size, one photo to explain."""
UNDECODABLE, WRONG, FAILED, CHANGED = 422, 400, 500, 503
"""Statuses of photos without an answer."""
NAME = "the photo"


class ModelChangedError(MobileNetV2Error):
    """Error for a model whose files are not those with which the server started.

    The server has their labels: another model's numbers would get wrong ones.
    """

    def __init__(self, place: Path) -> None:
        super().__init__(
            f"{place}: the model has changed since the server started; restart the server to "
            "answer with it"
        )


def digest_of(place: Path) -> str:
    """Return the SHA-256 of each file of a model folder or an exported file, as one text."""
    if place.is_dir():
        files = [place / store.CONFIG, place / store.WEIGHTS]
    else:
        made = BY_ENDING.get(place.suffix.lower())
        files = [place] if made is None else made.files(place)
    return "-".join(sha256_of_file(path) for path in files if exists(path))


def job_of(models: Sequence[Mapping[str, Any]], fast_decode: bool) -> dict[str, Any]:
    """Return the first message of a process.

    Args:
        models: arguments of :class:`Model` for each, with ``given`` as :func:`given_values` has it.
        fast_decode: True to decode JPEG files no larger than needed.
    """
    return {"models": [dict(model) for model in models], "fast_decode": fast_decode}


def given_values(given: Given) -> dict[str, Any]:
    """Return the options of a user about a foreign file as plain values for JSON."""
    record = given.preprocessing
    return {
        "labels": None if given.labels is None else list(given.labels.names),
        "preprocessing": to_mapping(record) if isinstance(record, Preprocessing) else record,
        "resize": given.resize,
    }


def _given(values: Mapping[str, Any]) -> Given:
    record, labels = values["preprocessing"], values["labels"]
    if isinstance(record, Mapping):
        record = from_mapping(Preprocessing, record, "preprocessing")
    return Given(None if labels is None else Labels(tuple(labels)), record, values["resize"])


class Model:
    """A model with its engine, which computes in the thread that calls it.

    Args:
        name: name of the model in requests.
        place: model folder or exported file.
        runtime: name of the engine; None for the model's default.
        given: options of the user about a foreign file.
        digest: its :func:`digest_of` when the server started.
        fast_decode: True to decode JPEG files no larger than needed.

    Raises:
        MobileNetV2Error: it cannot be loaded, does not answer a picture, or has changed.
    """

    def __init__(
        self, name: str, place: str, runtime: str | None, given: Mapping[str, Any], digest: str,
        fast_decode: bool,
    ) -> None:  # fmt: skip
        self.name, self.place, self.runtime = name, Path(place), runtime
        self.digest = digest
        loaded = load_model(
            place, runtime=runtime, threads=1, given=_given(given), fast_decode=fast_decode
        )
        self._check()
        self.config: AnyConfig = loaded.config
        self.predict = loaded.predict
        self._network: FeatureMap | None = None
        found = self.photos([_sample(self.config.preprocessing)])[0]
        if isinstance(found, Refusal):
            raise MobileNetV2Error(f"{place}: {found.sentence}")

    def _check(self) -> None:
        """Raise if the files that were just read are not those of the server's start."""
        if digest_of(self.place) != self.digest:
            raise ModelChangedError(self.place)

    def photos(self, files: Sequence[bytes]) -> list["NDArray | Refusal"]:
        """Return the outputs of photos, float32 (outputs,) each, or why there are none."""
        pictures: list[NDArray] = []
        found: list[NDArray | Refusal | None] = []
        for data in files:
            try:
                pictures.append(network_picture(data, self.config.preprocessing))
                found.append(None)
            except ImageError as error:
                sentence = str(error).removeprefix("the photo's bytes: ").removeprefix("photo: ")
                found.append(Refusal(UNDECODABLE, sentence))
        answers = iter(self.pictures(np.stack(pictures)) if pictures else ())
        return [next(answers) if one is None else one for one in found]

    def pictures(self, pictures: NDArray) -> list["NDArray | Refusal"]:
        """Return the outputs of pictures, uint8 (n, height, width, channels)."""
        names = [NAME] * len(pictures)
        return [
            Refusal(FAILED, str(one)) if isinstance(one, OutputError) else one
            for one in outputs_of(self.predict, pictures, names)
        ]

    def explain(self, data: bytes, named: str | None) -> tuple[dict[str, Any], bytes]:
        """Return a class with its probability, and its heat map on a photo as a PNG file.

        Args:
            data: the photo's file.
            named: label, WordNet id or index of the class; None for the most probable one.

        Raises:
            ImageError: the photo cannot be read.
            DataError: there is no such class.
            ArtifactError: the model gives no feature map.
            ModelChangedError: its files have changed.
        """
        from mobilenetv2.evaluation.explanation import explain_picture, find_class

        if self._network is None:  # few callers ask for it, and it takes memory
            network = load_network(str(self.place), threads=1)
            self._check()
            self._network = network
        config = self._network.config
        indices = [] if named is None else [find_class(named, config.labels)]
        picture = network_picture(data, config.preprocessing)
        made = explain_picture(self._network, picture, None, None, indices, 1)
        memory = io.BytesIO()
        made.image.save(memory, "PNG")
        one = made.evidence[0]
        values = {"index": one.index, "label": one.label, "probability": one.probability}
        return values, memory.getvalue()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Reason why a photo has no outputs."""

    status: int
    sentence: str


def _sample(record: Preprocessing) -> bytes:
    """Return a JPEG file that every preprocessing takes."""
    height, width = (max(side, 32) for side in record.resize)
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    memory = io.BytesIO()
    Image.fromarray(np.tile(ramp[None, :, None], (height, 1, 3))).save(memory, "JPEG")
    return memory.getvalue()


def answer(model: Model, said: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the answer to a group: JSON with an entry for each photo, and bytes.

    An entry is None for a photo with outputs, whose float32 numbers are in the bytes, one photo
    after the other; otherwise it has a status and a sentence.
    """
    begin = time.perf_counter()
    if said["kind"] == EXPLAIN:
        entry, made = _explained(model, data, said["options"].get("class"))
        return {"entries": [entry], "seconds": time.perf_counter() - begin}, made
    if said["kind"] == PICTURES:
        shape = (-1, *model.config.size, model.config.preprocessing.channels)
        found = model.pictures(np.frombuffer(data, np.uint8).reshape(shape))
    else:
        found = model.photos(_parts(data, said["sizes"]))
    entries = [
        {"status": one.status, "error": one.sentence} if isinstance(one, Refusal) else None
        for one in found
    ]
    rows = [np.asarray(one, np.float32) for one in found if not isinstance(one, Refusal)]
    made = b"".join(row.tobytes() for row in rows)
    return {"entries": entries, "seconds": time.perf_counter() - begin}, made


def _explained(model: Model, data: bytes, named: str | None) -> tuple[dict[str, Any], bytes]:
    try:
        return model.explain(data, named)
    except ImageError as error:
        sentence = str(error).removeprefix("the photo's bytes: ")
        return {"status": UNDECODABLE, "error": sentence}, b""
    except DataError as error:
        return {"status": WRONG, "error": str(error)}, b""
    except OutputError as error:
        return {"status": FAILED, "error": str(error)}, b""
    except ModelChangedError as error:
        return {"status": CHANGED, "error": str(error)}, b""
    except MobileNetV2Error as error:  # it has no feature map
        return {"status": WRONG, "error": str(error)}, b""


def _parts(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    ends = np.cumsum([0, *sizes]).tolist()
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Load the models of the first message, then answer groups until the requests end."""
    first = receive(requests)
    if first is None:
        return
    job = first[0]
    models: dict[str, Model] = {}
    try:
        for values in job["models"]:
            models[values["name"]] = Model(**values, fast_decode=job["fast_decode"])
    except MobileNetV2Error as error:
        send(replies, {"error": str(error), "kind": type(error).__name__}, b"")
        return
    send(replies, {"ready": True}, b"")
    while found := receive(requests):
        said, data = found
        try:
            reply, made = answer(models[said["model"]], said, data)
        except Exception as error:  # a library's; the others of the server go on
            entry = {"status": FAILED, "error": f"{said['model']}: {first_line(error)[:300]}"}
            reply, made = {"entries": [entry] * max(1, len(said["sizes"])), "seconds": 0.0}, b""
        send(replies, reply | {"id": said["id"]}, made)


def main(run: Callable[[IO[bytes], IO[bytes]], None] = serve) -> None:
    """Serve on stdin and stdout; what libraries print goes to stderr or nowhere."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server ends it, when it is done
        signal.signal(number, signal.SIG_IGN)
    replies, requests = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    with contextlib.suppress(BrokenPipeError):  # the server is gone
        run(requests, replies)


if __name__ == "__main__":
    main()
