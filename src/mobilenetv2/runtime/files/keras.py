"""A ``.keras`` file that was exported here: its arrays and config as data, its graph built anew.

Keras's own reader would run what such a file says; nothing of it is run here.
"""

import io
import zipfile
from pathlib import Path

from mobilenetv2.checkpoints.importer import ImportOptions, import_checkpoint
from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph import onnx
from mobilenetv2.graph.graph import FEATURES
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model import seal
from mobilenetv2.runtime.artifact import config_inside, contents
from mobilenetv2.runtime.engine import Artifact

CONFIG = "mobilenetv2.json"
"""Our entry in the archive; Keras looks at its own only."""
LARGEST_ENTRY = 4 * 1024**2


def read(path: Path) -> Artifact:
    """The network in a form that the default engine runs.

    Raises:
        ArtifactError: somebody else's file, or one that was changed.
        WeightsError: it is damaged.
        MissingExtra: h5py is not installed.
    """
    data = contents(path)
    config = config_inside(_embedded(data, path), path)
    seal.check(data, str(path))
    found, arrays = import_checkpoint(path, ImportOptions(dialect="keras", size=config.spec.size))
    if found.spec.classes != config.spec.classes:
        raise ArtifactError(
            f"{path}: the config inside it describes another network: of {config.spec.classes} "
            f"classes, not {found.spec.classes}"
        )
    return Artifact(
        config, "onnx", onnx.write(lower(config, arrays).with_outputs(FEATURES)), str(path)
    )


def _embedded(data: bytes, path: Path) -> str | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.getinfo(CONFIG).file_size > LARGEST_ENTRY:
                raise ArtifactError(f"{path}: the config inside it is too large")
            return archive.read(CONFIG).decode("utf-8")
    except KeyError:
        return None
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ArtifactError(f"{path}: not a .keras file, or damaged ({error})") from None
