"""The record of a machine, and memory: a process's own peak, whatever its parent had."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mobilenetv2 import machine

TEXT = """\
processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu avx2 avx512f avx512_vnni sse

processor\t: 1
model name\t: another
flags\t\t: fpu
"""


def test_the_first_processor_counts() -> None:
    fields = machine.read_fields(TEXT)
    assert fields["model name"] == "AMD EPYC" and "avx512_vnni" in fields["flags"].split()
    assert machine.read_fields("") == {}


def test_the_description_is_plain_and_complete() -> None:
    found = machine.describe()
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] >= found["cores_usable"] >= 1 and found["memory_bytes"] > 0
    assert set(found["flags"]) <= set(machine.FLAGS)
    assert found["processor"] and found["python"].startswith("3.") and found["system"]


def test_the_sentence_names_flags_only_where_there_are_some() -> None:
    known = {"processor": "X", "flags": ["avx2", "avx512f"], "cores_usable": 2, "python": "3.11.7"}
    assert machine.sentence(known) == "X (avx2, avx512f), 2 cores, Python 3.11.7"
    assert machine.sentence({**known, "flags": []}) == "X, 2 cores, Python 3.11.7"


def test_a_busy_machine_is_told() -> None:
    quiet = {"load_average": 0.3, "cores_usable": 2}
    assert machine.warning(quiet) is None
    assert machine.warning({**quiet, "load_average": None}) is None
    assert "load 3 of 2 cores" in str(machine.warning({**quiet, "load_average": 3.0}))


MEGABYTE = 1024**2


def test_the_peak_stays_when_the_memory_is_given_back() -> None:
    before = machine.peak_memory()
    taken = np.ones(before // 8 + 20 * MEGABYTE)  # more than ever before
    after = machine.peak_memory()
    assert after >= before + 100 * MEGABYTE
    del taken
    assert machine.peak_memory() >= after - MEGABYTE  # the kernel counts in parcels of some pages


def test_a_child_does_not_begin_with_its_parents_peak() -> None:
    taken = np.ones(40 * MEGABYTE)
    code = "from mobilenetv2 import machine; print(machine.peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert taken.nbytes > 300 * MEGABYTE > 150 * MEGABYTE > int(child.stdout) > MEGABYTE


def test_a_runtime_that_has_a_process_of_its_own_is_counted() -> None:
    code = "taken = bytearray(b'x' * 200 * 1024**2); print('ready', flush=True); input()"
    before = machine.peak_memory()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        assert machine.peak_memory() >= before + 200 * MEGABYTE
    assert machine.peak_memory() < before + 100 * MEGABYTE


def test_the_machine_has_more_than_is_free() -> None:
    total, available = machine.total_memory(), machine.available_memory()
    assert total is not None and available is not None and total > available > 0


def test_processes_of_torchrun_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    cores = machine.workers()
    for processes, share in ((1, cores), (2, max(1, cores // 2)), (10_000, 1), ("x", cores)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert machine.workers() == share
