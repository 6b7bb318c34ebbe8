"""Reuse, resume or train one run of a plan."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mmssl_cli.config import TrainSettings
from mmssl_cli.console.training import Reporter
from mmssl_cli.experiments.plan import PlannedRun, RunIndex
from mmssl_cli.runs.results import identity
from mmssl_cli.training.checkpoint import CheckpointError
from mmssl_cli.training.loop import DivergedError
from mmssl_cli.training.trainer import resume_run, train_run
from pipelines.errors import InputError
from pipelines.io.files import write_problem
from pipelines.io.locks import LockedError, held


def ensure_run(settings: TrainSettings, data_dir: Path, runs_dir: Path, reporter: Reporter) -> Path:
    """Return the folder of a finished run of these settings; resume or train it where there is none.

    The run is claimed first, so that of two plans with the same run only one trains it.

    Raises:
        LockedError: another process trains this run; try again later.
        DivergedError: a run of these settings diverged.
        MmsslError: the training failed.
    """
    with held(_claim(settings, runs_dir), f"A run of {settings.model} with seed {settings.seed}", passing=True):
        return _from(RunIndex(runs_dir).find(settings, data_dir), data_dir, runs_dir, reporter)


def _from(planned: PlannedRun, data_dir: Path, runs_dir: Path, reporter: Reporter) -> Path:
    settings, folder = planned.settings, planned.folder
    if folder is not None and planned.status == "finished":
        return folder.path
    if folder is not None and planned.status == "running":
        raise LockedError(f"Run {folder.id} is being trained by another process.")
    if folder is not None and planned.status == "diverged":
        raise DivergedError(
            f"{folder.read_result().get('problem', 'It diverged')}. It would do so again: change a setting, or "
            f"remove {folder.path} to retry."
        )
    if folder is not None:
        try:
            return resume_run(folder.path, {}, data_dir=data_dir, reporter=reporter).folder
        except CheckpointError as problem:
            reporter.message(f"Run {folder.id} cannot be resumed and is trained anew. {problem}")
    return train_run(settings, data_dir, runs_dir, reporter=reporter).folder


def _claim(settings: TrainSettings, runs_dir: Path) -> Path:
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as problem:
        raise InputError(f"{runs_dir} is a file; expected the folder of the runs as --runs-dir.") from problem
    except OSError as problem:
        raise write_problem(runs_dir, problem) from problem
    return runs_dir / f".claim-{hashlib.sha256(repr(identity(settings)).encode()).hexdigest()[:32]}"
