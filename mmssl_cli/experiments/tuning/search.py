"""The trials of a search, carried out by workers: each is proposed here, and trained and pruned there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from mmssl_cli.console.errors import explain
from mmssl_cli.console.tuning import TuneReporter
from mmssl_cli.experiments.tuning.study import Search, Trial, trials_of
from mmssl_cli.experiments.workers.local import LocalPool
from mmssl_cli.experiments.workers.pool import Message, Send, WorkerPool


def run_search(
    search: Search,
    study: optuna.Study,
    trials: int,
    data_dir: Path,
    jobs: int,
    reporter: TuneReporter,
    pool: Callable[[int], WorkerPool] = LocalPool,
) -> list[Trial]:
    """Continue a search until ``trials`` of its trials are over, and return all of these.

    Ctrl-C leaves the trials under way to be run again.

    Args:
        pool: makes the pool of so many workers; by default processes on this machine.

    Raises:
        InputError: there can be no workers.
    """
    missing = trials - len(trials_of(study, search))
    if missing > 0:
        with pool(jobs) as workers:
            _run(search, study, missing, data_dir, reporter, workers)
    return trials_of(study, search)


def _run(
    search: Search, study: optuna.Study, missing: int, data_dir: Path, reporter: TuneReporter, pool: WorkerPool
) -> None:
    proposed: dict[int, optuna.Trial] = {}
    while missing or not pool.is_idle:
        while missing and pool.has_room:
            missing -= 1
            trial = search.propose(study)
            proposed[trial.number] = trial
            pool.submit(trial.number, trial_task, trial, search, data_dir)
        for number, kind, content in pool.poll():
            if kind == "epoch":
                reporter.epoch(number, *content)
            elif kind == "retry":  # from its start: a trial has no checkpoints
                reporter.message(f"trial {number} is tried again: the process that trained it {content}")
                pool.submit(number, trial_task, proposed[number], search, data_dir)
            else:
                if kind == "lost":
                    content = {"problem": f"The process that trained it {content}."}
                _record(study, proposed[number], content)
                reporter.over(next(one for one in trials_of(study, search) if one.number == number))


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


def trial_task(send: Send, trial: optuna.Trial, search: Search, data_dir: Path) -> Message:
    """Train a trial of a search in a worker; it reports its scores to the journal of the search and is pruned by them.

    Returns:
        ``over``, and either what is kept of the trial and whether it was ``whole``, or its ``problem``.
    """
    # PyTorch is imported in workers alone.
    from mmssl_cli.training.trainer import fit

    def on_validation(epoch: int, score: float) -> bool:
        trial.report(score, epoch)
        send("epoch", [epoch, score])
        return not trial.should_prune()

    try:
        state, whole = fit(search.settings_of(trial), data_dir, on_validation)
        return "over", {
            "score": state.best_score,
            "best_epoch": state.best_epoch,
            "epochs": len(state.records),
            "seconds": sum(record["seconds"] for record in state.records),
            "whole": whole,
        }
    except Exception as problem:
        return "over", {"problem": explain(problem)[0]}
