"""Carrying out a plan: what is finished is reused, the rest is trained in processes beside this one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmssl_cli.experiments.plan import Standing
from mmssl_cli.experiments.processes import WorkerProcess, worker_processes
from mmssl_cli.experiments.results import FinishedRun
from mmssl_cli.experiments.run_folder import LOG, RunFolder
from mmssl_cli.experiments.worker import serve
from pipelines.errors import InputError

if TYPE_CHECKING:
    from mmssl_cli.config import TrainSettings
    from mmssl_cli.plan_progress import PlanReporter

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
    """

    data_dir: Path
    runs_dir: Path
    jobs: int = 1
    tensorboard: bool = False

    def carry_out(self, standings: Sequence[Standing], reporter: PlanReporter) -> list[Outcome]:
        """The outcome of each planned run, in order. One that fails does not stop the others.

        Ctrl-C ends the processes with their runs checkpointed, and is raised again.
        """
        outcomes: dict[int, Outcome] = {}
        waiting: deque[int] = deque()
        for number, standing in enumerate(standings):
            if standing.run is not None:
                outcomes[number] = Outcome(standing.settings, standing.run, reused=True)
                reporter.reused(number, outcomes[number])
            else:
                waiting.append(number)
        if waiting:
            arguments = (self.data_dir, self.runs_dir, self.tensorboard)
            with worker_processes(min(self.jobs, len(waiting)), serve, arguments, self.jobs) as workers:
                _drive(standings, waiting, workers, outcomes, reporter, self.runs_dir)
        return [outcomes[number] for number in range(len(standings))]


def _drive(
    standings: Sequence[Standing],
    waiting: deque[int],
    workers: Sequence[WorkerProcess],
    outcomes: dict[int, Outcome],
    reporter: PlanReporter,
    runs_dir: Path,
) -> None:
    not_before: dict[int, float] = {}
    run_ids: dict[int, str] = {}
    while len(outcomes) < len(standings):
        for worker in workers:
            if worker.number is None and (number := _next(waiting, not_before)) is not None:
                run_ids.pop(number, None)
                worker.send(number, standings[number].settings.model_dump())
                reporter.begun(number)
        busy = {worker.connection: worker for worker in workers if worker.number is not None}
        for connection in wait(list(busy), timeout=0.2) if busy else _pause():
            assert isinstance(connection, Connection)
            worker = busy[connection]
            number = worker.number
            assert number is not None
            outcome = _hear(worker, number, standings[number].settings, reporter, runs_dir, run_ids)
            if outcome is None:
                continue
            worker.number = None
            if outcome == "locked":
                not_before[number] = time.monotonic() + _LATER
                waiting.append(number)
            elif isinstance(outcome, Outcome):
                outcomes[number] = outcome
                reporter.over(number, outcome)


def _pause() -> tuple[Connection, ...]:
    time.sleep(0.2)
    return ()


def _next(waiting: deque[int], not_before: dict[int, float]) -> int | None:
    for number in list(waiting):
        if not_before.get(number, 0.0) <= time.monotonic():
            waiting.remove(number)
            return number
    return None


def _hear(
    worker: WorkerProcess,
    number: int,
    settings: TrainSettings,
    reporter: PlanReporter,
    runs_dir: Path,
    run_ids: dict[int, str],
) -> Outcome | str | None:
    """What a worker said last: an outcome, ``locked``, or None while the run goes on."""
    try:
        kind, content = worker.connection.recv()
    except (EOFError, OSError):
        how = worker.restart()
        return _failed(settings, f"The process that trained it {how}.", run_ids.get(number), runs_dir)
    if kind == "start":
        run_ids[number] = content["run"]
        reporter.started(number, content)
    elif kind == "epoch":
        reporter.epoch(number, content)
    elif kind == "message":
        reporter.message(content)
    elif kind == "locked":
        reporter.locked(number, content)
        return "locked"
    elif kind == "failed":
        sentence, run_id, trace = content
        return _failed(settings, sentence, run_id, runs_dir, trace)
    else:
        try:
            run = FinishedRun.read(RunFolder.open(Path(content)))
            return Outcome(settings, run, reused=number not in run_ids)
        except InputError as problem:
            return _failed(settings, str(problem), Path(content).name, runs_dir)
    return None


def _failed(settings: TrainSettings, problem: str, run_id: Any, runs_dir: Path, trace: str = "") -> Outcome:
    log = runs_dir / run_id / LOG if isinstance(run_id, str) else None
    return Outcome(settings, problem=problem, log=log if log is not None and log.exists() else None, trace=trace)
