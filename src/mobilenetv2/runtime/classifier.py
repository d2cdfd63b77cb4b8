"""Classifier of photos: ``mn.Classifier("shoes")("photo.jpg").label``."""

from collections.abc import Iterator
from typing import Any, overload

from mobilenetv2.data.passed_over import Ignore
from mobilenetv2.data.photos import CollectedPhotos, collect, is_several
from mobilenetv2.images.photo import Photo
from mobilenetv2.networks.given_model import AnyModel
from mobilenetv2.runtime.answers import Answer as Answer
from mobilenetv2.runtime.answers import Unreadable as Unreadable
from mobilenetv2.runtime.given_options import GivenLabels, GivenPreprocessing, given_options
from mobilenetv2.runtime.loading import load_model
from mobilenetv2.runtime.prediction import answers
from mobilenetv2.spec.foreign import AnyConfig
from mobilenetv2.spec.records import Resize
from mobilenetv2.spec.standard import EMBEDDED
from mobilenetv2.text import counted

Several = list[Any] | tuple[Any, ...] | Iterator[Any]
"""Several photos, each a :data:`images.photo.Photo` or a folder."""


class Classifier:
    """Model that predicts the classes of photos, without a training framework.

    A call with one photo returns an :class:`Answer`. A call with several photos or a folder returns
    a list, in the order of :func:`runtime.prediction.predict`. Arrays and Pillow images of exactly
    the network's input size are not resized or cropped.

    Args:
        model: model folder, exported file, catalogue name, ``hf://OWNER/NAME``, a network of any
            edition, or the run of ``train``. Default: the embedded model of CIFAR-10's ten classes.
        runtime: runtime of the computation: 'onnxruntime', 'openvino', 'litert', 'ncnn', 'mnn' or
            'torch'. Default: ONNX Runtime; for an exported file, the runtime of its format; for
            another device than the CPU, PyTorch.
        device: 'cpu' (default), or a device of PyTorch such as 'cuda' or 'mps'.
        threads: number of threads; default: the runtime's own choice.
        flips: True to average the predictions for each photo and its mirror image, which takes
            twice as long.
        labels: for a .tflite or .onnx file of another program: names of the classes, or the path of
            a file with them. Default: those in the file, or in a file beside it.
        preprocessing: for such a file: a :class:`mobilenetv2.Preprocessing`, the name of a range
            ('0..1', '-1..1', '0..255', 'imagenet') or of a publisher, or the path of a JSON file.
            Default: the file's metadata, or an assumption, which is told on stderr.
        resize: for such a file: 'stretch', 'cover' (central square) or 'none'. Default: the file's
            metadata, else 'stretch'.

    Raises:
        WeightsError, ArtifactError, SpecError: the model cannot be downloaded, read or run.
        MissingExtra: the runtime is not installed.

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
        model: AnyModel = EMBEDDED,
        *,
        runtime: str | None = None,
        device: str = "cpu",
        threads: int | None = None,
        flips: bool = False,
        labels: GivenLabels | None = None,
        preprocessing: GivenPreprocessing | None = None,
        resize: Resize | None = None,
    ) -> None:
        self._loaded = load_model(
            model, runtime=runtime, device=device, threads=threads, flips=flips,
            given=given_options(labels, preprocessing, resize),
        )  # fmt: skip

    @property
    def config(self) -> AnyConfig:
        """Config of the model: network, preprocessing, labels, origin and metrics.

        It is a :class:`spec.foreign.ForeignConfig` for a file of another program, without a network
        and with ``notes`` on what was assumed.
        """
        return self._loaded.config

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the outputs."""
        return self.config.labels.names

    @overload
    def __call__(self, photos: Photo) -> Answer: ...

    @overload
    def __call__(self, photos: Several) -> list[Answer | Unreadable]: ...

    def __call__(self, photos: Photo | Several) -> Answer | list[Answer | Unreadable]:
        """Return an answer for one photo, or a list for several photos or a folder.

        In a list, an :class:`Unreadable` stands for a photo that cannot be read. The type of a path
        does not tell a folder from a photo, so that type checkers take it for a photo: give a list,
        ``classify(["folder"])``, and they know that the result is one, too.

        Args:
            photos: path, bytes of a file, Pillow image, uint8 array (height, width, 3), list of
                these, or folder, which is searched at any depth.

        Raises:
            ImageError: the only photo cannot be read.
            DataError: a path does not exist, or a folder has no photos.
        """
        if isinstance(photos, list | tuple | Iterator) or is_several(photos):
            return list(answers(self._loaded, collect(photos)))
        # A name that is not there is the photo's own error.
        (answer,) = answers(self._loaded, CollectedPhotos([photos], Ignore(())))
        if isinstance(answer, Unreadable):
            raise answer.error
        return answer

    def __repr__(self) -> str:
        height, width = self.config.size
        classes = counted(self.config.classes, "class")
        name, runtime = self._loaded.name, self._loaded.runtime
        return f"Classifier({name!r}, {classes}, {height}x{width}, {runtime})"
