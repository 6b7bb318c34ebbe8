"""Studies in Python: models, variants, controls and plug-ins over several seeds, and their means in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import pandas as pd

from mmssl_cli.api.arguments import check_flags, check_settings_alone, known_names
from mmssl_cli.api.datasets import Dataset, load_dataset
from mmssl_cli.api.plans import check_free, means_table, planned, trained_over_seeds
from mmssl_cli.api.wording import keywords_in_errors
from mmssl_cli.config import TrainSettings
from mmssl_cli.config.forms import (
    check_ablation,
    check_pluggable,
    chosen_variants,
    controls_plan,
    plugins_plan,
    variant_settings,
)
from mmssl_cli.studies.run_selection import validation
from mmssl_cli.text import DEFAULT_RUNS_DIR, as_list
from pipelines.errors import UsageError, nearest


@keywords_in_errors
def compare(
    data: Dataset | str | PathLike[str],
    models: str | Sequence[str],
    *,
    runs: int = 1,
    jobs: int = 1,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    tests: bool = False,
    reference: str | None = None,
    verbose: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Compare models on one data set over several seeds, as `mmssl compare` does (Table 2).

    Finished runs of the same settings are reused, interrupted ones resumed, the rest trained.

    Args:
        data: the data set, or its name or path.
        models: names that `mmssl models` lists, each of which counts once.
        runs: seeds of each model: ``seed``, ``seed + 1`` and so on.
        jobs: runs trained at once; above 1 in processes of their own, so that a script needs
            ``if __name__ == "__main__":`` around its calls.
        runs_dir: folder of the runs.
        config: TOML file of settings, or folder of ``tune``, in which each model has its own; models without a file
            have the settings shipped for them and the data set, else their defaults.
        tests: add the p-values of two-sided paired t-tests of each metric of accuracy against one of the models, over
            the test users (``recall@20 p, users``) and over the seeds (``recall@20 p, seeds``), each corrected by Holm
            for the number of tests in the column; NaN where there is none.
        reference: the model to test the others against, which implies ``tests``; by default the best on validation.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes; each applies to every model that has it.

    Returns:
        A row per model, best on validation first: ``model``, ``seeds`` (their number), the mean of each test metric
        (``recall@20``; those of ``metrics``, and of ``select_on``) and its sample standard deviation over the seeds
        (``recall@20 std``; NaN for one seed), and ``validation``, the mean of the validation metric that selected the
        epochs.

    Raises:
        UsageError: an unknown model, a setting that no model has, a value out of its range, runs or jobs below 1, or a
            reference that is none of the models.
        InputError: a file is damaged, or a run cannot be written.
        MmsslError: a training failed or diverged.

    Examples:
        >>> table = mmssl.compare(data, ["mf", "lightgcn"], runs=1, epochs=1, ks=(20,))
        >>> table.columns.tolist()[:4]
        ['model', 'seeds', 'recall@20', 'recall@20 std']
    """
    data = load_dataset(data)
    check_flags(tests=tests, verbose=verbose)
    check_settings_alone(settings)
    names = known_names(models)
    if reference is not None:
        [reference] = known_names([reference])
        if reference not in names:
            raise UsageError(f"reference {reference!r} is none of the compared models: {nearest(reference, names)}")
    plan = planned(names, data, config, settings)
    found = trained_over_seeds(list(plan.values()), data, runs, jobs, runs_dir, verbose)
    ranked = sorted(zip(names, found, strict=True), key=lambda one: validation(one[1]), reverse=True)
    against = next((at for at, (name, _) in enumerate(ranked) if name == reference), 0)
    tested = tests or reference is not None
    pairs = [(at, against) for at in range(len(ranked)) if at != against] if tested else None
    return means_table([({"model": one.label}, one) for _, one in ranked], next(iter(plan.values())), settings, pairs)


@keywords_in_errors
def ablate(
    data: Dataset | str | PathLike[str],
    variants: str | Sequence[str] = (),
    *,
    runs: int = 1,
    jobs: int = 1,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    tests: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Compare MMSSL with its variants, each of which lacks a part, as `mmssl ablate` does (Table 3).

    Args:
        data: the data set, or its name or path.
        variants: ``w/o-CL``, ``w/o-ASL``, ``w/o-GT`` or ``r/p-GAE``, one or several; by default all. The full model is
            always among them.
        runs: seeds of each variant.
        jobs: runs trained at once, as in ``compare``.
        runs_dir: folder of the runs.
        config: TOML file of settings, or folder of ``tune``.
        tests: add p-values of the differences from the full model, as in ``compare``.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes.

    Returns:
        A row per variant, the full model first: ``variant``, and the other columns of ``compare``.

    Raises:
        UsageError: an unknown variant or setting, or a data set without modalities.
        InputError: a file is damaged, or a run cannot be written.
        MmsslError: a training failed or diverged.

    Examples:
        >>> table = mmssl.ablate(data, "w/o-ASL", epochs=1, embedding_dim=8, ks=(20,))
        >>> table["variant"].tolist()
        ['full', 'w/o-ASL']
    """
    data = load_dataset(data)
    check_flags(tests=tests, verbose=verbose)
    check_settings_alone(settings)
    check_free(settings, "variant", "variants")
    names = chosen_variants(as_list(variants))
    [full] = planned(["mmssl"], data, config, settings).values()
    check_ablation(full, data.modalities)
    plan = {name: variant_settings(full, name) for name in names}
    found = trained_over_seeds(list(plan.values()), data, runs, jobs, runs_dir, verbose)
    pairs = [(at, 0) for at in range(1, len(names))] if tests else None
    return means_table([({"variant": name}, one) for name, one in zip(plan, found, strict=True)], full, settings, pairs)


@keywords_in_errors
def controls(
    data: Dataset | str | PathLike[str],
    models: str | Sequence[str] = "mmssl",
    *,
    runs: int = 1,
    jobs: int = 1,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    tests: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Measure what item features are worth, as `mmssl controls` does.

    Each model is trained on the features of the data set (``real``), on those of other items (``shuffled``), on noise
    of the same means and deviations (``noise``), and without any (``none``), where it can do without.

    Args:
        data: the data set, or its name or path.
        models: names of models that use item features.
        runs: seeds of each model and kind of features.
        jobs: runs trained at once, as in ``compare``.
        runs_dir: folder of the runs.
        config: TOML file of settings, or folder of ``tune``.
        tests: add p-values of the differences from the real features, as in ``compare``.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes.

    Returns:
        A row per model and kind of features: ``model``, ``features``, and the other columns of ``compare``.

    Raises:
        UsageError: a model or data set without features, or an unknown setting.
        InputError: a file is damaged, or a run cannot be written.
        MmsslError: a training failed or diverged.

    Examples:
        >>> table = mmssl.controls(data, "vbpr", epochs=1, ks=(20,))
        >>> table["features"].tolist()
        ['real', 'shuffled', 'noise']
    """
    data = load_dataset(data)
    check_flags(tests=tests, verbose=verbose)
    check_settings_alone(settings)
    for name in ("modalities", "feature_control"):
        check_free(settings, name)
    names = known_names(models)
    plan = controls_plan(planned(names, data, config, settings), data.modalities)
    return _of_kinds("features", plan, data, runs, jobs, runs_dir, tests, verbose, settings)


@keywords_in_errors
def plugin(
    data: Dataset | str | PathLike[str],
    models: str | Sequence[str] = "slmrec",
    *,
    runs: int = 1,
    jobs: int = 1,
    runs_dir: str | PathLike[str] = DEFAULT_RUNS_DIR,
    config: str | PathLike[str] | None = None,
    tests: bool = False,
    verbose: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Plug MMSSL's adversary and its contrast into other models, as `mmssl plugin` does (Table 5).

    Args:
        data: the data set, or its name or path.
        models: names of models that learn a projection of each modality over a graph of the interactions.
        runs: seeds of each model, alone and with either plug-in.
        jobs: runs trained at once, as in ``compare``.
        runs_dir: folder of the runs.
        config: TOML file of settings, or folder of ``tune``.
        tests: add p-values of the differences from the model alone, as in ``compare``.
        verbose: show the progress on standard error.
        settings: the flags of `mmssl train`, with underscores for dashes.

    Returns:
        A row per model and plug-in (``plain``, ``+ASL``, ``+CL``): ``model``, ``plug-in``, and the other columns of
        ``compare``.

    Raises:
        UsageError: a model that has no place for them, a data set without features, or an unknown setting.
        InputError: a file is damaged, or a run cannot be written.
        MmsslError: a training failed or diverged.

    Examples:
        >>> table = mmssl.plugin(data, "bm3", epochs=1, embedding_dim=8, ks=(20,))
        >>> table["plug-in"].tolist()
        ['plain', '+ASL', '+CL']
    """
    data = load_dataset(data)
    check_flags(tests=tests, verbose=verbose)
    check_settings_alone(settings)
    for name in ("asl", "cl"):
        check_free(settings, name)
    names = known_names(models)
    for name in names:
        check_pluggable(name)
    plan = plugins_plan(planned(names, data, config, settings), data.modalities)
    return _of_kinds("plug-in", plan, data, runs, jobs, runs_dir, tests, verbose, settings)


def _of_kinds(
    what: str,
    plan: Mapping[str, Mapping[str, TrainSettings]],
    data: Dataset,
    runs: int,
    jobs: int,
    runs_dir: str | PathLike[str],
    tests: bool,
    verbose: bool,
    settings: Mapping[str, Any],
) -> pd.DataFrame:
    """Train each model in each kind, the first of which the others are tested against; return a row of each."""
    wanted = [(name, kind, one) for name, kinds in plan.items() for kind, one in kinds.items()]
    found = trained_over_seeds([one for *_, one in wanted], data, runs, jobs, runs_dir, verbose)
    labelled = [({"model": name, what: kind}, one) for (name, kind, _), one in zip(wanted, found, strict=True)]
    first = {name: at for at, (name, *_) in reversed([*enumerate(wanted)])}
    pairs = [(at, first[name]) for at, (name, *_) in enumerate(wanted) if at != first[name]] if tests else None
    return means_table(labelled, wanted[0][2], settings, pairs)
