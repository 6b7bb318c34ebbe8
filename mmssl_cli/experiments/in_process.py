"""Train the runs of a plan in this process, one after the other, until the first that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mmssl_cli.config import TrainSettings
from mmssl_cli.console.training import Reporter
from mmssl_cli.experiments.ensure_run import ensure_run
from mmssl_cli.experiments.plan import RunIndex
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.training.trainer import RunResult, train_run


def train_in_process(
    plan: Sequence[TrainSettings], data_dir: Path, runs_dir: Path, reporter: Reporter, *, reuse: bool
) -> Iterator[RunResult]:
    """Train the runs of a plan, and yield each when it is finished.

    Args:
        reuse: count finished runs of the same settings, and resume those that were cut off; else every run is new.

    Raises:
        MmsslError: a run failed.
    """
    for settings in plan:
        if reuse:
            yield _reused_or_trained(settings, data_dir, runs_dir, reporter)
        else:
            yield train_run(settings, data_dir, runs_dir, reporter=reporter)


def _reused_or_trained(settings: TrainSettings, data_dir: Path, runs_dir: Path, reporter: Reporter) -> RunResult:
    planned = RunIndex(runs_dir).find(settings, data_dir)
    for problem in planned.problems:
        reporter.message(problem)
    folder = ensure_run(settings, data_dir, runs_dir, reporter)
    if planned.run is not None:
        reporter.message(f"Seed {settings.seed} is already finished: run {planned.run.id}")
    return RunResult(folder, RunFolder.open(folder).read_result())
