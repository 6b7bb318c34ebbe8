"""The trainings of a search, carried out by workers: trials are proposed here, and trained and pruned there."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from mmssl_cli.config import TrainSettings
from mmssl_cli.console.errors import explain
from mmssl_cli.console.tuning import TuneReporter
from mmssl_cli.experiments.tuning.study import (
    STALLED,
    Search,
    Trial,
    finalists_of,
    keep_score,
    scores_of,
    trials_of,
    with_further,
)
from mmssl_cli.experiments.workers.local import LocalPool
from mmssl_cli.experiments.workers.pool import Message, Send, WorkerPool

#: Proposals in a row that were tried before, after which values are drawn at random.
_EXHAUSTED = 20


@dataclass(frozen=True)
class Budget:
    """Limits of a search, whichever comes first; finalists come on top.

    Attributes:
        trials: number of trials.
        minutes: processor minutes of the trials, after which none begins.
        finalists: trials that are trained with further seeds.
        seeds: seeds of each finalist, that of the search included.
    """

    trials: int
    minutes: float
    finalists: int = 3
    seeds: int = 3

    def is_spent(self, found: Sequence[Trial]) -> bool:
        """Return whether no further trial may begin."""
        return len(found) >= self.trials or minutes_of(found) >= self.minutes


def minutes_of(found: Sequence[Trial]) -> float:
    """Return the processor minutes of trials."""
    return sum(trial.cpu_seconds for trial in found) / 60


def further_minutes_of(found: Sequence[Trial]) -> float:
    """Return the processor minutes of their trainings with further seeds."""
    return sum(trial.further_cpu_seconds for trial in found) / 60


def run_search(
    search: Search,
    study: optuna.Study,
    budget: Budget,
    data_dir: Path,
    jobs: int,
    reporter: TuneReporter,
    checkpoints: Path,
    pool: Callable[[int], WorkerPool] = LocalPool,
) -> list[Trial]:
    """Continue a search until its budget is spent, train the finalists, and return all trials.

    Ctrl-C leaves the trainings under way to be resumed.

    Args:
        checkpoints: folder of the trainings under way, removed in the end.
        pool: makes the pool of so many workers; by default processes on this machine.

    Raises:
        InputError: there can be no workers.
    """
    runner = _Runner(search, study, budget, data_dir, reporter, checkpoints)
    if runner.has_work():
        with pool(jobs) as workers:
            runner.run_trials(workers)
            runner.run_finalists(workers)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return runner.results()


class _Runner:
    def __init__(
        self,
        search: Search,
        study: optuna.Study,
        budget: Budget,
        data_dir: Path,
        reporter: TuneReporter,
        checkpoints: Path,
    ) -> None:
        self.search, self.study, self.budget = search, study, budget
        self.data_dir, self.reporter, self.checkpoints = data_dir, reporter, checkpoints.absolute()
        self.is_exhausted = False

    def has_work(self) -> bool:
        return not self.budget.is_spent(self.found()) or bool(self._missing_scores())

    def found(self) -> list[Trial]:
        return trials_of(self.study, self.search)

    def results(self) -> list[Trial]:
        finalists = {trial.number for trial in finalists_of(self.found(), self.budget.finalists)}
        return [with_further(self.study, t, is_finalist=t.number in finalists) for t in self.found()]

    def run_trials(self, pool: WorkerPool) -> None:
        proposed: dict[int, optuna.Trial] = {}
        while not pool.is_idle or self._may_begin(proposed):
            while pool.has_room and self._may_begin(proposed) and (trial := self._propose(proposed)):
                proposed[trial.number] = trial
                self._submit(pool, trial)
            for number, kind, content in pool.poll():
                if kind == "epoch":
                    self.reporter.epoch(number, *content)
                elif kind == "retry":
                    self.reporter.message(f"trial {number} is tried again: the process that trained it {content}")
                    self._submit(pool, proposed[number])
                else:
                    trial = proposed.pop(number)
                    _record(self.study, trial, _result(kind, content))
                    self._checkpoint(self.search.drawn(trial)).unlink(missing_ok=True)
                    self.reporter.over(next(one for one in self.found() if one.number == number))

    def _submit(self, pool: WorkerPool, trial: optuna.Trial) -> None:
        checkpoint = self._checkpoint(self.search.drawn(trial))
        pool.submit(trial.number, trial_task, trial, self.search, self.data_dir, checkpoint)

    def _checkpoint(self, drawn: Mapping[str, Any]) -> Path:
        """Return the file of the state of a training with these values."""
        digest = hashlib.sha256(json.dumps(drawn, sort_keys=True, default=list).encode()).hexdigest()
        return self.checkpoints / f"{digest[:16]}.pt"

    def _may_begin(self, running: dict[int, optuna.Trial]) -> bool:
        found = self.found()
        room = len(found) + len(running) < self.budget.trials
        return room and not self.is_exhausted and not self.budget.is_spent(found)

    def _propose(self, running: dict[int, optuna.Trial]) -> optuna.Trial | None:
        """Propose a trial that repeats none, at random where the sampler finds no other; None where there is none."""
        known = [trial.drawn for trial in self.found()] + [self.search.drawn(trial) for trial in running.values()]
        for _ in range(_EXHAUSTED):
            trial = self.search.propose(self.study)
            if self.search.drawn(trial) not in known:
                return trial
            self.study.tell(trial.number, state=TrialState.FAIL)
        if (untried := self.search.propose_untried(self.study, known)) is not None:
            return untried
        self.is_exhausted = True
        self.reporter.message("All combinations of the values have been tried: the search ends here.")
        return None

    def run_finalists(self, pool: WorkerPool) -> None:
        missing = self._missing_scores()
        running: dict[int, tuple[Trial, int]] = {}
        queue = list(enumerate(missing))
        while queue or not pool.is_idle:
            while queue and pool.has_room:
                key, (trial, seed) = queue.pop(0)
                running[key] = trial, seed
                self._submit_finalist(pool, key, trial, seed)
            for key, kind, content in pool.poll():
                trial, seed = running[key]
                if kind == "epoch":
                    self.reporter.epoch(trial.number, *content)
                elif kind == "retry":
                    self._submit_finalist(pool, key, trial, seed)
                else:
                    result = _result(kind, content)
                    keep_score(self.study, trial.number, seed, result)
                    self._checkpoint({**trial.drawn, "seed": seed}).unlink(missing_ok=True)
                    outcome = result.get("problem") or f"{result['score']:.4f} at epoch {result['best_epoch']}"
                    self.reporter.message(f"finalist trial {trial.number}, seed {seed}: {outcome}")

    def _missing_scores(self) -> list[tuple[Trial, int]]:
        first = self.search.base.seed
        seeds = range(first + 1, first + self.budget.seeds)
        finalists = finalists_of(self.found(), self.budget.finalists)
        return [(trial, seed) for trial in finalists for seed in seeds if seed not in scores_of(self.study, trial)]

    def _submit_finalist(self, pool: WorkerPool, key: int, trial: Trial, seed: int) -> None:
        drawn = {**trial.drawn, "seed": seed}
        pool.submit(key, finalist_task, self.search.settings(drawn), self.data_dir, self._checkpoint(drawn))


def _result(kind: str, content: Any) -> dict[str, Any]:
    return {"problem": f"The process that trained it {content}."} if kind == "lost" else content


def _record(study: optuna.Study, trial: optuna.Trial, result: dict[str, Any]) -> None:
    """Record the result of a trial in the study."""
    whole = result.pop("whole", None)
    for name, value in result.items():
        trial.set_user_attr(name, value)
    if "problem" in result:
        study.tell(trial.number, state=TrialState.FAIL)
    elif whole:
        study.tell(trial.number, result["score"])
    else:
        study.tell(trial.number, state=TrialState.PRUNED)


def trial_task(send: Send, trial: optuna.Trial, search: Search, data_dir: Path, checkpoint: Path) -> Message:
    """Train a trial of a search in a worker; it reports its scores to the journal of the search and is pruned by them.

    A trial whose score rose within the last epochs is not pruned.

    Returns:
        ``over``, and either what is kept of the trial and whether it was ``whole``, or its ``problem``.
    """
    rising = _Rising()

    def on_validation(epoch: int, score: float) -> bool:
        trial.report(score, epoch)
        send("epoch", [epoch, score])
        return rising.at(epoch, score) or not trial.should_prune()

    return _train(lambda: search.settings(search.drawn(trial)), data_dir, on_validation, checkpoint)


def finalist_task(send: Send, settings: TrainSettings, data_dir: Path, checkpoint: Path) -> Message:
    """Train a finalist with a further seed in a worker; as ``trial_task``, but never pruned."""

    def on_validation(epoch: int, score: float) -> bool:
        send("epoch", [epoch, score])
        return True

    return _train(lambda: settings, data_dir, on_validation, checkpoint)


class _Rising:
    """Tells if the best score of a curve is a recent one."""

    best, since = float("-inf"), 0

    def at(self, epoch: int, score: float) -> bool:
        if score > self.best:
            self.best, self.since = score, epoch
        return epoch - self.since < STALLED


def _train(
    settings: Callable[[], TrainSettings], data_dir: Path, on_validation: Callable[[int, float], bool], path: Path
) -> Message:
    # PyTorch is imported in workers alone.
    from mmssl_cli.training.checkpoint import Checkpoint
    from mmssl_cli.training.trainer import fit

    started, checkpoint = time.process_time(), Checkpoint(path)

    def processor_seconds() -> float:
        return time.process_time() - started + checkpoint.processor_seconds

    try:
        state, whole = fit(settings(), data_dir, on_validation, checkpoint)
        return "over", {
            "score": state.best_score,
            "best_epoch": state.best_epoch,
            "epochs": len(state.records),
            "seconds": sum(record["seconds"] for record in state.records),
            "cpu_seconds": processor_seconds(),
            "whole": whole,
        }
    except Exception as problem:
        return "over", {"problem": explain(problem)[0], "cpu_seconds": processor_seconds()}
