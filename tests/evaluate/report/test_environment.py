import platform

import numpy as np

from mobilenetv2.evaluate.report.environment import environment, processor
from mobilenetv2.version import __version__


def test_versions_are_those_that_run() -> None:
    found = dict(environment())
    assert found["mobilenetv2"] == __version__ and found["numpy"] == np.__version__
    assert found["Python"] == platform.python_version()
    assert all(found.values()) and int(found["cores"]) >= 1


def test_a_processor_has_a_name() -> None:
    text = "processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\n\nmodel name\t: Other\n"
    assert processor(text) == "Fast CPU @ 3 GHz"
    assert processor("") == (platform.processor() or platform.machine())
