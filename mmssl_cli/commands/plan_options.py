"""What the commands that need several runs share: their options, and carrying out the plan."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmssl_cli.commands.execution_options import Address, EngineName, ExecutionTarget, GpusPerRun
from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    DataDir,
    RunsDir,
    accepts_settings,
    chosen_dataset,
)
from mmssl_cli.commands.prepared_data import ensure_prepared
from mmssl_cli.commands.presenting import run_name
from mmssl_cli.config import TrainSettings, merge_settings, read_toml, settings_class
from mmssl_cli.console.verbosity import verbosity
from pipelines.errors import InputError, UsageError, nearest

if TYPE_CHECKING:
    from mmssl_cli.experiments.executor import Outcome
    from mmssl_cli.experiments.plan import PlannedRun
    from mmssl_cli.runs.results import Configuration

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file of settings; flags are stronger.")
]
Runs = Annotated[
    int, typer.Option("--runs", min=1, metavar="N", help="Runs of each setting, with seed, seed + 1, and so on.")
]
Jobs = Annotated[
    int, typer.Option("--jobs", min=1, metavar="N", help="Runs trained at once; each holds its own memory.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be trained and how long it may take, and stop.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Also write tables (CSV, parquet, Markdown, LaTeX), figures (SVG, PDF)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Log every new run for TensorBoard as well, in RUN/tensorboard.")
]


#: The options that every command with a plan of runs has, with their defaults.
_SHARED: dict[str, tuple[Any, Any]] = {
    "runs": (Runs, 1),
    "jobs": (Jobs, 1),
    "engine": (EngineName, "local"),
    "address": (Address, None),
    "gpus_per_run": (GpusPerRun, None),
    "dry_run": (DryRun, False),
    "config": (Config, None),
    "out": (Out, None),
    "as_json": (AsJson, False),
    "tensorboard": (TensorBoard, False),
    "data_dir": (DataDir, DEFAULT_DATA_DIR),
    "runs_dir": (RunsDir, DEFAULT_RUNS_DIR),
}


@dataclass(frozen=True)
class PlanOptions:
    """What a command with a plan of runs was asked for, beside its own options.

    Attributes:
        given: settings that were given as flags, as they were written.
    """

    given: Mapping[str, Any]
    place: ExecutionTarget
    runs: int
    jobs: int
    dry_run: bool
    config: Path | None
    out: Path | None
    as_json: bool
    tensorboard: bool
    data_dir: Path
    runs_dir: Path

    def settings(self, of_model: str | None = None, *, prepared: bool = True, **more: Any) -> TrainSettings:
        """The settings that are asked for, see ``settings_for``; ``more`` are flags that the command adds."""
        return settings_for(of_model, {**self.given, **more}, self.config, self.data_dir, prepared=prepared)

    def seed_by_seed(self, settings: Iterable[TrainSettings]) -> list[TrainSettings]:
        """As many seeds of each as are asked for: a plan that is cut off has compared all on some seeds."""
        from mmssl_cli.experiments.plan import over_seeds

        by_seed = zip(*(over_seeds(each, self.runs) for each in settings), strict=True)
        return [run for seeded in by_seed for run in seeded]


def plans_runs(function: Callable[..., None] | None = None, *, exclude: Collection[str] = ()) -> Any:
    """Give a command the options of a plan and a flag for every setting; it is called with ``options``.

    Args:
        exclude: settings that are no flags here.
    """
    if function is None:
        return partial(plans_runs, exclude=exclude)
    called = function
    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "options"]

    @wraps(function)
    def command(**arguments: Any) -> None:
        mine = {parameter.name: arguments.pop(parameter.name) for parameter in own}
        shared = {name: arguments.pop(name) for name in _SHARED}
        place = ExecutionTarget(shared.pop("engine"), shared.pop("address"), shared.pop("gpus_per_run"))
        given = {name: value for name, value in arguments.items() if value is not None}
        called(options=PlanOptions(given=given, place=place, **shared), **mine)

    shared = [keyword(name, annotation, default) for name, (annotation, default) in _SHARED.items()]
    command.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    return accepts_settings(command, exclude=exclude)


def keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A keyword parameter of a command."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


@dataclass(frozen=True)
class PlanResult:
    """What came of a plan."""

    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The runs that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.run is None)

    def configuration(self, settings: TrainSettings) -> Configuration | None:
        """The finished runs of the plan with these settings, whatever their seed; None where there are none."""
        from mmssl_cli.runs.results import Configuration, configuration_of

        wanted = configuration_of(settings)
        found = {
            outcome.run.seed: outcome.run
            for outcome in self.outcomes
            if outcome.run is not None and configuration_of(outcome.settings) == wanted
        }
        return Configuration(tuple(found[seed] for seed in sorted(found))) if found else None


def settings_for(
    model: str | None, given: Mapping[str, Any], config: Path | None, data_dir: Path, *, prepared: bool = True
) -> TrainSettings:
    """Settings of a run from flags, a file and what is shipped for the data set.

    Args:
        model: the model, whatever flags and file say; settings that it lacks and another model has are left out.
        given: flags, as they were written.
        prepared: prepare the data set if it needs no files, and refuse it if it is not prepared.

    Raises:
        UsageError: an unknown setting, or a value out of its range.
        InputError: the file cannot be read, or the data set is not prepared.
    """
    from_file = read_toml(config) if config else {}
    named = given.get("dataset", from_file.get("dataset"))
    dataset = chosen_dataset(None if named is None else str(named), data_dir)
    if model is None:
        settings = merge_settings({**given, "dataset": dataset}, config)
    else:
        fields = settings_class(model).model_fields
        known = _fields_of_any_model()
        both = {**from_file, **given}
        kept = {key: value for key, value in both.items() if key in fields or key not in known}
        settings = merge_settings({**kept, "dataset": dataset, "model": model})
    if prepared:
        ensure_prepared(settings.dataset, data_dir)
    return settings


def listed(given: Sequence[str] | None) -> list[str]:
    """What a repeated option was given, each of which may be several with commas between."""
    return [part.strip() for value in given or () for part in value.split(",") if part.strip()]


def refuse_idle_flags(models: Sequence[str], given: Mapping[str, Any]) -> None:
    """A flag that none of the models has is an error.

    Raises:
        UsageError: there is one.
    """
    for key in given:
        if not any(key in settings_class(model).model_fields for model in models):
            names = [field.replace("_", "-") for model in models for field in settings_class(model).model_fields]
            shown = key.replace("_", "-")
            raise UsageError(f"None of {', '.join(models)} has a setting {shown!r}: {nearest(shown, set(names))}")


def _fields_of_any_model() -> set[str]:
    from mmssl_cli.config import SETTINGS

    return {field for cls in SETTINGS.values() for field in cls.model_fields}


def carry_out(plan: Sequence[TrainSettings], options: PlanOptions, *, names: Sequence[str] | None = None) -> PlanResult:
    """Reuse what is finished, go on with what was cut off, train the rest.

    Args:
        plan: settings of each run; of equal ones one is made.
        names: what to call the runs; by default model, variant and seed.

    Raises:
        typer.Exit: after a dry run (0) or Ctrl-C (130).
    """
    from mmssl_cli.console.plan import make_plan_reporter
    from mmssl_cli.experiments.plan import RunIndex, distinct, total_seconds

    named = dict(zip(map(id, plan), names, strict=True)) if names else {}
    runs = distinct(plan)
    called = [named.get(id(settings)) or run_name(settings) for settings in runs]
    if options.out is not None:
        _check_out(options.out)
    if options.tensorboard:
        from mmssl_cli.console.tensorboard import summary_writer

        summary_writer()  # a missing package is said before anything is trained
    store = RunIndex(options.runs_dir)
    planned_runs = [store.find(settings, options.data_dir) for settings in runs]
    times = [store.seconds(planned) for planned in planned_runs]
    total = total_seconds(times, options.jobs)
    problems = [f"Run {run.id} is damaged and does not count: {run.problem}" for run in store.damaged_on(runs)]
    problems += dict.fromkeys(problem for planned in planned_runs for problem in planned.problems)
    if options.dry_run:
        for problem in problems:
            print(problem, file=sys.stderr)
        _show_plan(planned_runs, called, times, total, options.as_json)
        raise typer.Exit
    from mmssl_cli.experiments.executor import Engine

    reporter = make_plan_reporter(verbosity())
    crew = options.place.crew(runs, options.data_dir, options.runs_dir, reporter.message)
    engine = Engine(options.data_dir, options.runs_dir, options.jobs, options.tensorboard, crew)
    try:
        for problem in problems:
            reporter.message(problem)
        reporter.begin(planned_runs, called, total)
        return PlanResult(tuple(engine.carry_out(planned_runs, reporter)))
    except KeyboardInterrupt:
        reporter.close()
        print("Interrupted. The same command goes on: finished runs are reused, the rest is resumed.", file=sys.stderr)
        raise typer.Exit(130) from None
    finally:
        reporter.close()


def _check_out(out: Path) -> None:
    """Hours of training are not to end at a folder that cannot be written."""
    from pipelines.io.files import write_problem

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise write_problem(out, problem) from problem
    if not os.access(out, os.W_OK):
        raise InputError(f"The folder {out} cannot be written; choose another --out.")


def _show_plan(
    planned_runs: Sequence[PlannedRun],
    names: Sequence[str],
    times: Sequence[float | None],
    total: float | None,
    as_json: bool,
) -> None:
    from mmssl_cli.console.plan import plan_line
    from mmssl_cli.console.tables import new_table, show
    from mmssl_cli.console.training import clock

    folders = [planned.folder.id if planned.folder else None for planned in planned_runs]
    if as_json:
        rows = zip(names, planned_runs, folders, times, strict=True)
        runs = [{"run": n, "stands": s.status, "in": f, "seconds": t} for n, s, f, t in rows]
        print(json.dumps({"runs": runs, "seconds": total}, indent=2))
        return
    table = new_table()
    for heading in ("Run", "Stands", "In", "Time"):
        table.add_column(heading)
    for planned, name, folder, seconds in zip(planned_runs, names, folders, times, strict=True):
        shown = "unknown" if seconds is None else clock(seconds) if seconds else ""
        table.add_row(name, planned.status, folder or "", shown)
    show(table)
    print(f"\n{plan_line([planned.status for planned in planned_runs], total)}")
