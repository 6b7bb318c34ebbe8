"""Execution of a plan: finished runs are reused, the others are trained by workers."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmssl_cli.config import TrainSettings
from mmssl_cli.console.errors import explain
from mmssl_cli.console.loggers.reporter import with_loggers
from mmssl_cli.console.plan import PlanReporter
from mmssl_cli.console.training import Reporter
from mmssl_cli.experiments.plan import PlannedRun
from mmssl_cli.experiments.workers.local import LocalPool
from mmssl_cli.experiments.workers.pool import Message, Send, WorkerPool
from mmssl_cli.runs.folder import LOG, RunFolder
from mmssl_cli.runs.results import FinishedRun
from pipelines.errors import InputError
from pipelines.io.locks import LockedError

#: Seconds until a run is tried again that another process trains.
_RETRY_LOCKED = 2.0


@dataclass(frozen=True)
class Outcome:
    """The end of a run of a plan.

    Attributes:
        run: the finished run; None where it failed.
        reused: it was finished before.
        problem: why it failed.
        log: the log of the failed run, if it has one.
        trace: traceback of the failure, for `-v`.
    """

    settings: TrainSettings
    run: FinishedRun | None = None
    reused: bool = False
    problem: str = ""
    log: Path | None = None
    trace: str = ""


@dataclass(frozen=True)
class Engine:
    """Trains the runs of plans.

    Attributes:
        jobs: runs at once.
        loggers: names of the loggers that receive the numbers as well.
        pool: makes the pool of so many workers; by default processes on this machine.
    """

    data_dir: Path
    runs_dir: Path
    jobs: int = 1
    loggers: tuple[str, ...] = ()
    pool: Callable[[int], WorkerPool] = LocalPool

    def carry_out(self, planned_runs: Sequence[PlannedRun], reporter: PlanReporter) -> list[Outcome]:
        """Return the outcome of each planned run, in order. One that fails does not stop the others.

        Ctrl-C ends the workers with their runs checkpointed, and is raised again.

        Raises:
            InputError: there can be no workers.
        """
        execution = _Execution(self, planned_runs, reporter)
        if execution.waiting:
            with self.pool(self.jobs) as pool:
                execution.run(pool)
        return [execution.outcomes[number] for number in range(len(planned_runs))]


class _Execution:
    """A plan under way. Runs go by their number in the plan.

    Attributes:
        outcomes: of the runs that are over.
        waiting: the runs to be submitted, with the moment from which each may be.
    """

    def __init__(self, engine: Engine, planned_runs: Sequence[PlannedRun], reporter: PlanReporter) -> None:
        self._engine, self._planned, self._reporter = engine, planned_runs, reporter
        self.outcomes: dict[int, Outcome] = {}
        self.waiting: dict[int, float] = {}
        self._run_ids: dict[int, str] = {}
        for number, planned in enumerate(planned_runs):
            if planned.run is not None:
                self.outcomes[number] = Outcome(planned.settings, planned.run, reused=True)
                reporter.reused(number, self.outcomes[number])
            else:
                self.waiting[number] = 0.0

    def run(self, pool: WorkerPool) -> None:
        """Submit the runs to workers, and follow them to their ends."""
        while self.waiting or not pool.is_idle:
            for number in [number for number, moment in self.waiting.items() if moment <= time.monotonic()]:
                if pool.has_room:
                    self._submit(pool, number)
            for number, kind, content in pool.poll():
                self._handle(number, kind, content)

    def _submit(self, pool: WorkerPool, number: int) -> None:
        del self.waiting[number]
        self._run_ids.pop(number, None)
        engine = self._engine
        settings = self._planned[number].settings
        pool.submit(number, train_task, settings, engine.data_dir, engine.runs_dir, engine.loggers)
        self._reporter.begun(number)

    def _handle(self, number: int, kind: str, content: Any) -> None:
        """Act on a message of ``train_task`` or of the pool."""
        reporter = self._reporter
        if kind == "start":
            self._run_ids[number] = content["run"]
            reporter.started(number, content)
        elif kind == "epoch":
            reporter.epoch(number, content)
        elif kind == "message":
            reporter.message(content)
        elif kind == "locked":
            reporter.locked(number, content)
            self.waiting[number] = time.monotonic() + _RETRY_LOCKED
        elif kind == "retry":
            reporter.again(number, f"the process that trained it {content}")
            self.waiting[number] = 0.0
        elif kind == "lost":
            self._failed(number, f"The process that trained it {content}.")
        elif kind == "failed":
            self._failed(number, *content)
        else:
            self._finished(number, self._engine.runs_dir / content)

    def _finished(self, number: int, folder: Path) -> None:
        try:
            run = FinishedRun.read(RunFolder.open(folder))
        except InputError as problem:
            self._run_ids[number] = folder.name
            return self._failed(number, str(problem))
        self._over(number, Outcome(self._planned[number].settings, run, reused=number not in self._run_ids))

    def _failed(self, number: int, problem: str, trace: str = "") -> None:
        log = self._engine.runs_dir / self._run_ids.get(number, "") / LOG
        existing = log if log.exists() else None
        self._over(number, Outcome(self._planned[number].settings, problem=problem, log=existing, trace=trace))

    def _over(self, number: int, outcome: Outcome) -> None:
        self.outcomes[number] = outcome
        self._reporter.over(number, outcome)


class SendingReporter(Reporter):
    """Sends the calls of a training as messages ``start``, ``epoch`` and ``message``."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    def start(self, info: Mapping[str, Any]) -> None:
        super().start(info)
        self._send("start", dict(info))

    def epoch(self, record: Mapping[str, Any]) -> None:
        self._send("epoch", dict(record))

    def message(self, text: str) -> None:
        self._send("message", text)


def train_task(
    send: Send, settings: TrainSettings, data_dir: Path, runs_dir: Path, loggers: tuple[str, ...]
) -> Message:
    """Train, resume or find a run, in a worker.

    Args:
        loggers: names of the loggers that receive the epochs also.

    Returns:
        ``finished`` and the name of its folder; ``locked`` and a sentence, where another process trains it; or
        ``failed``, a sentence and the traceback.
    """
    # PyTorch is imported in workers alone.
    from mmssl_cli.experiments.ensure_run import ensure_run

    reporter: Reporter = SendingReporter(send)
    try:
        reporter = with_loggers(reporter, loggers, runs_dir, RunFolder)
        return "finished", ensure_run(settings, data_dir, runs_dir, reporter).name
    except LockedError as problem:
        return "locked", str(problem)
    except Exception as problem:
        return "failed", (explain(problem)[0], traceback.format_exc())
    finally:
        reporter.close()
