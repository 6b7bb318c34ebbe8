"""`mmssl runs`: the runs, newest first; show, remove and annotate one."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmssl_cli.commands.options import DEFAULT_RUNS_DIR, AsJson, RunsDir
from mmssl_cli.console.lines import say
from mmssl_cli.console.tables import mean_and_deviation, new_table, show
from mmssl_cli.console.verbosity import Verbosity, verbosity
from mmssl_cli.runs.folder import RESULT, RunFolder
from mmssl_cli.runs.listing import DAMAGED, FINISHED, STATUSES, STOPPED, RunSummary, list_runs, resolve_run, summarize
from mmssl_cli.runs.notes import read_note, write_note
from mmssl_cli.text import companion, metric_label, pluralize, shown_value
from pipelines.errors import InputError, UsageError, nearest
from pipelines.io.files import write_problem

ACTIONS = ("show", "rm", "note")
#: Of result.json, what `runs show` adds to the list's columns.
_OF_RESULT = ("modalities", "best_epoch", "parameters", "seconds_per_epoch", "peak_memory_bytes", "device")


def runs(
    action: Annotated[
        str | None,
        typer.Argument(metavar="[show|rm|note]", help="Show, remove or annotate one run.", show_default=False),
    ] = None,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Id, id prefix, path, or `latest`.", show_default=False)
    ] = None,
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="The note.", show_default=False)] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only runs on a data set.")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Only runs of a model.")] = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help=f"Status to list: {', '.join(STATUSES)}; finished includes stopped (early).",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first, with their metrics. A run that cannot be read is listed as damaged.

    For runs of one model and data set, the settings in which they differ are listed. On a narrow terminal only the
    main columns are shown; -v shows all. `runs show RUN` has everything of one run, `runs rm RUN` removes it, and
    `runs note RUN TEXT` keeps a note with it, which an empty text removes.

    Example: mmssl runs --json

    Example: mmssl runs --dataset demo --status finished
    """
    if action is not None:
        _act(action, run, text, runs_dir, yes=yes, as_json=as_json)
        return
    if status is not None and status.casefold() not in STATUSES:
        raise UsageError(f"--status cannot be {status!r}: {nearest(status, STATUSES)}")
    wanted = {"dataset": dataset, "model": model, "status": status}
    listed = list_runs(runs_dir)
    found = [one for one in listed if _is_like(one, wanted)]
    if as_json:
        print(json.dumps([_plain(one) for one in found], indent=2))
        return
    if not found:
        say(_none_found(runs_dir, listed, wanted))
        return
    table, console = _table(found), Console()
    unbounded = console.options.update(width=10_000)
    narrow = console.is_terminal and console.measure(table, options=unbounded).maximum > console.width
    if not narrow or verbosity() is Verbosity.VERBOSE:
        show(table, wrap=narrow)
    elif console.width < 80:
        _show_two_lines_each(found)
    else:
        show(_narrow_table(found), wrap=True)
    for line in _differences(found):
        say(line)
    for one in found:
        if one.problem:
            say(f"{one.id} {'is damaged' if one.status == DAMAGED else 'failed'}: {one.problem}")
        if one.note:
            say(f"{one.id}: {one.note}")


def _is_like(run: RunSummary, wanted: dict[str, str | None]) -> bool:
    statuses = (STOPPED, FINISHED) if run.status == STOPPED else (run.status,)
    found: dict[str, tuple[str, ...]] = {"dataset": (run.dataset,), "model": (run.model,), "status": statuses}
    unknown = {name for name, values in found.items() if run.status == DAMAGED and not any(values)}
    asked = {name: value for name, value in wanted.items() if value is not None and name not in unknown}
    return all(value.casefold() in map(str.casefold, found[name]) for name, value in asked.items())


def _none_found(runs_dir: Path, listed: Sequence[RunSummary], wanted: dict[str, str | None]) -> str:
    if not listed:
        return f"{runs_dir} holds no runs; `mmssl train` makes one."
    filters = {name: value for name, value in wanted.items() if value is not None}
    there = (f"{name} {', '.join(sorted({getattr(run, name) for run in listed} - {''}))}" for name in filters)
    of = ", ".join(f"{name} {value}" for name, value in filters.items())
    return f"{runs_dir} holds no runs of {of}; it holds some of {'; '.join(there)}."


def _act(action: str, argument: str | None, text: str | None, runs_dir: Path, *, yes: bool, as_json: bool) -> None:
    if action not in ACTIONS:
        raise UsageError(f"There is no action {action!r}: {nearest(action, ACTIONS)}")
    if argument is None:
        raise UsageError(f"`mmssl runs {action}` needs a run: its id, an id prefix, a path, or latest.")
    if (text is None) == (action == "note"):
        raise UsageError("`mmssl runs note RUN TEXT` takes a note in quotes, the other actions take none.")
    if action == "show":
        _show(resolve_run(argument, runs_dir), as_json)
    elif action == "note":
        run = resolve_run(argument, runs_dir)
        write_note(run.path, str(text).strip())
        note = read_note(run.path)
        say(f"{run.id}: {note}" if note else f"The note of {run.id} is removed.")
    else:
        _remove(argument, runs_dir, yes)


def _show(run: RunFolder, as_json: bool) -> None:
    summary = summarize(run.path)
    settings, provenance = run.read_config()
    result = run.read_result() if (run.path / RESULT).is_file() else {}
    kept = {key: result[key] for key in _OF_RESULT if key in result}
    shown = _plain(summary) | kept | {"settings": settings, "provenance": provenance}
    if as_json:
        print(json.dumps(shown, indent=2, default=str))
        return
    table = new_table()
    table.add_column("Key")
    table.add_column("Value", overflow="fold")
    metrics = {
        f"{split} {name}": f"{value:.4f}" for split in ("validation", "test") for name, value in shown[split].items()
    }
    plain = {key: value for key, value in shown.items() if not isinstance(value, dict) and value not in ("", None)}
    limit = {"most epochs": settings["epochs"]} if "epochs" in settings else {}
    others = {key: value for key, value in settings.items() if key.replace("-", "_") not in plain}
    for key, value in {**plain, **metrics, **limit, **others, **provenance}.items():
        table.add_row(
            Text(key.replace("_", "-")), Text(shown_value(tuple(value) if isinstance(value, list) else value))
        )
    show(table, wrap=True)


def _remove(argument: str, runs_dir: Path, yes: bool) -> None:
    listed = {one.id: one.path for one in list_runs(runs_dir)}  # `resolve_run` knows the sound ones alone
    run = RunFolder(listed[argument]) if argument in listed else resolve_run(argument, runs_dir)
    if run.path not in listed.values():
        run.read_config()  # a path may lead to any folder with a config.toml
    if run.is_locked():
        raise InputError(f"Run {run.id} is being trained; stop it first.")
    if not yes and not _confirmed(run):
        raise typer.Abort
    path = run.path.resolve()
    hidden = path.with_name(f".removed-{path.name}")
    try:
        path.rename(hidden)  # it is gone at once, or not at all
        shutil.rmtree(hidden)
    except OSError as problem:
        raise write_problem(path, problem) from problem
    say(f"Removed {run.path}.")


def _confirmed(run: RunFolder) -> bool:
    try:
        return typer.confirm(f"Remove {run.path}?", err=True)
    except typer.Abort as end:
        if sys.stdin.isatty():
            raise
        raise UsageError(f"Nobody answered; add --yes to remove {run.path} without a question.") from end


def _differences(found: Sequence[RunSummary]) -> list[str]:
    """Return a line for each run that looks like another, with the settings in which these differ."""
    alike: dict[tuple[str, str, str], list[RunSummary]] = {}
    for run in found:
        alike.setdefault((run.dataset, run.model, run.variant), []).append(run)
    lines = []
    for (dataset, model, variant), group in alike.items():
        settings = [run.settings | {"preparation of the data": run.data} for run in group]
        keys = dict.fromkeys(key for of in settings for key in of if key not in ("seed", "device"))
        apart = [key for key in keys if len({repr(of.get(key)) for of in settings}) > 1]
        if not apart or not model:
            continue
        lines.append(f"Runs of {' '.join(filter(None, (model, variant)))} on {dataset} differ in:")
        for run, of in zip(group, settings, strict=True):
            values = (f"{key.replace('_', '-')} {_value(of.get(key))}" for key in apart)
            lines.append(f"  {run.id}: {', '.join(values)}")
    return lines


def _value(value: Any) -> str:
    return "default" if value is None else shown_value(tuple(value) if isinstance(value, list) else value)


def _narrow_table(found: Sequence[RunSummary]) -> Table:
    """Return the columns that fit 80 characters; the id of a run names its data set, model, variant and seed."""
    table = new_table()
    table.padding = (0, 2, 0, 0)
    table.add_column("Run", overflow="fold")
    for name in ("Status", "Epochs", "Metric", "Valid", "Test"):
        table.add_column(name, justify="left" if name in ("Status", "Metric") else "right", no_wrap=True)
    for run in found:
        table.add_row(*map(Text, (run.id, run.status, str(run.epochs), run.select_on, *_selecting_scores(run))))
    return table


def _show_two_lines_each(found: Sequence[RunSummary]) -> None:
    """Print the same on a narrower terminal: an id is on a line of its own, to be copied."""
    for run in found:
        scores = " / ".join(_selecting_scores(run))
        print(f"{run.id}\n  {run.status}, {pluralize(run.epochs, 'epoch')}, {run.select_on} {scores}")


def _selecting_scores(run: RunSummary) -> list[str]:
    """Return the metric that selects the model, on validation and on test."""
    metric = run.select_on
    return [mean_and_deviation([of[metric]] if metric in of else []) for of in (run.validation, run.test)]


def _plain(run: RunSummary) -> dict[str, Any]:
    started = datetime.fromtimestamp(run.started).astimezone().isoformat(timespec="seconds")
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in {**asdict(run), "started": started}.items()
        if key != "settings"
    }


def _table(found: list[RunSummary]) -> Table:
    # A column for each metric that selected a model here, and for its companion at the same K.
    selected = list(dict.fromkeys(run.select_on for run in found if "@" in run.select_on))
    tested = list(dict.fromkeys(name for metric in selected for name in (metric, companion(metric))))
    table = new_table()
    for name in ("Run", "Model", "Data set", "Status"):
        table.add_column(name)
    headers = [f"Val\n{metric_label(name)}" for name in selected] + [f"Test\n{metric_label(name)}" for name in tested]
    for name in ("Epochs", *headers, "Seconds"):
        table.add_column(name, justify="right")
    for run in found:
        scores = [*((run.validation, name) for name in selected), *((run.test, name) for name in tested)]
        table.add_row(
            *(Text(text) for text in (run.id, run.label or run.model, run.dataset, run.status)),
            str(run.epochs),
            *(mean_and_deviation([metrics[name]] if name in metrics else []) for metrics, name in scores),
            "-" if run.seconds is None else f"{run.seconds:.1f}",
        )
    return table
