"""Processes that measure cases side by side; one that dies costs its case, and is started anew."""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mobilenetv2.benchmarking.process import Process
from mobilenetv2.errors import ArtifactError
from mobilenetv2.files import temporary_folder
from mobilenetv2.studies.harness.process import MODULE, make_request
from mobilenetv2.studies.study import Case, Options, Study

Answer = dict[str, Any]
"""Reply of :func:`mobilenetv2.studies.harness.process.reply`."""
Answers = queue.SimpleQueue[tuple[Case, Answer] | BaseException]
PATIENCE = 0.5
"""Seconds between two looks for Ctrl-C while cases run, which Windows needs."""


def measure_cases(
    study: Study, options: Options, cases: Sequence[Case], count: int
) -> Iterator[tuple[Case, Answer]]:
    """Yield each case with its answer as it comes, from several processes.

    When the iterator is closed, or an error ends it, the processes are killed.

    Args:
        study: the study.
        options: what was chosen.
        cases: the cases to run.
        count: number of processes.
    """
    waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    answers: Answers = queue.SimpleQueue()
    with temporary_folder() as logs, ExitStack() as stack:
        workers = [
            Worker(study, options, waiting, answers, logs / f"{number}.log")
            for number in range(count)
        ]
        for worker in workers:
            worker.start()
            stack.callback(worker.join)
        for worker in workers:  # called before the joins, since the last callback is called first
            stack.callback(worker.close)
        for _ in cases:
            yield _next(answers)


def _next(answers: Answers) -> tuple[Case, Answer]:
    """Return the next answer, or raise the error of a thread."""
    while True:
        try:
            found = answers.get(timeout=PATIENCE)
        except queue.Empty:
            continue
        if isinstance(found, BaseException):
            raise found
        return found


class Worker(threading.Thread):
    """Thread that has cases measured by a process of its own.

    Args:
        study: the study.
        options: what was chosen.
        waiting: cases that no worker has taken yet.
        answers: queue for each case with its answer, and for an error of the thread.
        log: file for what the process prints.
    """

    def __init__(
        self, study: Study, options: Options, waiting: "queue.SimpleQueue[Case]",
        answers: Answers, log: Path,
    ) -> None:  # fmt: skip
        super().__init__(daemon=True)
        self._study, self._options = study, options
        self._waiting, self._answers, self._log = waiting, answers, log
        self._process: Process | None = None
        self._closed = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Measure cases until none is waiting, or the worker is closed."""
        try:
            while not self._closed:
                case = self._waiting.get_nowait()
                self._answers.put((case, self._measure(case)))
        except queue.Empty:
            self.close()
        except BaseException as error:  # the main thread raises it
            self._answers.put(error)

    def _measure(self, case: Case) -> Answer:
        request = make_request(self._study, case, self._options)
        with self._lock:
            if self._closed:
                return {"failed": "stopped"}
            if self._process is None:
                self._process = Process("the process of the case", self._log, 1, MODULE)
            process = self._process
        try:
            return process.ask(request, None)
        except ArtifactError as error:  # it crashed
            with self._lock:
                self._process = None
            process.close()
            return {"failed": str(error)}

    def close(self) -> None:
        """Kill the process, even in the middle of a case."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.close()
