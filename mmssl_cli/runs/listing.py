"""List the runs of a folder, and find one by its id, a prefix of it or a path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mmssl_cli.runs.folder import FILES, METRICS, RESULT, RunFolder
from mmssl_cli.runs.notes import read_note
from mmssl_cli.text import first_of, model_label, nearest_of_many
from pipelines.errors import InputError, UsageError
from pipelines.io.files import expanded

LATEST = "latest"
RUNNING, INTERRUPTED, FAILED, DAMAGED, DIVERGED = "running", "interrupted", "failed", "damaged", "diverged"
FINISHED, STOPPED = "finished", "stopped"
STATUSES = (FINISHED, STOPPED, DIVERGED, RUNNING, INTERRUPTED, FAILED, DAMAGED)
#: Those of runs that a plan resumes.
RESUMABLE = (INTERRUPTED, FAILED)


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run.

    Attributes:
        label: model, variant, plug-ins and preset, as tables show them.
        select_on: the validation metric that selects its model, such as recall@20.
        status: of result.json (finished, stopped, diverged, ...), else running, interrupted, failed or damaged.
        epochs: epochs trained so far.
        seconds: time in those epochs; None where unknown.
        validation: metrics of the best epoch so far.
        test: metrics of the best epoch, once the run is over.
        problem: why a damaged run cannot be read, or why another failed.
        note: the text of `mmssl runs note`.
        settings: content of config.toml.
        data: start of the digest of the data set that it was trained on.
    """

    id: str
    path: Path
    status: str
    started: float
    model: str = ""
    variant: str = ""
    label: str = ""
    dataset: str = ""
    seed: int | None = None
    select_on: str = ""
    epochs: int = 0
    seconds: float | None = None
    validation: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    note: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    data: str = ""


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """List the runs in a folder, newest first, damaged ones as such; a missing folder holds none.

    Raises:
        InputError: the folder cannot be read.
    """
    return sorted(map(summarize, _folders(runs_dir)), key=lambda run: (run.started, run.id), reverse=True)


def _folders(runs_dir: Path) -> list[Path]:
    try:
        return sorted(path for path in runs_dir.iterdir() if _looks_like_a_run(path))
    except FileNotFoundError:
        return []
    except NotADirectoryError as problem:
        raise InputError(f"{runs_dir} is a file; expected the folder of the runs as --runs-dir.") from problem
    except OSError as problem:
        raise InputError(f"Cannot list the runs in {runs_dir}: {problem.strerror}.") from problem


def _looks_like_a_run(path: Path) -> bool:
    return not path.name.startswith(".") and any((path / name).exists() for name in FILES)


def summarize(path: Path) -> RunSummary:
    """Summarize one run; a damaged one raises nothing."""
    run = RunFolder(path)
    started = path.stat().st_mtime
    known: dict[str, Any] = {}
    try:
        config, provenance = run.read_config()
        started = _timestamp(provenance.get("started"), started)
        keys = ("model", "variant", "dataset", "select_on")
        known.update({key: str(config.get(key, "")) for key in keys}, label=model_label(config))
        known.update(settings=config, note=read_note(path), data=data_digest(provenance)[:12])
        seed = config["seed"] if isinstance(config.get("seed"), int) else None
        return RunSummary(run.id, path, started=started, seed=seed, **known, **_progress(run, known["select_on"]))
    except InputError as problem:
        return RunSummary(run.id, path, DAMAGED, started, problem=str(problem), **known)


def data_digest(provenance: Mapping[str, Any]) -> str:
    """Return the digest of the data that a run was trained on, from its provenance; of earlier runs the manifest's."""
    return str(provenance.get("content_digest") or provenance.get("manifest_digest") or "")


def _progress(run: RunFolder, select_on: str) -> dict[str, Any]:
    running = run.is_locked()
    if (run.path / RESULT).exists():
        result = run.read_result()
        each = result.get("seconds_per_epoch")
        return {
            "status": RUNNING if running else result["status"],
            "epochs": result["epochs"],
            "seconds": each * result["epochs"] if isinstance(each, int | float) else None,
            "validation": result["validation"],
            "test": result["test"],
        }
    problem = "" if running else run.failure()
    progress: dict[str, Any] = {"problem": problem}
    progress["status"] = RUNNING if running else FAILED if problem else INTERRUPTED
    if (run.path / METRICS).exists():
        epochs = run.read_epochs()
        progress |= {"epochs": len(epochs["epoch"]), "seconds": sum(epochs["seconds"])}
        progress["validation"] = _best_so_far(epochs, f"validation/{select_on}")
    return progress


def _best_so_far(epochs: Mapping[str, Sequence[float]], selecting: str) -> dict[str, float]:
    """The validation metrics of the best epoch, the first of equals; empty before the first validation."""
    scores = epochs.get(selecting, ())
    validated = [row for row, score in enumerate(scores) if not math.isnan(score)]
    if not validated:
        return {}
    best = max(validated, key=lambda row: scores[row])
    start = "validation/"
    return {name.removeprefix(start): values[best] for name, values in epochs.items() if name.startswith(start)}


def _timestamp(started: Any, otherwise: float) -> float:
    try:
        moment = datetime.fromisoformat(started) if isinstance(started, str) else started
        return moment.timestamp()
    except (ValueError, AttributeError):
        return otherwise


def resolve_run(argument: str, runs_dir: Path) -> RunFolder:
    """Find a run by its id, a prefix of exactly one id, ``latest``, or a path.

    Raises:
        UsageError: no run matches, or more than one does.
        InputError: the path is not a run, or the latest run is damaged.
    """
    if argument == LATEST:
        return _latest(runs_dir)
    path = Path(argument)
    if argument and (len(path.parts) > 1 or path.is_absolute() or argument.startswith((".", "~"))):
        return RunFolder.open(expanded(path))
    ids = [folder.name for folder in _folders(runs_dir)]
    if argument in ids:
        return RunFolder.open(runs_dir / argument)
    starting = [run_id for run_id in ids if argument and run_id.startswith(argument)]
    if len(starting) == 1:
        return RunFolder.open(runs_dir / starting[0])
    if starting:
        raise UsageError(f"{argument!r} matches {len(starting)} runs: {first_of(starting)}; use a longer prefix.")
    if argument and path.is_dir():
        return RunFolder.open(path)
    if not ids:
        raise UsageError(f"There is no run {argument!r}: {runs_dir} holds no runs; `mmssl train` makes one.")
    raise UsageError(f"There is no run {argument!r} in {runs_dir}: {nearest_of_many(argument, ids[::-1], 'run')}")


def _latest(runs_dir: Path) -> RunFolder:
    listed = list_runs(runs_dir)
    if not listed:
        raise UsageError(f"There is no latest run: {runs_dir} holds no runs; `mmssl train` makes one.")
    latest = listed[0]
    if latest.status == DAMAGED:
        raise InputError(
            f"The latest run, {latest.id}, is damaged: {latest.problem} Name another run, or remove this one with "
            f"`mmssl runs rm {latest.id} --runs-dir {runs_dir}`."
        )
    return RunFolder.open(latest.path)
