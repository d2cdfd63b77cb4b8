"""Native code's stderr is lost inside, and there again afterwards, whatever happens."""

import os
import subprocess
import sys

import pytest

from mobilenetv2.runtime.quiet import STDERR, quiet


def test_what_native_code_writes_inside_is_lost(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(STDERR, b"before ")
    with quiet():
        os.write(STDERR, b"inside ")
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError
    os.write(STDERR, b"after")
    assert capfd.readouterr().err == "before after"


def test_a_process_without_stderr_goes_on() -> None:
    code = (
        "import os; os.close(2)\n"
        "from mobilenetv2.runtime.quiet import quiet\n"
        "with quiet(): print('inside')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "inside\n"
