"""`mmssl train`: settings from flags and a file, then one training or several, then the test metrics."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    DataDir,
    RunsDir,
    accepts_settings,
    verbosity,
)
from mmssl_cli.config import TrainSettings, build_settings, merge_settings, read_toml
from pipelines.errors import InputError, UsageError

if TYPE_CHECKING:
    from mmssl_cli.progress import Reporter
    from mmssl_cli.training.trainer import RunResult

#: What a resumed run may change: how long it trains and where, never what it computes.
RESUMABLE = ("epochs", "patience", "device")


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
            help=f"Go on with a run that was cut off; only {', '.join(RESUMABLE)} may change.",
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    **flags: Any,
) -> None:
    """Train a model on a prepared data set and report its test metrics.

    Every setting is a flag and, under the same name, a key of the --config file. The strongest wins: flags,
    then the file, then the settings shipped for the data set and model, then the defaults shown here. The
    data set is --dataset, else the file's, else $MMSSL_DATASET, else the default of datasets.toml.

    Example: mmssl train --dataset tiktok --model mmssl --variant w/o-GT --runs 5

    Example: mmssl train --config my.toml --lr 5e-4
    """
    from mmssl_cli.progress import make_reporter

    given = {name: value for name, value in flags.items() if value is not None}
    if resume is not None and runs > 1:
        raise UsageError("--resume goes on with one run; leave out --runs.")
    reporter = make_reporter(verbosity())
    try:
        if resume is not None:
            results = [_resume(resume, given, config, data_dir, runs_dir, reporter)]
        else:
            results = _train(given, config, runs, data_dir, runs_dir, reporter)
    except KeyboardInterrupt:
        reporter.close()
        _say_how_to_resume(reporter.info, data_dir, runs_dir)
        raise typer.Exit(130) from None
    finally:
        reporter.close()
    _show(results)


def _train(
    given: dict[str, Any], config: Path | None, runs: int, data_dir: Path, runs_dir: Path, reporter: Reporter
) -> list[RunResult]:
    settings = _merge(given, config, data_dir)
    _ensure_prepared(settings.dataset, data_dir, reporter)
    from mmssl_cli.training.trainer import train_run  # torch: only once the settings are right

    results = []
    for number in range(runs):
        seeded = build_settings({**settings.model_dump(), "seed": settings.seed + number})
        results.append(train_run(seeded, data_dir, runs_dir, reporter=reporter))
    return results


def _merge(given: dict[str, Any], config: Path | None, data_dir: Path) -> TrainSettings:
    from pipelines.catalog import resolve_dataset

    named = given.get("dataset", read_toml(config).get("dataset") if config else None)
    name = resolve_dataset(None if named is None else str(named), data_dir)
    return merge_settings({**given, "dataset": name}, config)


def _ensure_prepared(dataset: str, data_dir: Path, reporter: Reporter) -> None:
    """Generate a data set that needs no files; for any other, say how to prepare it.

    Raises:
        InputError: the data set must be prepared first.
    """
    from pipelines.catalog import load_catalog, prepared_names

    if dataset in prepared_names(data_dir):
        return
    entry = load_catalog().entries[dataset]
    if entry.source != "demo":
        raise InputError(
            f"Data set {dataset!r} is not prepared in {data_dir}; run `mmssl prep {dataset} --from DIR"
            f"{_data_dir_flag(data_dir)}` with the folder of its files."
        )
    from pipelines.prepare import prepare

    prepare(dataset, data_dir=data_dir, report=reporter.message)


def _resume(
    argument: str,
    given: dict[str, Any],
    config: Path | None,
    data_dir: Path,
    runs_dir: Path,
    reporter: Reporter,
) -> RunResult:
    from mmssl_cli.experiments.store import resolve_run

    run = resolve_run(argument, runs_dir)
    changed = changed_settings(run.settings(), {**(read_toml(config) if config else {}), **given})
    refused = [name for name in changed if name not in RESUMABLE]
    if refused:
        what = ", ".join(f"{name.replace('_', '-')} ({changed[name][0]}, not {changed[name][1]})" for name in refused)
        raise UsageError(
            f"Run {run.id} was trained with another {what}; a resumed run keeps its settings, only "
            f"{', '.join(RESUMABLE)} may change. Leave these out, or start a new run."
        )
    from mmssl_cli.training.trainer import resume_run

    overrides = {name: new for name, (_, new) in changed.items()}
    return resume_run(run.path, overrides, data_dir=data_dir, reporter=reporter)


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


def _say_how_to_resume(info: Mapping[str, Any], data_dir: Path, runs_dir: Path) -> None:
    if "run" not in info:
        print("Interrupted before training began; nothing was saved.", file=sys.stderr)
        return
    flags = _data_dir_flag(data_dir) + (f" --runs-dir {runs_dir}" if runs_dir != DEFAULT_RUNS_DIR else "")
    print(f"Interrupted. Go on with: mmssl train --resume {info['run']}{flags}", file=sys.stderr)


def _data_dir_flag(data_dir: Path) -> str:
    return f" --data-dir {data_dir}" if data_dir != DEFAULT_DATA_DIR else ""


def _show(results: Sequence[RunResult]) -> None:
    from rich.console import Console

    from mmssl_cli.reporting.tables import metrics_table

    first = results[0].record
    seeds = ", ".join(str(result.record["seed"]) for result in results)
    title = f"Test metrics of {first['model']} on {first['dataset']}, "
    title += f"seed {seeds}" if len(results) == 1 else f"mean ± deviation over seeds {seeds}"
    console = Console(highlight=False)
    console.print(metrics_table([result.record["test"] for result in results], title), soft_wrap=True)
    console.print()
    for result in results:
        console.print(f"Run     {result.folder}", soft_wrap=True, markup=False)
        for curves in ("curves.png", "curves.svg"):
            console.print(f"Curves  {result.folder / curves}", soft_wrap=True, markup=False)
