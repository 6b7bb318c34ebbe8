"""`mmssl analyze`: the paper's theory measured on a run: gradients of negatives, transferability, cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    AsJson,
    DataDir,
    Out,
    RunsDir,
    chosen_dataset,
    place_flags,
)
from mmssl_cli.console.lines import warn
from mmssl_cli.console.sections import present_section
from mmssl_cli.console.verbosity import Verbosity, verbosity
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.listing import resolve_run
from mmssl_cli.runs.results import FinishedRun, finished_runs
from mmssl_cli.studies.diagnostics.record import Cost, read_analysis, write_analysis
from mmssl_cli.studies.run_selection import OURS, is_full
from pipelines.errors import InputError, UsageError

LATEST = "latest"


def analyze(
    run: Annotated[
        str,
        typer.Argument(
            metavar="[RUN]",
            help="Id, id prefix, or path; by default, or as latest, the newest finished run of the full MMSSL.",
        ),
    ] = LATEST,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME",
            help="Data set whose newest run is analysed if none is named. By default the default data set, or any "
            "other if that has no run.",
        ),
    ] = None,
    users: Annotated[
        int, typer.Option("--users", min=2, metavar="N", help="Users to sample for gradients and transferability.")
    ] = 1024,
    cost: Annotated[
        bool | None,
        typer.Option(
            "--cost/--no-cost",
            help="Time steps on data of growing size: --cost again, --no-cost never; by default once.",
        ),
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Analyse a finished run of MMSSL: measure what the paper's theory predicts.

    The gradients of the negatives in the contrast beside the weight of Eq. 21 (Fig. 5), the transfer from the
    modalities' views to the collaborative one (Eq. 24), and the cost of a training step by the size of the data (A.3).

    The analysis is stored as analysis.json in the run's folder, where `mmssl report` finds it. A measured cost is
    kept; `--cost` measures it again.

    Example: mmssl analyze latest --users 200 --no-cost
    """
    chosen = _newest(dataset, data_dir, runs_dir) if run == LATEST else _named(run, dataset, runs_dir)
    from mmssl_cli.studies.diagnostics.analysis import analyse  # PyTorch, once there is a run
    from mmssl_cli.studies.diagnostics.section import analysis_section

    known = _known_cost(chosen.folder)
    analysis = analyse(chosen, data_dir, users, known is None if cost is None else cost, _say)
    if analysis.cost is None and known is not None:
        analysis = analysis.model_copy(update={"cost": known})
    present_section(analysis_section(analysis, place_flags(data_dir, runs_dir)), out, as_json)
    write_analysis(chosen.folder, analysis)  # last: where it cannot be written, it was at least shown


def _named(argument: str, dataset: str | None, runs_dir: Path) -> FinishedRun:
    if dataset is not None:
        raise UsageError("--dataset chooses among all runs; leave it out, or name no run.")
    folder = resolve_run(argument, runs_dir)
    trained = folder.read_config()[0]["model"]
    if trained != OURS:
        raise UsageError(
            f"Run {folder.id} is of model {trained!r}; expected a run of {OURS!r}, whose equations are analysed."
        )
    if not folder.is_over() or folder.is_locked():
        raise InputError(
            f"Run {folder.id} is not finished; let it finish, or resume it: `mmssl train --resume {folder.id}`."
        )
    return FinishedRun.read(folder)


def _newest(dataset: str | None, data_dir: Path, runs_dir: Path) -> FinishedRun:
    """Return the newest finished run of the full model: on a data set, else on the default one, else on any."""
    wanted = chosen_dataset(dataset, data_dir)
    found, problems = finished_runs(runs_dir)
    full = [run for run in found if is_full(run.settings)]
    here = [run for run in full if run.settings.dataset == wanted] or ([] if dataset is not None else full)
    if here:
        taken = here[0]
        _say(f"Run {taken.id}: the newest finished run of the full {OURS} on {taken.settings.dataset}")
        return taken
    on, flag = ("", "") if dataset is None else (f" on {wanted}", f" --dataset {wanted}")
    command = f"mmssl train{flag}{place_flags(data_dir, runs_dir)}"
    raise UsageError(
        " ".join([f"{runs_dir} holds no finished run of the full {OURS}{on}; `{command}` makes one.", *problems[:1]])
    )


def _known_cost(folder: RunFolder) -> Cost | None:
    """Return the cost of an earlier analysis; None if there is none or it is damaged."""
    try:
        found = read_analysis(folder)
    except InputError as problem:
        _say(str(problem))
        return None
    return found.cost if found is not None else None


def _say(text: str) -> None:
    if verbosity() is not Verbosity.QUIET:
        warn(text)
