"""`mmssl train`: settings from flags and a file, then one training or several, then the test metrics."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mmssl_cli.commands.execution_options import Address, EngineName, ExecutionTarget, GpusPerRun
from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    DataDir,
    RunsDir,
    accepts_settings,
    chosen_dataset,
    shipped_line,
)
from mmssl_cli.commands.plan_options import Jobs, PlanOptions
from mmssl_cli.commands.prepared_data import ensure_prepared
from mmssl_cli.commands.resume_command import Session
from mmssl_cli.config import RUNTIME_FIELDS, TrainSettings, build_settings, merge_settings, read_toml
from mmssl_cli.console.errors import disk_is_full
from mmssl_cli.console.results import present
from mmssl_cli.console.verbosity import verbosity
from mmssl_cli.distributed import torchrun
from pipelines.errors import InputError, MmsslError, UsageError

if TYPE_CHECKING:
    from mmssl_cli.console.training import Reporter
    from mmssl_cli.training.trainer import RunResult

#: What a resumed run may change: how long it trains and where, never what it computes.
RESUMABLE = ("epochs", "patience", *RUNTIME_FIELDS)
_RESUMABLE_FLAGS = ", ".join(name.replace("_", "-") for name in RESUMABLE)


@accepts_settings
def train(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="TOML file of settings; flags are stronger."),
    ] = None,
    runs: Annotated[
        int,
        typer.Option(
            "--runs",
            min=1,
            metavar="N",
            help="Train N times, with seed, seed + 1, ...; report mean and deviation.",
        ),
    ] = 1,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help=f"Go on with a run that was cut off; only {_RESUMABLE_FLAGS} may change.",
        ),
    ] = None,
    continued: Annotated[
        bool,
        typer.Option(
            "--continue",
            help="Count the seeds that runs of the same settings have finished already, and go on with one that was "
            "cut off.",
        ),
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Write every epoch for TensorBoard also, into RUN/tensorboard; it comes with "
            + escape("pip install 'mmssl[tensorboard]'."),
        ),
    ] = False,
    distributed: Annotated[
        bool,
        typer.Option(
            "--distributed",
            help="Share out each batch among the processes that torchrun starts, one a GPU; the numbers are those of "
            "one process, to rounding.",
        ),
    ] = False,
    jobs: Jobs = 1,
    engine: EngineName = "local",
    address: Address = None,
    gpus_per_run: GpusPerRun = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    **flags: Any,
) -> None:
    """Train a model on a prepared data set and report its test metrics.

    Every setting is a flag and, under the same name, a key of the --config file. The strongest wins: flags,
    then the file, then the settings shipped for the data set and model, then the defaults shown here. The
    data set is --dataset, else the file's, else $MMSSL_DATASET, else the default of datasets.toml.

    With --jobs above 1 or --engine ray the --runs are trained at once, and go on as with --continue. One model on
    several GPUs, one process each: torchrun --nproc-per-node 2 -m mmssl_cli train --distributed

    Example: mmssl train --dataset tiktok --model mmssl --variant w/o-GT --runs 5

    Example: mmssl train --config my.toml --lr 5e-4
    """
    from mmssl_cli.console.training import make_reporter

    given = {name: value for name, value in flags.items() if value is not None}
    if resume is not None and (runs > 1 or continued):
        raise UsageError("--resume goes on with one run; leave out --runs and --continue.")
    place = ExecutionTarget(engine, address, gpus_per_run)
    if jobs > 1 or place.engine != "local":
        if resume is not None or distributed:
            raise UsageError("--jobs and --engine train several runs at once; leave out --resume and --distributed.")
        options = PlanOptions(given, place, runs, jobs, False, config, None, as_json, tensorboard, data_dir, runs_dir)
        return _at_once(options)
    torchrun.check(distributed, runs > 1 or continued)
    session = Session(given, config, runs, data_dir, runs_dir, distributed)
    if distributed and torchrun.rank():
        return _follow(session, resume)
    reporter = make_reporter(verbosity())
    if tensorboard:
        reporter = _also_to_tensorboard(reporter, runs_dir, resume)
    try:
        _lead(session, resume, reporter, continued)
    except KeyboardInterrupt:
        reporter.close()
        print(session.interruption(reporter.info), file=sys.stderr)
        raise typer.Exit(130) from None
    except (MmsslError, OSError) as problem:
        reporter.close()
        if session.results:
            print(f"{session.place()} failed; {session.finished()}.", file=sys.stderr)
        run = session.under_way(reporter.info)
        if run is not None and disk_is_full(problem):
            raise InputError(
                f"The disk is full: {runs_dir / run} cannot be written; free some space, then go on with: "
                f"{session.command(run)}"
            ) from problem
        if run is not None and _lost_another(problem):
            torchrun.ignore_sigterm()
            raise MmsslError(f"{problem} Go on with: {session.command(run)}") from problem
        raise
    finally:
        reporter.close()
    present(session.results, as_json)


def _at_once(options: PlanOptions) -> None:
    """Train the seeds as a plan.

    Raises:
        typer.Exit: a run failed (1), or Ctrl-C (130).
    """
    from mmssl_cli.commands.seeds import train_seeds

    settings = _merge(options.given, options.config, options.data_dir)
    ensure_prepared(settings.dataset, options.data_dir)
    results = train_seeds(settings, options)
    if results:
        present(results, options.as_json)
    if len(results) < options.runs:
        raise typer.Exit(1)


def _lead(session: Session, resume: str | None, reporter: Reporter, continued: bool = False) -> None:
    if session.distributed:
        from mmssl_cli.training.process_group import join

        join()
    if resume is not None:
        session.results.append(_resume(resume, session, reporter))
    else:
        _train(session, reporter, continued)
    if session.distributed:
        from mmssl_cli.training.process_group import part

        part()


def _follow(session: Session, resume: str | None) -> None:
    """Train along with the leading process, and say only what went wrong on this one alone."""
    from mmssl_cli.console.training import Reporter
    from mmssl_cli.distributed.collectives import LostError
    from mmssl_cli.training.process_group import ReportedByRankZero

    try:
        _lead(session, resume, Reporter())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (ReportedByRankZero, LostError) as problem:
        torchrun.ignore_sigterm()
        raise typer.Exit(problem.exit_code) from problem
    except MmsslError as problem:
        raise MmsslError(f"Process {torchrun.rank()}: {problem}") from problem


def _together(session: Session) -> AbstractContextManager[None]:
    """A block whose problems are those of all processes; one process alone need not import PyTorch for it."""
    if not session.distributed:
        return nullcontext()
    from mmssl_cli.training.process_group import together

    return together()


def _lost_another(problem: Exception) -> bool:
    return type(problem).__name__ == "LostError"  # its module imports PyTorch, which may not have been needed yet


def _also_to_tensorboard(reporter: Reporter, runs_dir: Path, resume: str | None) -> Reporter:
    from mmssl_cli.console.tensorboard import with_tensorboard
    from mmssl_cli.runs.folder import RunFolder
    from mmssl_cli.runs.listing import resolve_run

    # A run that is resumed by its path need not lie in the folder of the runs.
    folder = resolve_run(resume, runs_dir).path.resolve().parent if resume is not None else runs_dir
    return with_tensorboard(reporter, folder, lambda run: RunFolder(run).read_metrics())


def _train(session: Session, reporter: Reporter, continued: bool) -> None:
    with _together(session):
        settings = _merge(session.given, session.config, session.data_dir)
        chosen = {*session.given, *(read_toml(session.config) if session.config else ())}
        if line := shipped_line(settings, chosen):
            reporter.message(line)
        if not (session.distributed and torchrun.rank()):
            ensure_prepared(settings.dataset, session.data_dir)
    for number in range(session.runs):
        session.seed = settings.seed + number
        seeded = build_settings({**settings.model_dump(), "seed": session.seed})
        session.results.append(_train_one(seeded, session, reporter, continued))


def _train_one(settings: TrainSettings, session: Session, reporter: Reporter, continued: bool) -> RunResult:
    # torch: only once the settings are right
    from mmssl_cli.training.trainer import RunResult, train_run

    if not continued:
        return train_run(settings, session.data_dir, session.runs_dir, reporter=reporter)
    from mmssl_cli.experiments.ensure_run import ensure_run
    from mmssl_cli.experiments.plan import RunIndex
    from mmssl_cli.runs.folder import RunFolder

    planned = RunIndex(session.runs_dir).find(settings, session.data_dir)
    for problem in planned.problems:
        reporter.message(problem)
    folder = ensure_run(settings, session.data_dir, session.runs_dir, reporter)
    if planned.run is not None:
        reporter.message(f"Seed {settings.seed} is finished already: run {planned.run.id}")
    return RunResult(folder, RunFolder.open(folder).read_result())


def _merge(given: Mapping[str, Any], config: Path | None, data_dir: Path) -> TrainSettings:
    named = given.get("dataset", read_toml(config).get("dataset") if config else None)
    name = chosen_dataset(None if named is None else str(named), data_dir)
    return merge_settings({**given, "dataset": name}, config)


def _resume(argument: str, session: Session, reporter: Reporter) -> RunResult:
    from mmssl_cli.runs.listing import resolve_run

    with _together(session):
        run = resolve_run(argument, session.runs_dir)
        from_file = read_toml(session.config) if session.config else {}
        changed = changed_settings(run.settings(), {**from_file, **session.given})
        refused = [name for name in changed if name not in RESUMABLE]
        if refused:
            what = ", ".join(
                f"{name.replace('_', '-')} ({changed[name][0]}, not {changed[name][1]})" for name in refused
            )
            raise UsageError(
                f"Run {run.id} was trained with another {what}; a resumed run keeps its settings, only "
                f"{_RESUMABLE_FLAGS} may change. Leave these out, or start a new run."
            )
    from mmssl_cli.training.trainer import resume_run

    overrides = {name: new for name, (_, new) in changed.items()}
    return resume_run(run.path, overrides, data_dir=session.data_dir, reporter=reporter)


def changed_settings(saved: TrainSettings, given: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings among ``given`` that differ from the saved ones: name -> (saved value, given value).

    Raises:
        UsageError: a given setting does not exist or is out of its range.
    """
    # Another model has other settings: the comparison is made within the run's own model.
    checked = build_settings({**saved.model_dump(), **given, "model": saved.model})
    pairs = {name: (getattr(saved, name), getattr(checked, name)) for name in given if name != "model"}
    if "model" in given:
        pairs["model"] = (saved.model, given["model"])
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}
