"""The table of formats: every one has a module, and says what it has not."""

import importlib

import pytest

from mobilenetv2.errors import EXTRAS, ArtifactError
from mobilenetv2.export.format import Options, find, require_honoured
from mobilenetv2.formats import FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_its_module_and_its_packages_an_extra(name: str) -> None:
    made = FORMATS[name]
    assert set(made.packages) - {"onnxruntime"} <= set(EXTRAS)
    module = importlib.import_module(f"mobilenetv2.export.{name}")
    assert callable(module.write) and callable(module.reload)
    assert made.purpose and made.likes and "float32" in made.precisions


def test_an_option_that_a_format_has_not_is_named() -> None:
    with pytest.raises(ArtifactError, match="--format litert has no bfloat16; it has float32, fl"):
        require_honoured(FORMATS["litert"], Options("bfloat16"))
    with pytest.raises(
        ArtifactError, match="--format mnn has no --any-size, which is for onnx, openv"
    ):
        require_honoured(FORMATS["mnn"], Options(any_size=True))
    require_honoured(FORMATS["onnx"], Options("float16", True, 4, False, 15))
    for batch in (0, -1):
        with pytest.raises(ArtifactError, match=f"--batch {batch} must be at least 1"):
            Options(batch=batch)
    with pytest.raises(ArtifactError, match="--format onx: unknown; did you mean 'onnx'"):
        find("onx")
