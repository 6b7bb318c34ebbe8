"""The seeds of `mmssl train --runs N` as a plan: several at once, on this machine or on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmssl_cli.commands.plan_options import PlanOptions
    from mmssl_cli.config import TrainSettings
    from mmssl_cli.training.trainer import RunResult


def train_seeds(settings: TrainSettings, options: PlanOptions) -> list[RunResult]:
    """The runs of the settings with seed, seed + 1, ...; those that failed are named, after all are over.

    Raises:
        typer.Exit: Ctrl-C (130).
    """
    from mmssl_cli.commands.plan_options import carry_out
    from mmssl_cli.commands.presenting import name_failures
    from mmssl_cli.training.trainer import RunResult

    result = carry_out(options.seed_by_seed([settings]), options)
    name_failures(result.failures)
    runs = [outcome.run for outcome in result.outcomes if outcome.run is not None]
    return [RunResult(run.folder.path, dict(run.result)) for run in runs]
