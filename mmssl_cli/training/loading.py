"""Load the data of a run and its model, and check that they belong together."""

from __future__ import annotations

from pathlib import Path

import torch

from mmssl_cli.config import TrainSettings
from mmssl_cli.console.lines import warn
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.registry import build_model
from mmssl_cli.runs.data_match import changed_code, check_same_data, check_settings
from mmssl_cli.runs.folder import MODEL, RunFolder
from mmssl_cli.runs.listing import DIVERGED
from pipelines.errors import InputError


def load_data(settings: TrainSettings, data_dir: Path) -> InteractionData:
    """Load the data set of the settings onto the CPU.

    Raises:
        InputError: it is not valid, or a held-out split is empty.
        UsageError: the settings do not fit it.
    """
    check_settings(settings, data_dir)
    data = load_interactions(
        data_dir / settings.dataset,
        settings.modalities,
        settings.feature_scaling,
        settings.feature_components,
        settings.feature_control,
        settings.seed,
    )
    for split in ("validation", "test"):
        if not len(getattr(data, split)):
            raise InputError(
                f"The {split} split of data set {data.name!r} is empty; expected at least one interaction."
            )
    return data


def load_model(run_dir: Path, data_dir: Path) -> tuple[Recommender, InteractionData, TrainSettings]:
    """Load the selected model of a run, in evaluation mode, and its data, both onto the CPU.

    Raises:
        InputError: the run or its data set is damaged, they do not fit each other, or there is no model yet.
    """
    run = RunFolder.open(run_dir)
    settings = run.settings()
    if not (run.path / MODEL).exists():
        _explain_missing_model(run)
    check_same_data(run, settings, data_dir)
    if (changed := changed_code(run, settings)) is not None:
        warn(f"{changed} Its weights are used with the code as it is now.")
    data = load_data(settings, data_dir)
    with torch.random.fork_rng():  # the first weights are drawn, and replaced
        model = build_model(data, settings)
    load_weights(run, model)
    return model.eval(), data, settings


def _explain_missing_model(run: RunFolder) -> None:
    if not run.is_over():
        raise InputError(f"Run {run.id} has no model yet: none of its epochs has been validated.")
    result = run.read_result()
    if result["status"] == DIVERGED and result["best_epoch"] is None:
        raise InputError(
            f"Run {run.id} diverged in epoch {result['epochs'] + 1} before any epoch was validated; "
            "train it again with a lower --lr."
        )


def load_weights(run: RunFolder, model: Recommender) -> None:
    """Load the weights of a run's best epoch into a model.

    Raises:
        InputError: they are missing, damaged or of another shape.
    """
    weights = run.load_model()
    try:
        if model.has_fit():
            model.load_fitted(weights)
        else:
            model.load_state_dict(weights)
    except (RuntimeError, KeyError) as problem:
        raise InputError(
            f"{run.path / MODEL} does not fit the settings in config.toml; was one changed by hand?"
        ) from problem


def modalities_of(settings: TrainSettings, data: InteractionData) -> list[str] | None:
    """Return the modalities that a model uses; None for a model without support for modalities."""
    return list(data.features) if settings.uses_content or settings.needs_content else None
