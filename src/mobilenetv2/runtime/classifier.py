"""From photos to names, in Python: ``mn.Classifier("shoes")("photo.jpg").label``."""

from collections.abc import Iterator
from os import PathLike, fspath
from typing import Any, overload

from mobilenetv2.data.photos import collect
from mobilenetv2.hub.catalogue import EMBEDDED
from mobilenetv2.images.photo import Photo, is_folder
from mobilenetv2.runtime.answers import Answer as Answer
from mobilenetv2.runtime.answers import Unreadable as Unreadable
from mobilenetv2.runtime.loading import load_model
from mobilenetv2.runtime.prediction import answers
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import counted

Several = list[Any] | tuple[Any, ...] | Iterator[Any]
"""Several photos, each a :data:`images.photo.Photo` or a folder."""


class Classifier:
    """A model that names what is on photos. No training framework is needed.

    A call with one photo gives an :class:`Answer`; with several photos or a folder it gives a list,
    in the order of :func:`runtime.prediction.predict`. Arrays and Pillow images of exactly the
    network's own size are taken as they are, without resizing and cropping.

    Args:
        model: a model folder, an exported file, a catalogue name, or ``hf://OWNER/NAME``; the
            default is the embedded model of CIFAR-10's ten classes.
        runtime: what computes: 'onnxruntime', 'openvino', 'litert', 'ncnn', 'mnn' or 'torch'; None
            is ONNX Runtime, or what runs such an exported file, or PyTorch for another device.
        device: 'cpu', or a device of PyTorch such as 'cuda' or 'mps'.
        threads: of the runtime; None leaves it to the runtime.
        flips: answer each photo and its mirror image, and take the mean: surer, twice the time.

    Raises:
        WeightsError, ArtifactError, SpecError: the model cannot be had, read or run.
        MissingExtra: what computes is not installed.

    Example:
        >>> import mobilenetv2 as mn
        >>> classify = mn.Classifier()
        >>> classify
        Classifier('embedded', 10 classes, 32x32, onnxruntime)
        >>> answer = classify(photo)
        >>> answer.label in classify.config.labels.names
        True
        >>> [round(guess.probability, 3) for guess in answer.top(3)]
        [0...]
        >>> len(classify(photos))
        24
    """

    def __init__(
        self,
        model: str | PathLike[str] = EMBEDDED,
        *,
        runtime: str | None = None,
        device: str = "cpu",
        threads: int | None = None,
        flips: bool = False,
    ) -> None:
        self._name = fspath(model)
        self._loaded = load_model(
            model, runtime=runtime, device=device, threads=threads, flips=flips
        )

    @property
    def config(self) -> ModelConfig:
        """The model's network, preprocessing, labels, origin and metrics."""
        return self._loaded.config

    # A folder's answers are a list, too, which no type says of a path: [folder] is typed as one.
    @overload
    def __call__(self, photos: Photo) -> Answer: ...

    @overload
    def __call__(self, photos: Several) -> list[Answer | Unreadable]: ...

    def __call__(self, photos: Photo | Several) -> Answer | list[Answer | Unreadable]:
        """Return one answer for one photo, a list for several photos or a folder.

        Among several, a photo that cannot be read gets an :class:`Unreadable`.

        Args:
            photos: a path, a file's bytes, a Pillow image, an array uint8 (height, width, 3); a
                list of them; or a folder, which is searched at any depth.

        Raises:
            ImageError: the one photo cannot be read.
            DataError: a name that is not there, or a folder without photos.
        """
        if isinstance(photos, list | tuple | Iterator) or is_folder(photos):
            return list(answers(self._loaded, collect(photos)))
        (answer,) = answers(self._loaded, [photos])
        if isinstance(answer, Unreadable):
            raise answer.error
        return answer

    def __repr__(self) -> str:
        height, width = self.config.spec.size
        classes = counted(self.config.spec.classes, "class")
        return f"Classifier({self._name!r}, {classes}, {height}x{width}, {self._loaded.runtime})"
