"""Settings as typed, validated classes: a flag, a TOML key and a field share one name.

A settings class is flat. ``TrainSettings`` holds what every model needs; each model adds its own fields in a
subclass. Strength, from weak to strong: class defaults, the shipped settings of a data set and model,
``--config`` TOML, flags.
"""

from __future__ import annotations

from mmssl_cli.config.merging import (
    SHIPPED,
    build_settings,
    merge_for,
    merge_settings,
    read_toml,
    refuse_idle_settings,
    resume_overrides,
    settings_to_toml,
    shipped_settings,
)
from mmssl_cli.config.mmssl import VARIANTS, MMSSLSettings
from mmssl_cli.config.registry import SETTINGS, known_model, settings_class
from mmssl_cli.config.train import RESUMABLE, RUNTIME_FIELDS, FittedSettings, GraphSettings, TrainSettings

__all__ = [
    "RESUMABLE",
    "RUNTIME_FIELDS",
    "SETTINGS",
    "SHIPPED",
    "VARIANTS",
    "FittedSettings",
    "GraphSettings",
    "MMSSLSettings",
    "TrainSettings",
    "build_settings",
    "known_model",
    "merge_for",
    "merge_settings",
    "read_toml",
    "refuse_idle_settings",
    "resume_overrides",
    "settings_class",
    "settings_to_toml",
    "shipped_settings",
]
