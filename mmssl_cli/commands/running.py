"""Carrying out the plan of a command, with progress, dry runs, interrupts and failures."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mmssl_cli.commands.plan_options import PlanOptions
from mmssl_cli.console.lines import warn
from mmssl_cli.console.loggers.reporter import open_loggers
from mmssl_cli.console.plan import make_plan_reporter, print_failures, print_plan
from mmssl_cli.console.sections import present_section
from mmssl_cli.console.verbosity import verbosity
from mmssl_cli.experiments.executor import Engine, Outcome
from mmssl_cli.experiments.plan import RunIndex, distinct, total_seconds
from mmssl_cli.runs.data_match import check_settings
from mmssl_cli.runs.results import Configuration, configuration_of
from pipelines.errors import InputError
from pipelines.io.files import write_problem

if TYPE_CHECKING:
    from mmssl_cli.config import TrainSettings
    from mmssl_cli.reporting.document import Section


@dataclass(frozen=True)
class PlanResult:
    """Outcomes of the runs of a plan, by name."""

    outcomes: Mapping[str, Outcome]

    def configuration(self, settings: TrainSettings) -> Configuration | None:
        """Return the finished runs with these settings, of any seed; None if there are none."""
        wanted = configuration_of(settings)
        found = {
            outcome.run.seed: outcome.run
            for outcome in self.outcomes.values()
            if outcome.run is not None and configuration_of(outcome.settings) == wanted
        }
        return Configuration(tuple(found[seed] for seed in sorted(found))) if found else None

    def configurations(self, plan: Mapping[str, TrainSettings]) -> dict[str, Configuration]:
        """Return the finished runs of each of the named settings that has any."""
        found = {name: self.configuration(settings) for name, settings in plan.items()}
        return {name: one for name, one in found.items() if one is not None}

    def raise_failures(self) -> None:
        """List the failed runs on standard error.

        Raises:
            typer.Exit: there are any (1).
        """
        failures = [(name, one.problem, one.log) for name, one in self.outcomes.items() if one.run is None]
        if failures:
            print_failures(failures)
            raise typer.Exit(1)

    def present(self, section: Section, options: PlanOptions) -> None:
        """Show a section of the results, write its files to ``--out``, and list the failed runs.

        Raises:
            InputError: the files cannot be written.
            typer.Exit: a run failed (1).
        """
        if options.as_json or any(outcome.run for outcome in self.outcomes.values()):
            present_section(section, options.out, options.as_json)
        self.raise_failures()


def carry_out(plan: Mapping[str, TrainSettings], options: PlanOptions) -> PlanResult:
    """Reuse finished runs, resume interrupted ones, train the rest.

    Args:
        plan: settings of each run by its name; equal ones are trained once.

    Raises:
        UsageError: settings of a run do not fit its data set.
        typer.Exit: after a dry run (0) or Ctrl-C (130).
    """
    plan = distinct(plan)
    names, runs = list(plan), list(plan.values())
    for settings in runs:
        check_settings(settings, options.data_dir)
    if options.out is not None:
        _check_out(options.out)
    if not options.dry_run:
        open_loggers(options.loggers)  # refuse before training if a package is missing
    index = RunIndex(options.runs_dir)
    planned_runs = [index.find(settings, options.data_dir) for settings in runs]
    times = [index.seconds(planned) for planned in planned_runs]
    total = total_seconds(times, options.jobs)
    problems = [f"Run {run.id} is damaged and does not count: {run.problem}" for run in index.damaged_on(runs)]
    problems += dict.fromkeys(problem for planned in planned_runs for problem in planned.problems)
    if options.dry_run:
        for problem in problems:
            warn(problem)
        folders = [planned.folder.id if planned.folder else None for planned in planned_runs]
        statuses = [planned.status for planned in planned_runs]
        print_plan(list(zip(names, statuses, folders, times, strict=True)), total, options.as_json)
        raise typer.Exit
    reporter = make_plan_reporter(verbosity())
    pool = options.target.worker_pool(runs, options.data_dir, options.runs_dir, reporter.message)
    engine = Engine(options.data_dir, options.runs_dir, options.jobs, options.loggers, pool)
    try:
        for problem in problems:
            reporter.message(problem)
        reporter.begin(planned_runs, names, total)
        outcomes = [_measured(outcome, options) for outcome in engine.carry_out(planned_runs, reporter)]
        return PlanResult(dict(zip(names, outcomes, strict=True)))
    except KeyboardInterrupt:
        reporter.close()
        print(
            "Interrupted. Run the same command again: finished runs are reused, the rest is resumed.", file=sys.stderr
        )
        raise typer.Exit(130) from None
    finally:
        reporter.close()


def _measured(outcome: Outcome, options: PlanOptions) -> Outcome:
    """Return an outcome whose run has all metrics of the plan, also where it was trained without some."""
    if outcome.run is None:
        return outcome
    from mmssl_cli.training.inference import measured

    return replace(outcome, run=measured(outcome.run, outcome.settings.all_metrics, options.data_dir))


def _check_out(out: Path) -> None:
    """Refuse a folder that cannot be written, before hours of training."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise write_problem(out, problem) from problem
    if not os.access(out, os.W_OK):
        raise InputError(f"The folder {out} cannot be written; choose another --out.")
