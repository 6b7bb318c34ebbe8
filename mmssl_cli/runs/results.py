"""Finished runs, and configurations: groups of runs that differ in their seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmssl_cli.config import INERT_FIELDS, TrainSettings
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.runs.listing import DAMAGED, DIVERGED, RESUMABLE, RUNNING, list_runs
from mmssl_cli.text import OF_ALL_LISTS, pluralize
from pipelines.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def identity(settings: TrainSettings) -> tuple[tuple[str, Any], ...]:
    """Settings without those that change nothing; two runs with one identity are the same experiment."""
    return tuple((name, value) for name, value in settings.model_dump().items() if name not in INERT_FIELDS)


def configuration_of(settings: TrainSettings) -> tuple[tuple[str, Any], ...]:
    """The identity without the seed, shared by the runs of a configuration."""
    return tuple(pair for pair in identity(settings) if pair[0] != "seed")


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run with its test metrics; its tables are read on first use."""

    folder: RunFolder
    settings: TrainSettings
    result: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @classmethod
    def read(cls, folder: RunFolder) -> FinishedRun:
        """Read the run in a folder and check its tables.

        Raises:
            InputError: the run is not over, diverged, or one of its files is missing or damaged.
        """
        result = folder.read_result()
        if not result["test"]:
            raise InputError(f"Run {folder.id} has no test metrics: {result.get('problem') or result['status']}.")
        run = cls(folder, folder.settings(), result, folder.read_config()[1])
        folder.check_model()
        if len(run.metrics) < result["epochs"]:
            raise InputError(f"{folder.path} is damaged: its metrics end before its last epoch.")
        of_users = [name for name in result["test"] if name.partition("@")[0] not in OF_ALL_LISTS]
        missing = [name for name in of_users if name not in run.per_user]
        if missing:
            raise InputError(f"{folder.path} is damaged: its per_user.parquet has no {', '.join(missing)}.")
        return run

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def label(self) -> str:
        """Model, variant, plug-ins and preset, as tables and legends show them."""
        return self.settings.label

    @property
    def test(self) -> dict[str, float]:
        """Test metrics of the selected epoch: ``{"recall@20": ...}``."""
        return dict(self.result["test"])

    @property
    def seconds(self) -> float:
        """Time spent in its epochs."""
        return float(self.metrics["seconds"].sum())

    @property
    def processor_seconds(self) -> float | None:
        """Processor time of its epochs; None where an epoch did not record it."""
        if "processor_seconds" not in self.metrics:
            return None
        seconds = float(self.metrics["processor_seconds"].sum(skipna=False))
        return None if math.isnan(seconds) else seconds

    @cached_property
    def per_user(self) -> pd.DataFrame:
        """Test users: ``user``, ``train_degree``, and a column a metric."""
        return self.folder.read_per_user()

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row per epoch, as metrics.parquet has them."""
        return self.folder.read_metrics()


@dataclass(frozen=True, eq=False)
class Configuration:
    """Runs of the same settings with different seeds, by rising seed; at least one."""

    runs: tuple[FinishedRun, ...]

    @property
    def settings(self) -> TrainSettings:
        """Settings of the first run; the others differ in the seed."""
        return self.runs[0].settings

    @property
    def label(self) -> str:
        return self.runs[0].label

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    @property
    def seeds_text(self) -> str:
        """The seeds, separated by commas."""
        return ", ".join(map(str, self.seeds))

    def test(self, metric: str) -> list[float]:
        """A test metric of each run, by seed; of the runs that measured it."""
        return [run.test[metric] for run in self.runs if metric in run.test]

    def validation(self, metric: str) -> list[float]:
        """A validation metric of the selected epoch of each run, by seed; of the runs that measured it."""
        scores = [run.result["validation"].get(metric) for run in self.runs]
        return [score for score in scores if score is not None]

    def per_user(self, metric: str) -> pd.Series:
        """A test metric of each user (the index), the mean over the runs.

        Raises:
            InputError: a run did not measure it, or the runs tested different users.
        """
        columns = []
        for run in self.runs:
            if metric not in run.per_user:
                raise InputError(f"Run {run.id} did not measure {metric}; train it with its K in --ks.")
            columns.append(run.per_user.set_index("user")[metric])
        if any(not column.index.equals(columns[0].index) for column in columns):
            raise InputError(f"The runs {', '.join(run.id for run in self.runs)} tested different users.")
        mean: pd.Series = sum(columns[1:], start=columns[0]) / len(columns)
        return mean

    def degrees(self) -> pd.Series:
        """Training items of each test user (the index)."""
        return self.runs[0].per_user.set_index("user")["train_degree"]


def configurations(runs: Iterable[FinishedRun]) -> list[Configuration]:
    """Group runs by settings, in order of first appearance; of runs with one seed the first counts.

    Runs of a model of one's own whose code had changed between them are not of one group.
    """
    groups: dict[Any, dict[int, FinishedRun]] = {}
    for run in runs:
        key = configuration_of(run.settings), run.provenance.get("model_code")
        groups.setdefault(key, {}).setdefault(run.seed, run)
    return [Configuration(tuple(group[seed] for seed in sorted(group))) for group in groups.values()]


def finished_runs(runs_dir: Path, dataset: str | None = None) -> tuple[list[FinishedRun], list[str]]:
    """Return the finished runs of a folder, newest first, and a sentence on each that is damaged.

    Args:
        dataset: of this data set only.
    """
    found, problems = [], []
    for summary in list_runs(runs_dir):
        named = summary.dataset == dataset or (not summary.dataset and f"-{dataset}-" in summary.id)
        if (dataset is not None and not named) or summary.status in (RUNNING, *RESUMABLE, DIVERGED):
            continue
        try:
            if summary.status == DAMAGED:
                raise InputError(summary.problem)
            found.append(FinishedRun.read(RunFolder.open(summary.path)))
        except InputError as problem:
            named = str(problem).startswith(f"Run {summary.id} ")
            problems.append(f"{problem} It is left out." if named else f"Run {summary.id} is left out: {problem}")
    return found, problems


def unfinished_runs(runs_dir: Path, dataset: str) -> list[str]:
    """Return a sentence on each run on a data set that is not over."""
    return [
        f"Run {run.id} is {run.status} after {pluralize(run.epochs, 'epoch')} and left out."
        for run in list_runs(runs_dir)
        if run.dataset == dataset and run.status in (RUNNING, *RESUMABLE)
    ]
