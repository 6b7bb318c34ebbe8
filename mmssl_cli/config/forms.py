"""Settings of what a study compares: variants of MMSSL, controls of the features, values of hyperparameters."""

from __future__ import annotations

from mmssl_cli.config.merging import build_settings
from mmssl_cli.config.train import RUNTIME_FIELDS, TrainSettings

#: Kind of features -> the settings that make it; the first is the data set's own.
CONTROLS: dict[str, dict[str, object]] = {
    "real": {},
    "shuffled": {"feature_control": "shuffled"},
    "noise": {"feature_control": "noise"},
    "none": {"modalities": ()},
}
#: Settings that are not hyperparameters, with the reason or the flag that varies them.
ELSEWHERE: dict[str, str] = {
    "model": "give it as --model",
    "dataset": "give it as --dataset",
    "seed": "--runs N trains N seeds of every value",
    "preset": "give it as --preset",
    **dict.fromkeys(("item_epochs", *RUNTIME_FIELDS), "it does not change what is computed"),
    "metrics": "it only says what is shown; give it as --metrics",
    "ks": "it only says what is measured; give it as --ks",
    "select_on": "it only says what selects the epoch; give it as --select-on",
}


def variant_settings(settings: TrainSettings, variant: str) -> TrainSettings:
    """Return the same settings with another variant."""
    return build_settings({**settings.model_dump(), "variant": variant})


def control_settings(real: TrainSettings) -> dict[str, TrainSettings]:
    """Return the settings of each kind of features; without ``none`` for a model that needs features."""
    kinds = {kind: more for kind, more in CONTROLS.items() if kind != "none" or not real.needs_content}
    return {kind: build_settings({**real.model_dump(), **more}) for kind, more in kinds.items()}
