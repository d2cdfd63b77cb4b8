"""Reading of a foreign file's facts, by its format."""

from pathlib import Path

from mobilenetv2.checkpoints.foreign import Facts
from mobilenetv2.formats import FORMATS


def with_files_beside(data: bytes, path: Path) -> bytes:
    """Return a LiteRT or ONNX file's bytes with the weights that an ONNX file has beside it.

    Args:
        data: the whole file.
        path: the file.

    Raises:
        WeightsError: the file is damaged, or the weights cannot be read or lie elsewhere.
    """
    if path.suffix.lower() != FORMATS["onnx"].ending:
        return data
    from mobilenetv2.checkpoints.foreign.onnx_inside import inlined

    return inlined(data, path)


def read_facts(data: bytes, path: Path) -> Facts:
    """Return the facts of a LiteRT or ONNX file.

    Args:
        data: the whole file.
        path: the file's name, whose ending says the format.

    Raises:
        WeightsError: the file is damaged, or needs another program.
        DialectError: the network takes no picture, or gives no vector.
    """
    if path.suffix.lower() == FORMATS["onnx"].ending:
        from mobilenetv2.checkpoints.foreign.onnx import onnx_facts

        return onnx_facts(data, path)
    from mobilenetv2.checkpoints.foreign.litert import litert_facts

    return litert_facts(data, path)
