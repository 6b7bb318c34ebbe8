"""Settings as typed, validated classes: a flag, a TOML key and a field share one name.

A settings class is flat. ``TrainSettings`` holds what every model needs; each model adds its own fields in a
subclass. Strength, from weak to strong: class defaults, a preset, ``--config`` TOML, flags. Without a preset and a
file, the settings shipped for a data set and model are the preset.

Each name is imported when it is first used: listing the models needs no settings class.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmssl_cli.config.classes import SETTINGS, settings_class
    from mmssl_cli.config.merging import (
        build_settings,
        merge_for,
        merge_settings,
        refuse_idle,
        resume_overrides,
        settings_to_toml,
    )
    from mmssl_cli.config.mmssl import VARIANTS, MMSSLSettings
    from mmssl_cli.config.presets import PRESETS, has_preset, preset_settings, read_toml, shipped_settings
    from mmssl_cli.config.registry import known_model
    from mmssl_cli.config.train import (
        INERT_FIELDS,
        RUNTIME_FIELDS,
        FittedSettings,
        GraphSettings,
        TrainSettings,
    )

__all__ = [
    "INERT_FIELDS",
    "PRESETS",
    "RUNTIME_FIELDS",
    "SETTINGS",
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

_MODULES = {
    "classes": ("SETTINGS", "settings_class"),
    "merging": ("build_settings", "merge_for", "merge_settings", "refuse_idle", "resume_overrides", "settings_to_toml"),
    "mmssl": ("VARIANTS", "MMSSLSettings"),
    "presets": ("PRESETS", "has_preset", "preset_settings", "read_toml", "shipped_settings"),
    "registry": ("known_model",),
    "train": ("INERT_FIELDS", "RUNTIME_FIELDS", "FittedSettings", "GraphSettings", "TrainSettings"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
