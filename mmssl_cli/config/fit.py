"""Checks of settings against a data set, from its size and modalities alone."""

from __future__ import annotations

from collections.abc import Collection

from mmssl_cli.config.train import TrainSettings
from pipelines.errors import UsageError, nearest


def check_fit(settings: TrainSettings, dataset: str, num_items: int, modalities: Collection[str]) -> None:
    """Check that a run with these settings can be trained on a data set.

    Args:
        dataset: name of the data set.
        modalities: all that it has.

    Raises:
        UsageError: a cut-off above the number of items, an unknown modality, or a model, variant or metric that lacks
            modalities.
    """
    check_modalities(settings.modalities or (), dataset, modalities)
    largest = max(settings.all_ks)
    if largest > num_items:
        fitting = [k for k in (5, 10, 20) if k <= num_items] or [num_items]
        metric, _, cut_off = settings.select_on.partition("@")
        smaller = [f"--ks {','.join(map(str, fitting))}"] if max(settings.ks) > num_items else []
        smaller += [f"--select-on {metric}@{fitting[-1]}"] if int(cut_off) > num_items else []
        raise UsageError(
            f"K is {largest}, but data set {dataset!r} has only {num_items} items; choose a smaller K, such as "
            f"{' and '.join(smaller)}."
        )
    used = modalities if settings.modalities is None else settings.modalities
    variant = getattr(settings, "variant", "full")
    if variant != "full" and not used:
        raise UsageError(
            f"Variant {variant!r} changes a part of {settings.model} that works on modalities, and this run has none; "
            "leave out --variant, or train with modalities."
        )
    if "similarity" in settings.metrics and not modalities:
        raise UsageError(
            f"The metric similarity compares item features, and data set {dataset!r} has none; leave it out of "
            "--metrics."
        )
    check_content(settings, dataset, used)


def check_modalities(wanted: Collection[str], dataset: str, modalities: Collection[str]) -> None:
    """Check that a data set has the wanted modalities.

    Raises:
        UsageError: it lacks one.
    """
    for name in wanted:
        if name not in modalities:
            has = nearest(name, modalities) if modalities else "it has none."
            raise UsageError(f"Data set {dataset!r} has no modality {name!r} for --modalities: {has}")


def check_content(settings: TrainSettings, dataset: str, used: Collection[str]) -> None:
    """Check that a model of item content has any.

    Raises:
        UsageError: it has none.
    """
    if settings.needs_content and settings.modalities == ():
        raise UsageError(
            f"Model {settings.model!r} works on the items' content, and --modalities none leaves it without; leave the "
            "flag out, or choose a collaborative model such as lightgcn."
        )
    if settings.needs_content and not used:
        raise UsageError(
            f"Model {settings.model!r} works on the items' content, and data set {dataset!r} has no modality here; "
            "choose a collaborative model such as lightgcn, or a data set with features."
        )
