"""Settings as typed, validated classes: a flag, a TOML key and a field share one name.

A settings class is flat. ``TrainSettings`` holds what every model needs; each model adds its own fields in a
subclass. Strength, from weak to strong: class defaults, a preset, ``--config`` TOML, flags. Without a preset and a
file, the settings shipped for a data set and model are the preset.
"""

from __future__ import annotations

from mmssl_cli.config.merging import (
    build_settings,
    merge_for,
    merge_settings,
    refuse_idle,
    resume_overrides,
    settings_to_toml,
)
from mmssl_cli.config.mmssl import VARIANTS, MMSSLSettings
from mmssl_cli.config.presets import PRESETS, SHIPPED, has_preset, preset_settings, read_toml, shipped_settings
from mmssl_cli.config.registry import SETTINGS, known_model, settings_class
from mmssl_cli.config.train import INERT_FIELDS, RESUMABLE, RUNTIME_FIELDS, FittedSettings, GraphSettings, TrainSettings

__all__ = [
    "INERT_FIELDS",
    "PRESETS",
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
    "has_preset",
    "known_model",
    "merge_for",
    "merge_settings",
    "preset_settings",
    "read_toml",
    "refuse_idle",
    "resume_overrides",
    "settings_class",
    "settings_to_toml",
    "shipped_settings",
]
