"""A process's own peak, whatever its parent had."""

import subprocess
import sys

import numpy as np

from mobilenetv2.benchmark import memory

MEGABYTE = 1024**2


def test_the_peak_stays_when_the_memory_is_given_back() -> None:
    before = memory.peak()
    taken = np.ones(before // 8 + 20 * MEGABYTE)  # more than ever before
    after = memory.peak()
    assert after >= before + 100 * MEGABYTE
    del taken
    assert memory.peak() >= after - MEGABYTE  # the kernel counts in parcels of some pages


def test_a_child_does_not_begin_with_its_parents_peak() -> None:
    taken = np.ones(40 * MEGABYTE)
    code = "from mobilenetv2.benchmark import memory; print(memory.peak())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert taken.nbytes > 300 * MEGABYTE > 150 * MEGABYTE > int(child.stdout) > MEGABYTE


def test_the_machine_has_more_than_is_free() -> None:
    total, available = memory.total(), memory.available()
    assert total is not None and available is not None and total > available > 0
