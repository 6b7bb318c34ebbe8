"""The trials of a search, made by workers: each is proposed, trained, judged as it goes, and kept."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmssl_cli.config import build_settings
from mmssl_cli.experiments.tuning.study import Search, Trial, trials_of
from mmssl_cli.experiments.workers.local import Channel, Worker, WorkerPool, begin_work, worker_processes

if TYPE_CHECKING:
    import optuna

    from mmssl_cli.console.tuning import TuneReporter


def run_search(
    search: Search,
    study: optuna.Study,
    trials: int,
    data_dir: Path,
    jobs: int,
    reporter: TuneReporter,
    crew: WorkerPool = worker_processes,
) -> list[Trial]:
    """Carry on with a search until it has ``trials`` trials that are over; all of its trials.

    Ctrl-C leaves the trials under way to be run again.

    Args:
        crew: makes the workers; by default processes beside this one.

    Raises:
        InputError: there can be no workers.
    """
    missing = trials - len(trials_of(study, search))
    if missing > 0:
        with crew(min(jobs, missing), serve_trials, (data_dir,), jobs) as workers:
            _Drive(search, study, missing, reporter).until_over(workers)
    return trials_of(study, search)


class _Drive:
    """A search on its way: how many trials are still to be proposed, and those that are proposed and not over."""

    def __init__(self, search: Search, study: optuna.Study, missing: int, reporter: TuneReporter) -> None:
        self._search, self._study, self._missing, self._reporter = search, study, missing, reporter
        self._asked: dict[int, optuna.Trial] = {}
        self._lost: deque[optuna.Trial] = deque()
        self._deaths: Counter[int] = Counter()
        self._reported: dict[int, int] = {}

    def until_over(self, workers: Sequence[Worker]) -> None:
        """Give trials to workers, and hear how they go."""
        while self._missing > 0 or self._asked:
            for worker in workers:
                if (self._missing > 0 or self._lost) and worker.ready and worker.number is None:
                    trial = self._next()
                    worker.send(trial.number, self._search.settings_of(trial).model_dump())
            busy = {worker.connection: worker for worker in workers if worker.number is not None}
            for connection in wait(list(busy), timeout=0.2):
                assert isinstance(connection, Connection)
                self._hear(busy[connection])

    def _next(self) -> optuna.Trial:
        """One whose worker died, or a new proposal."""
        if self._lost:
            return self._lost.popleft()
        self._missing -= 1
        trial = self._search.propose(self._study)
        self._asked[trial.number] = trial
        return trial

    def _hear(self, worker: Worker) -> None:
        number = worker.number
        assert number is not None
        trial = self._asked[number]
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            worker.number = None
            self._worker_lost(trial, worker.restart(), worker.retries)
            return
        if kind == "epoch":
            epoch, score = content
            if epoch > self._reported.get(number, 0):  # a trial that is made again repeats itself
                trial.report(score, epoch)
                self._reported[number] = epoch
            self._reporter.epoch(number, epoch, score)
            worker.answer(not trial.should_prune())
            return
        worker.number = None
        if kind == "failed":
            self._failed(trial, content)
        else:
            self._fitted(trial, content)

    def _fitted(self, trial: optuna.Trial, fit: Mapping[str, Any]) -> None:
        import optuna

        for name in ("score", "best_epoch", "epochs", "seconds"):
            trial.set_user_attr(name, fit[name])
        state = optuna.trial.TrialState.COMPLETE if fit["whole"] else optuna.trial.TrialState.PRUNED
        self._study.tell(trial.number, fit["score"] if fit["whole"] else None, state=state)
        self._over(trial.number)

    def _worker_lost(self, trial: optuna.Trial, how: str, retries: int) -> None:
        """The trial is made again from its start: it leaves no checkpoints."""
        self._deaths[trial.number] += 1
        if self._deaths[trial.number] <= retries:
            self._reporter.message(f"trial {trial.number} is tried again: the process that trained it {how}")
            self._lost.append(trial)
        else:
            self._failed(trial, f"The process that trained it {how}.")

    def _failed(self, trial: optuna.Trial, problem: str) -> None:
        import optuna

        trial.set_user_attr("problem", problem)
        self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        self._over(trial.number)

    def _over(self, number: int) -> None:
        del self._asked[number]
        self._reporter.over(next(one for one in trials_of(self._study, self._search) if one.number == number))


def serve_trials(connection: Channel, data_dir: Path, threads: int | None) -> None:
    """A worker's loop: train the settings that are sent until None is, and say how each goes."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        begin_work(threads)
        while (values := connection.recv()) is not None:
            connection.send(_fit(values, connection, data_dir))


def _fit(values: Mapping[str, Any], connection: Channel, data_dir: Path) -> tuple[str, Any]:
    from dataclasses import asdict

    from mmssl_cli.console.errors import explain
    from mmssl_cli.training.fitting import fit

    def goes_on(epoch: int, score: float) -> bool:
        connection.send(("epoch", (epoch, score)))
        return bool(connection.recv())

    try:
        return "over", asdict(fit(build_settings(values), data_dir, goes_on))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as problem:
        return "failed", explain(problem)[0]
