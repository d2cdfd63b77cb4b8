"""Records of a network of another program, which is run as it is: its picture and its answers."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from mobilenetv2.errors import SpecError
from mobilenetv2.formats import FORMATS
from mobilenetv2.spec.mapping import check_types, from_mapping, short_repr
from mobilenetv2.spec.network import Outputs, Size
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing, Resize

Layout = Literal["NHWC", "NCHW"]
"""Order of the input's sides: channels last or channels first."""


@dataclass(frozen=True, slots=True)
class ForeignConfig:
    """Everything but the graph of a foreign LiteRT or ONNX file, as a predictor needs it.

    Raises:
        SpecError: the number of labels differs from that of the outputs.
    """

    format: str
    """Name of the file format."""
    preprocessing: Preprocessing
    labels: Labels
    logits: int
    """Number of outputs of the graph."""
    outputs: Outputs = "softmax"
    probabilities: bool = False
    """True if the graph's own outputs are probabilities already."""
    layout: Layout = "NHWC"
    bgr: bool = False
    """True if the graph takes blue before green and red."""
    features: bool = False
    """True if the graph has no classifier, so that its outputs are features."""
    batch: int | None = None
    """Batch size of the graph; None for any."""
    origin: Origin | None = None
    notes: tuple[str, ...] = ()
    """Sentences that say what was assumed of the file, and why."""
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)
        wanted = 2 if self.outputs == "logit" else self.logits
        if len(self.labels) != wanted:
            raise SpecError(f"{len(self.labels)} labels for {wanted} classes")

    def __repr__(self) -> str:
        return short_repr(self, "format", "labels", notes="", metrics="", origin="")

    @property
    def ending(self) -> str:
        """Last suffix of the file's name."""
        return FORMATS[self.format].ending

    @property
    def size(self) -> Size:
        """Height and width of the network's input, in pixels."""
        return self.preprocessing.size

    @property
    def channels(self) -> int:
        """Number of channels of the network's input."""
        return self.preprocessing.channels

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)


AnyConfig: TypeAlias = ModelConfig | ForeignConfig
"""Config of a network that answers: one of ours, or a foreign file's."""


def config_from_mapping(mapping: dict[str, Any], where: str) -> AnyConfig:
    """Build a config of either kind from what ``to_mapping`` made of it.

    Raises:
        SpecError: a key or value does not fit; the message begins with ``where``.
    """
    if "spec" in mapping:
        return ModelConfig.from_mapping(mapping, where)
    return from_mapping(ForeignConfig, mapping, where)


@dataclass(frozen=True, slots=True)
class Given:
    """Options of a user about a foreign file; None leaves it to the file, or to what is usual."""

    labels: Labels | None = None
    preprocessing: Preprocessing | str | None = None
    """Preprocessing, or the name or file of one."""
    resize: Resize | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.labels, self.preprocessing, self.resize))


NOTHING = Given()
