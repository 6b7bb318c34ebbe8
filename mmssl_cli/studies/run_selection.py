"""Selection of the runs that a study shows: one configuration per model, and the variants and sweeps around ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from mmssl_cli.config import TrainSettings, merge_settings
from mmssl_cli.runs.data_match import check_same_data
from mmssl_cli.runs.listing import data_digest, list_runs, resolve_run
from mmssl_cli.runs.results import (
    Configuration,
    FinishedRun,
    configuration_of,
    configurations,
    finished_runs,
    unfinished_runs,
)
from pipelines.errors import InputError, UsageError, nearest
from pipelines.prepared.manifest import MANIFEST, read_manifest

OURS = "mmssl"
#: The rule of ``best_of_each_model``, for captions.
RULE = "the settings with the most seeds (ties: the best on validation)"
#: Settings of the length of training and of the schedule, which no sweep is about.
_NOT_SWEPT = {"epochs", "patience", "evaluate_every", "lr_decay_every"}


@dataclass(frozen=True)
class RunSelection:
    """The finished runs on one preparation of a data set, sorted by their role in a report.

    Attributes:
        content: digest of the data set that all runs were trained on.
        configurations: all of them, newest first.
        reference: the full MMSSL that tables and figures are built around; None without such a run.
        baselines: model -> its representative, by rising validation score.
        variants: variant -> runs that differ from the reference in the variant alone; ``full`` is the reference.
        points: setting -> value -> runs that differ from the reference in this numeric setting alone, with the
            reference at its own value.
        left_out: one sentence on the runs that were left out, with the reason.
        named: True if a person chose the reference.
    """

    dataset: str
    content: str
    configurations: tuple[Configuration, ...]
    reference: Configuration | None
    baselines: dict[str, Configuration]
    variants: dict[str, Configuration]
    points: dict[str, dict[float, Configuration]]
    left_out: tuple[str, ...] = ()
    named: bool = False

    @property
    def rivals(self) -> list[Configuration]:
        """Other configurations of the full MMSSL that could be the reference instead."""
        shown = {id(one) for points in self.points.values() for one in points.values()} | {id(self.reference)}
        return [one for one in self.configurations if is_full(one.settings) and id(one) not in shown]

    @property
    def models(self) -> list[Configuration]:
        """The baselines, then the reference."""
        return [*self.baselines.values(), *([self.reference] if self.reference is not None else [])]

    @property
    def alternatives(self) -> list[Configuration]:
        """The representative of each other full MMSSL, such as of a preset, by rising validation score."""
        label = self.reference.label if self.reference is not None else None
        return best_of_each_model([one for one in self.configurations if is_full(one.settings) and one.label != label])


def select_runs(
    datasets: Sequence[str], reference: str | None, runs_dir: Path, data_dir: Path
) -> tuple[list[RunSelection], list[str]]:
    """Return the finished runs on each data set, sorted by role, and a sentence per damaged or unfinished run.

    Args:
        datasets: by default all that have finished runs.
        reference: run of the full MMSSL to build the tables of its data set around.

    Raises:
        UsageError: no finished run on a data set, or the reference is on none of them.
    """
    known = sorted({run.dataset for run in list_runs(runs_dir) if run.test})
    if not known:
        raise UsageError(f"{runs_dir} holds no finished runs to report on; `mmssl train` makes one.")
    for name in datasets:
        if name not in known:
            raise UsageError(f"There is no finished run on data set {name!r} in {runs_dir}: {nearest(name, known)}")
    names = list(datasets) or known
    chosen = resolve_run(reference, runs_dir) if reference is not None else None
    on = chosen.settings().dataset if chosen is not None else None
    if chosen is not None and on not in names:
        raise UsageError(f"Run {chosen.id} is on data set {on!r}, not on {', '.join(names)}.")
    selection, problems = [], []
    for name in names:
        runs, damaged = finished_runs(runs_dir, name)
        problems += [*damaged, *unfinished_runs(runs_dir, name)]
        mine = chosen.id if chosen is not None and on == name else None
        selection.append(gather(runs, name, content=prepared_content(data_dir, name), reference=mine))
    return selection, problems


def gather(
    runs: Sequence[FinishedRun], dataset: str, *, content: str | None = None, reference: str | None = None
) -> RunSelection:
    """Sort the runs on a data set by their role.

    Args:
        runs: finished runs, newest first.
        content: digest of the data set as it is prepared now; runs on another preparation are left out. None, or a
            digest without runs, takes the preparation with the most runs.
        reference: id of a run of the full MMSSL to build everything around; None takes the configuration with the
            most variants, then with the most seeds, then with the most runs one setting away.

    Raises:
        UsageError: ``reference`` is not a run of the full MMSSL among them.
    """
    mine, content, left_out = of_one_preparation([run for run in runs if run.settings.dataset == dataset], content)
    found = configurations(mine)
    full = [one for one in found if is_full(one.settings)]
    chosen = _named(full, reference) if reference else _most_studied(full, found)
    baselines = best_of_each_model([one for one in found if one.settings.model != OURS])
    return RunSelection(
        dataset,
        content,
        tuple(found),
        chosen,
        {one.label: one for one in baselines},
        variants_of(chosen, found),
        _points(chosen, found),
        left_out,
        reference is not None,
    )


def of_one_preparation(
    runs: Sequence[FinishedRun], content: str | None
) -> tuple[list[FinishedRun], str, tuple[str, ...]]:
    """Return the runs on one preparation of their data set, its digest, and a sentence where other runs are left out.

    Args:
        content: digest of the data set as it is prepared now; None, or a digest without runs, takes the preparation
            with the most runs.
    """
    trained_on = Counter(data_digest(run.provenance) for run in runs)
    chosen = content if content in trained_on else next((most for most, _ in trained_on.most_common(1)), "")
    kept = [run for run in runs if data_digest(run.provenance) == chosen]
    others = [run.id for run in runs if data_digest(run.provenance) != chosen]
    said = []
    if kept and content not in (None, chosen):
        said.append(f"All runs were trained on another preparation of {kept[0].settings.dataset} than the one at hand.")
    if others:
        name = runs[0].settings.dataset
        said.append(f"Left out, as they were trained on another preparation of {name}: {', '.join(others)}.")
    return kept, str(chosen), tuple(said)


def prepared_content(data_dir: Path, dataset: str) -> str | None:
    """Return the digest of a data set as it is prepared now; None where it is not.

    Raises:
        InputError: its manifest is damaged.
    """
    folder = data_dir / dataset
    return read_manifest(folder).content_digest if (folder / MANIFEST).exists() else None


def best_of_each_model(configurations: Sequence[Configuration]) -> list[Configuration]:
    """Return one configuration per model and variant, by rising validation score; none on control features.

    It is the one with the most seeds, then with the best mean validation score, then the one with shipped settings.
    """

    def rank(one: Configuration) -> tuple[int, float, bool]:
        return len(one.runs), validation(one), is_shipped(one)

    chosen: dict[str, Configuration] = {}
    for one in configurations:
        if one.settings.feature_control != "none":
            continue
        chosen[one.label] = max(chosen.get(one.label, one), one, key=rank)
    return sorted(chosen.values(), key=validation)


def validation(configuration: Configuration) -> float:
    """Return the mean over seeds of the validation metric that selected the runs' epochs."""
    metric = configuration.settings.select_on
    return fmean(run.result["validation"].get(metric, 0.0) for run in configuration.runs)


def is_shipped(configuration: Configuration) -> bool:
    """Return True if the settings are those that a training uses by itself for this model and data set."""
    settings = configuration.settings
    usual = merge_settings({"model": settings.model, "dataset": settings.dataset})
    return configuration_of(usual) == configuration_of(settings)


def is_number(value: Any) -> bool:
    """Return True for a number; False for a switch, which has no place on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def differences(first: Configuration, second: Configuration) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which two configurations differ: name -> (first's value, second's value)."""
    a, b = dict(configuration_of(first.settings)), dict(configuration_of(second.settings))
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}


def is_full(settings: TrainSettings) -> bool:
    """Return True for MMSSL with all its parts and at least one modality, whose features are the items' own."""
    whole = getattr(settings, "variant", "full") == "full" and settings.feature_control == "none"
    return settings.model == OURS and whole and settings.modalities != ()


def _named(full: Sequence[Configuration], run_id: str) -> Configuration:
    for configuration in full:
        if any(run.id == run_id for run in configuration.runs):
            return configuration
    raise UsageError(
        f"Run {run_id} cannot be the reference: expected a finished run of the full {OURS} on this data set."
    )


def _most_studied(full: Sequence[Configuration], found: Sequence[Configuration]) -> Configuration | None:
    def studied(one: Configuration) -> tuple[int, int, int, bool]:
        apart = [(other, differences(one, other)) for other in found if other.settings.model == OURS]
        variants = sum(list(names) == ["variant"] for _, names in apart)
        near = sum(len(other.runs) for other, names in apart if len(names) <= 1)
        return variants, len(one.runs), near, is_shipped(one)

    return max(full, key=studied, default=None)


def variants_of(reference: Configuration | None, found: Sequence[Configuration]) -> dict[str, Configuration]:
    """Return variant -> the runs that differ from the reference in the variant alone, itself included as ``full``."""
    if reference is None:
        return {}
    variants = {"full": reference}
    for one in found:
        apart = differences(reference, one) if one.settings.model == OURS else {}
        if list(apart) == ["variant"]:
            variants.setdefault(apart["variant"][1], one)
    return variants


def _points(reference: Configuration | None, found: Sequence[Configuration]) -> dict[str, dict[float, Configuration]]:
    points: dict[str, dict[float, Configuration]] = {}
    if reference is None:
        return points
    for one in found:
        apart = differences(reference, one) if one.settings.model == OURS else {}
        if len(apart) != 1:
            continue
        ((name, (usual, value)),) = apart.items()
        if name not in _NOT_SWEPT and is_number(usual) and is_number(value):
            points.setdefault(name, {usual: reference}).setdefault(value, one)
    return {name: dict(sorted(values.items())) for name, values in points.items()}


def configurations_on_same_data(
    reference: TrainSettings, data_dir: Path, runs_dir: Path
) -> tuple[list[Configuration], list[str]]:
    """Return the configurations finished on the reference's data as prepared now, and a sentence per damaged run."""
    found, problems = finished_runs(runs_dir, reference.dataset)
    kept = []
    for run in found:
        try:
            check_same_data(run.folder, reference, data_dir)
        except InputError:
            continue
        kept.append(run)
    return configurations(kept), problems
