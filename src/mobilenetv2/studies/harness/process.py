"""Process in which cases are measured, one after the other, in one thread.

``python -m mobilenetv2.studies.harness.process`` is the child of a
:class:`mobilenetv2.benchmarking.process.Process`. Sums in floating point depend on the number of
threads that divide them, so that each process has one, and results do not depend on the number of
cores. The process ends with its parent, even in the middle of a case.
"""

import contextlib
import importlib
import json
import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilenetv2.errors import MobileNetV2Error, StudyError
from mobilenetv2.process import prepare_process
from mobilenetv2.studies.study import Case, Options, Outcome, Study
from mobilenetv2.text import first_line

MODULE = "mobilenetv2.studies.harness.process"
Request = dict[str, Any]


def make_request(study: Study, case: Case, options: Options) -> Request:
    """Return the request that measures a case, as plain values for JSON.

    Raises:
        ValueError: ``measure`` is not a function of a module, which a process can import.
    """
    module, name = study.measure.__module__, study.measure.__qualname__
    if module == "__main__" or not name.isidentifier():
        raise ValueError(f"{study.name}: {name} must be a function of a module")
    given = {**asdict(options), "data": str(options.data) if options.data else None}
    return {
        "module": module, "function": name, "torch": "torch" in study.packages,
        "factors": dict(case.factors), "seed": case.seed, "options": given,
    }  # fmt: skip


def reply(request: Request) -> Request:
    """Measure a case and return ``values``, ``timed`` and ``seconds``.

    After an error it returns ``failed``, one sentence, and ``trace``, which is empty if the input
    is the cause.
    """
    started = time.monotonic()
    try:
        outcome = _measure(request)
        values, timed = _finite(outcome.values), _finite(outcome.timed)
    except MobileNetV2Error as error:
        return {"failed": str(error), "trace": ""}
    except Exception as error:  # one case fails, the others go on
        reason = f"{type(error).__name__}: {first_line(error)[:300]}"
        return {"failed": reason, "trace": traceback.format_exc()}
    return {"values": values, "timed": timed, "seconds": time.monotonic() - started}


def _measure(request: Request) -> Outcome:
    measure = getattr(importlib.import_module(request["module"]), request["function"])
    given = request["options"]
    options = Options(**{**given, "data": Path(given["data"]) if given["data"] else None})
    with _one_thread() if request["torch"] else contextlib.nullcontext():
        outcome: Outcome = measure(Case(request["factors"], request["seed"]), options)
    return outcome


def _one_thread() -> contextlib.AbstractContextManager[None]:
    from mobilenetv2.training.threads import one_thread  # it imports PyTorch

    return one_thread()


def _finite(values: Any) -> dict[str, float]:
    """Return measures as Python's own numbers.

    Raises:
        StudyError: one is NaN or infinite.
    """
    found = {str(name): float(value) for name, value in values.items()}
    for name, value in found.items():
        if not math.isfinite(value):
            raise StudyError(f"its measure {name!r} is {value}, not a finite number")
    return found


def _requests() -> Iterator[str]:
    """Yield the lines of stdin, and end the process at its end, whatever it is doing then."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # the parent is gone, or wants no more

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent, too
    prepare_process()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries and training loops print there
    for line in _requests():
        print(json.dumps(reply(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
