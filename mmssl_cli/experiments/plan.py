"""Plans: lists of settings, a run each, and the status of these runs in a folder of runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmssl_cli.config import INERT_FIELDS, TrainSettings, build_settings
from mmssl_cli.runs.data_match import changed_code, check_same_data
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.listing import DAMAGED, DIVERGED, INTERRUPTED, RESUMABLE, RUNNING, RunSummary, list_runs
from mmssl_cli.runs.results import FinishedRun, identity
from pipelines.errors import InputError

#: Seconds from the start of a process to its first epoch.
_START_UP = 5.0

Status = Literal["finished", "running", "interrupted", "diverged", "missing"]
#: Status of a run that is not finished -> that in a plan.
_UNFINISHED = {RUNNING: RUNNING, DIVERGED: DIVERGED} | dict.fromkeys(RESUMABLE, INTERRUPTED)


@dataclass(frozen=True)
class PlannedRun:
    """A run of a plan, and its status in the folder of runs.

    Attributes:
        status: finished (it is reused), running (another process trains it), interrupted or failed (it is resumed),
            diverged (it would diverge again) or missing (it is trained).
        folder: of the run; None for a missing one.
        run: the finished run.
        epochs: epochs trained so far.
        problems: a sentence on each run of these settings that does not count.
    """

    settings: TrainSettings
    status: Status
    folder: RunFolder | None = None
    run: FinishedRun | None = None
    epochs: int = 0
    problems: tuple[str, ...] = ()


def over_seeds(settings: TrainSettings, runs: int) -> list[TrainSettings]:
    """Return the settings with seeds ``seed``, ``seed + 1``, ...: ``runs`` of them."""
    return [build_settings({**settings.model_dump(), "seed": settings.seed + number}) for number in range(runs)]


def run_name(settings: TrainSettings) -> str:
    """Return the name of a run among others: ``mmssl on tiktok, seed 2023``."""
    return f"{settings.label} on {settings.dataset}, seed {settings.seed}"


def distinct(plan: Mapping[str, TrainSettings]) -> dict[str, TrainSettings]:
    """Return the runs of a plan by name, each once under its first name."""
    once: dict[Any, tuple[str, TrainSettings]] = {}
    for name, settings in plan.items():
        once.setdefault(identity(settings), (name, settings))
    return dict(once.values())


class RunIndex:
    """The runs of a folder at this moment, by their identity.

    Raises:
        InputError: the folder cannot be read.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.damaged: list[RunSummary] = []
        self._runs: dict[Any, list[tuple[RunSummary, RunFolder]]] = {}
        self._settings: list[tuple[TrainSettings, RunSummary]] = []
        for summary in list_runs(runs_dir):  # newest first
            if summary.status == DAMAGED:
                self.damaged.append(summary)
                continue
            folder = RunFolder.open(summary.path)
            try:
                settings = folder.settings()
            except InputError:  # settings of another version of this program
                continue
            self._runs.setdefault(identity(settings), []).append((summary, folder))
            self._settings.append((settings, summary))

    def find(self, settings: TrainSettings, data_dir: Path) -> PlannedRun:
        """Find the run of these settings: finished before running, interrupted and diverged, and then the newest."""
        found: dict[str, PlannedRun] = {}
        problems: list[str] = []
        for summary, folder in self._runs.get(identity(settings), []):
            try:
                check_same_data(folder, settings, data_dir)
                if (changed := changed_code(folder, settings)) is not None:
                    raise InputError(changed)
                status = _UNFINISHED.get(summary.status, "finished")
                run = FinishedRun.read(folder) if status == "finished" else None
            except InputError as problem:
                problems.append(f"Run {folder.id} does not count. {problem}")
                continue
            found.setdefault(status, PlannedRun(settings, status, folder, run, summary.epochs))  # type: ignore[arg-type]
        for status in ("finished", RUNNING, INTERRUPTED, DIVERGED):
            if status in found:
                return found[status]
        return PlannedRun(settings, "missing", problems=tuple(problems))

    def damaged_on(self, plan: Sequence[TrainSettings]) -> list[RunSummary]:
        """Return the damaged runs that may belong to a plan: on its data sets, or on unknown ones."""
        names = {settings.dataset for settings in plan}
        return [
            run
            for run in self.damaged
            if run.dataset in names or (not run.dataset and any(f"-{name}-" in run.id for name in names))
        ]

    def seconds(self, planned: PlannedRun) -> float | None:
        """Estimate the seconds that a planned run still takes, from the finished runs with the most similar settings.

        None where no run of the same model and data set is finished. A run that ended early by patience is expected
        to do so again; a process takes some seconds to start.
        """
        settings = planned.settings
        if planned.status in ("finished", "diverged"):
            return 0.0
        alike = [
            (_differences(settings, other), summary)
            for other, summary in self._settings
            if summary.test and summary.epochs and summary.seconds is not None
            if (other.model, other.dataset) == (settings.model, settings.dataset)
        ]
        if not alike:
            return None
        nearest = min(distance for distance, _ in alike)
        runs = [summary for distance, summary in alike if distance == nearest]
        epochs = statistics.median(
            min(run.epochs, settings.epochs) if run.status == "stopped" else settings.epochs for run in runs
        )
        each = statistics.median((run.seconds or 0.0) / run.epochs for run in runs)
        return _START_UP + each * max(epochs - planned.epochs, 1)


def total_seconds(times: Sequence[float | None], jobs: int) -> float | None:
    """Estimate the seconds that runs of these lengths take, ``jobs`` at once; None where one is unknown."""
    known = [seconds for seconds in times if seconds is not None]
    if len(known) < len(times):
        return None
    return max(sum(known) / jobs, max(known, default=0.0))


def _differences(first: TrainSettings, second: TrainSettings) -> int:
    apart = {"seed", "epochs", "patience", *INERT_FIELDS}
    a, b = first.model_dump(), second.model_dump()
    return sum(a[name] != b[name] for name in a if name not in apart)
