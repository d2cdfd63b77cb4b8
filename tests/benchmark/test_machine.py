"""What is written down of a machine."""

import json

from mobilenetv2.benchmark import machine

TEXT = """\
processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu avx2 avx512f avx512_vnni sse

processor\t: 1
model name\t: another
flags\t\t: fpu
"""


def test_the_first_processor_counts() -> None:
    fields = machine.processor(TEXT)
    assert fields["model name"] == "AMD EPYC" and "avx512_vnni" in fields["flags"].split()
    assert machine.processor("") == {}


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
