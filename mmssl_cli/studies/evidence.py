"""What the finished runs on a data set are evidence for: the configuration that stands for each model, and its kin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmssl_cli.runs.results import Configuration, FinishedRun, configuration_of, configurations
from mmssl_cli.studies.run_selection import is_shipped, representatives
from mmssl_cli.studies.sweep.points import is_number
from pipelines.errors import UsageError

OURS = "mmssl"
#: Settings that a sweep is not about: they say how long and how a run is measured.
_NOT_SWEPT = {"epochs", "patience", "evaluate_every", "lr_decay_every"}


@dataclass(frozen=True)
class Evidence:
    """The finished runs on one preparation of a data set, in order.

    Attributes:
        content: digest of the data set that all runs were trained on.
        configurations: all of them, the newest first.
        reference: the full MMSSL that tables and figures are built around; None where there is none.
        baselines: model -> the configuration that stands for it, by rising validation score.
        variants: variant -> runs with the reference's settings but for the variant; ``full`` is the reference.
        points: setting -> value -> runs with the reference's settings but for this one, which is a number; the
            reference's own value is among them.
        left_out: sentences on runs that were left out, and why.
    """

    dataset: str
    content: str
    configurations: tuple[Configuration, ...]
    reference: Configuration | None
    baselines: dict[str, Configuration]
    variants: dict[str, Configuration]
    points: dict[str, dict[float, Configuration]]
    left_out: tuple[str, ...] = ()

    @property
    def rivals(self) -> list[Configuration]:
        """Other configurations of the full MMSSL, which the tables could be built around instead."""
        shown = {id(one) for points in self.points.values() for one in points.values()} | {id(self.reference)}
        return [one for one in self.configurations if _is_full(one) and id(one) not in shown]

    @property
    def models(self) -> list[Configuration]:
        """The baselines and the reference, which comes last."""
        return [*self.baselines.values(), *([self.reference] if self.reference is not None else [])]


def gather(
    runs: Sequence[FinishedRun], dataset: str, *, content: str | None = None, reference: str | None = None
) -> Evidence:
    """Sort out the runs on a data set.

    Args:
        runs: finished runs, the newest first.
        content: digest of the data set as it is prepared now; runs on another preparation are left out. None takes
            the preparation with the most runs.
        reference: id of a run of the full MMSSL to build everything around; None takes the configuration with most
            variants, of equals the one that most runs belong to or differ from in a single setting.

    Raises:
        UsageError: the run ``reference`` is not among them, or is none of the full MMSSL.
    """
    mine = [run for run in runs if run.settings.dataset == dataset]
    trained_on = Counter(_content(run) for run in mine)
    if content is None or content not in trained_on:
        content = trained_on.most_common(1)[0][0] if trained_on else ""
    others = [run.id for run in mine if _content(run) != content]
    left_out = (f"Left out, for they were trained on another preparation of {dataset}: {', '.join(others)}.",)
    found = configurations(run for run in mine if _content(run) == content)
    full = [one for one in found if _is_full(one)]
    chosen = _named(full, reference) if reference else _most_studied(full, found)
    return Evidence(
        dataset,
        content,
        tuple(found),
        chosen,
        _baselines(found),
        _variants(chosen, found),
        _points(chosen, found),
        left_out if others else (),
    )


def differences(first: Configuration, second: Configuration) -> dict[str, tuple[Any, Any]]:
    """The settings in which two configurations differ: name -> (of the first, of the second)."""
    a, b = dict(configuration_of(first.settings)), dict(configuration_of(second.settings))
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}


def _content(run: FinishedRun) -> str:
    return str(run.provenance.get("content_digest") or run.provenance.get("manifest_digest"))


def _is_full(configuration: Configuration) -> bool:
    settings = configuration.settings
    return settings.model == OURS and getattr(settings, "variant", "full") == "full" and settings.modalities != ()


def _named(full: Sequence[Configuration], run_id: str) -> Configuration:
    for configuration in full:
        if any(run.id == run_id for run in configuration.runs):
            return configuration
    raise UsageError(
        f"Run {run_id} cannot be the reference: expected a finished run of the full {OURS} on this data set."
    )


def _most_studied(full: Sequence[Configuration], found: Sequence[Configuration]) -> Configuration | None:
    def studied(one: Configuration) -> tuple[int, int, bool]:
        apart = [(other, differences(one, other)) for other in found if other.settings.model == OURS]
        variants = sum(list(names) == ["variant"] for _, names in apart)
        kin = sum(len(other.runs) for other, names in apart if len(names) <= 1)
        return variants, kin, is_shipped(one)

    return max(full, key=studied, default=None)


def _baselines(found: Sequence[Configuration]) -> dict[str, Configuration]:
    others = [one for one in found if one.settings.model != OURS]
    return {one.label: one for one in representatives(others)}


def _variants(reference: Configuration | None, found: Sequence[Configuration]) -> dict[str, Configuration]:
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
