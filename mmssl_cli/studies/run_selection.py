"""Which configuration stands for a model where several of its settings were trained: one rule for every command."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from mmssl_cli.config import merge_settings
from mmssl_cli.runs.results import Configuration, configuration_of

#: The rule, for captions.
RULE = "the settings with the most seeds, of these the best on validation"


def representatives(configurations: Sequence[Configuration]) -> list[Configuration]:
    """The configuration that stands for each model and variant, by rising validation score.

    It is the one with the most seeds; of equals the best mean validation score; of equals the shipped settings.
    """

    def planned(one: Configuration) -> tuple[int, float, bool]:
        return len(one.runs), validation(one), is_shipped(one)

    chosen: dict[str, Configuration] = {}
    for one in configurations:
        chosen[one.label] = max(chosen.get(one.label, one), one, key=planned)
    return sorted(chosen.values(), key=validation)


def validation(configuration: Configuration) -> float:
    """The mean over the seeds of the validation metric that selected the runs."""
    metric = configuration.settings.select_on
    return fmean(run.result["validation"].get(metric, 0.0) for run in configuration.runs)


def is_shipped(configuration: Configuration) -> bool:
    """Whether these are the settings that a training has by itself for this model and data set."""
    settings = configuration.settings
    usual = merge_settings({"model": settings.model, "dataset": settings.dataset})
    return configuration_of(usual) == configuration_of(settings)
