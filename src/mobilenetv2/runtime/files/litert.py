"""A LiteRT file that was exported here, float or quantised."""

import io
import zipfile
from pathlib import Path

from mobilenetv2.checkpoints.containers import litert
from mobilenetv2.checkpoints.graphs.litert import LARGEST_ENTRY
from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.graph import LOGITS
from mobilenetv2.graph.litert import CONFIG
from mobilenetv2.model import seal
from mobilenetv2.runtime.artifact import config_inside, contents
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.spec.records import ModelConfig


def read(path: Path) -> Artifact:
    """The graph and the config in the archive behind it.

    Raises:
        WeightsError: not a LiteRT file, or damaged.
        ArtifactError: somebody else's file, or one that was changed.
    """
    data = contents(path)
    graph = litert.parse_litert(data, path)
    config = config_inside(_embedded(data, path), path)
    seal.check(data, str(path))
    _require_fit(graph, config, path)
    return Artifact(config, "litert", data, str(path))


def _embedded(data: bytes, path: Path) -> str | None:
    """The text of our entry in the archive; None where there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entry = archive.getinfo(CONFIG)
            # Ours are stored: there is nothing to inflate.
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > LARGEST_ENTRY:
                raise ArtifactError(f"{path}: the config inside it is not as it was written")
            return archive.read(entry).decode("utf-8")
    except KeyError:
        return None
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        if not zipfile.is_zipfile(io.BytesIO(data)):
            return None
        raise ArtifactError(f"{path}: the archive behind its graph is damaged ({error})") from None


def _require_fit(graph: litert.Graph, config: ModelConfig, path: Path) -> None:
    """Raise unless the graph takes the pictures, and gives the classes, that the config says."""
    spec = config.spec
    given = [list(graph.tensors[at].shape) for at in graph.inputs]
    ends = {graph.tensors[at].name: list(graph.tensors[at].shape) for at in graph.outputs}
    wanted = [1, *spec.size, spec.input_channels]
    if given != [wanted] or ends.get(LOGITS) != [1, spec.logits]:
        raise ArtifactError(
            f"{path}: the config inside it describes another network: it takes pictures of "
            f"{spec.size[0]} x {spec.size[1]} x {spec.input_channels} and gives {spec.logits} "
            f"logits, the graph takes {given} and gives {ends}"
        )
