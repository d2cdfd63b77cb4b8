"""ExecuTorch's tests, in processes of their own: after other runtimes in one process it aborts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ALONE = Path(__file__).with_name("alone_executorch.py")
SUITES = (ALONE.name, "test_contract.py", "test_heads.py")


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_executorch_in_a_process_of_its_own(suite: str) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed (extra: export)")
    words = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-o",
        f"python_files={ALONE.name} test_*.py",
    ]
    # Variables of xdist would make the inner run take itself for a worker.
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    variables["MOBILENETV2_TEST_FORMAT"] = "executorch"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(ALONE.with_name(suite))],
        capture_output=True, text=True, env=variables, cwd=ALONE.parents[2], timeout=900,
    )  # fmt: skip
    assert run.returncode == 0 and " passed" in run.stdout, run.stdout + run.stderr
