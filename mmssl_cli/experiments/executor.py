"""Carrying out a plan: what is finished is reused, the rest is trained by workers."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from mmssl_cli.experiments.plan import PlannedRun
from mmssl_cli.experiments.workers.local import Worker, WorkerPool, worker_processes
from mmssl_cli.experiments.workers.loop import serve
from mmssl_cli.runs.folder import LOG, RunFolder
from mmssl_cli.runs.results import FinishedRun
from pipelines.errors import InputError

if TYPE_CHECKING:
    from mmssl_cli.config import TrainSettings
    from mmssl_cli.console.plan import PlanReporter

#: Seconds until a run is asked for again that another process is at.
_LATER = 2.0


@dataclass(frozen=True)
class Outcome:
    """How a run of a plan ended.

    Attributes:
        run: the finished run; None where it failed.
        reused: it was finished before.
        problem: why it failed.
        log: the log of the failed run, where it came so far.
        trace: where in the program it failed, for `-v`.
    """

    settings: TrainSettings
    run: FinishedRun | None = None
    reused: bool = False
    problem: str = ""
    log: Path | None = None
    trace: str = ""


@dataclass(frozen=True)
class Engine:
    """Where and how runs are trained.

    Attributes:
        jobs: runs at once.
        tensorboard: log the runs for TensorBoard as well.
        crew: makes the workers; by default processes beside this one.
    """

    data_dir: Path
    runs_dir: Path
    jobs: int = 1
    tensorboard: bool = False
    crew: WorkerPool = worker_processes

    def carry_out(self, planned_runs: Sequence[PlannedRun], reporter: PlanReporter) -> list[Outcome]:
        """The outcome of each planned run, in order. One that fails does not stop the others.

        Ctrl-C ends the workers with their runs checkpointed, and is raised again.

        Raises:
            InputError: there can be no workers.
        """
        drive = _Drive(planned_runs, reporter, self.runs_dir)
        if drive.waiting:
            arguments = (self.data_dir, self.runs_dir, self.tensorboard)
            with self.crew(min(self.jobs, len(drive.waiting)), serve, arguments, self.jobs) as workers:
                drive.until_over(workers)
        return [drive.outcomes[number] for number in range(len(planned_runs))]


class _Drive:
    """A plan on its way: the runs that wait, and the outcomes of those that are over."""

    def __init__(self, planned_runs: Sequence[PlannedRun], reporter: PlanReporter, runs_dir: Path) -> None:
        self._standings, self._reporter, self._runs_dir = planned_runs, reporter, runs_dir
        self.outcomes: dict[int, Outcome] = {}
        self.waiting: deque[int] = deque()
        self._not_before: dict[int, float] = {}
        self._run_ids: dict[int, str] = {}
        self._deaths: Counter[int] = Counter()
        for number, planned in enumerate(planned_runs):
            if planned.run is not None:
                self.outcomes[number] = Outcome(planned.settings, planned.run, reused=True)
                reporter.reused(number, self.outcomes[number])
            else:
                self.waiting.append(number)

    def until_over(self, workers: Sequence[Worker]) -> None:
        """Give the runs to workers, and hear how they go."""
        while len(self.outcomes) < len(self._standings):
            for worker in workers:
                if worker.ready and worker.number is None and (number := self._next()) is not None:
                    self._run_ids.pop(number, None)
                    worker.send(number, self._standings[number].settings.model_dump())
                    self._reporter.begun(number)
            busy = {worker.connection: worker for worker in workers if worker.number is not None}
            for connection in wait(list(busy), timeout=0.2) if busy else _pause():
                assert isinstance(connection, Connection)
                self._hear(busy[connection])

    def _next(self) -> int | None:
        for number in list(self.waiting):
            if self._not_before.get(number, 0.0) <= time.monotonic():
                self.waiting.remove(number)
                return number
        return None

    def _hear(self, worker: Worker) -> None:
        """What a worker said last."""
        number = worker.number
        assert number is not None
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            self._lost(worker, number)
            return
        if kind == "start":
            self._run_ids[number] = content["run"]
            self._reporter.started(number, content)
        elif kind == "epoch":
            self._reporter.epoch(number, content)
        elif kind == "message":
            self._reporter.message(content)
        else:
            worker.number = None
            if kind == "locked":
                self._reporter.locked(number, content)
                self._not_before[number] = time.monotonic() + _LATER
                self.waiting.append(number)
            elif kind == "failed":
                sentence, run_id, trace = content
                self._over(number, self._failed(number, sentence, run_id, trace))
            else:
                self._over(number, self._finished(number, self._runs_dir / Path(content).name))

    def _lost(self, worker: Worker, number: int) -> None:
        """Its worker died: the run is given out again, which goes on from its checkpoint, or has failed."""
        worker.number = None
        how = worker.restart()
        self._deaths[number] += 1
        if self._deaths[number] <= worker.retries:
            self._reporter.again(number, f"the process that trained it {how}")
            self.waiting.append(number)
        else:
            self._over(number, self._failed(number, f"The process that trained it {how}.", self._run_ids.get(number)))

    def _finished(self, number: int, folder: Path) -> Outcome:
        try:
            run = FinishedRun.read(RunFolder.open(folder))
        except InputError as problem:
            return self._failed(number, str(problem), folder.name)
        return Outcome(self._standings[number].settings, run, reused=number not in self._run_ids)

    def _failed(self, number: int, problem: str, run_id: str | None, trace: str = "") -> Outcome:
        log = self._runs_dir / run_id / LOG if run_id is not None else None
        existing = log if log is not None and log.exists() else None
        return Outcome(self._standings[number].settings, problem=problem, log=existing, trace=trace)

    def _over(self, number: int, outcome: Outcome) -> None:
        self.outcomes[number] = outcome
        self._reporter.over(number, outcome)


def _pause() -> tuple[Connection, ...]:
    time.sleep(0.2)
    return ()
