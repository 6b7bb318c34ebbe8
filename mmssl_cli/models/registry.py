"""Models by name: their classes, and models built from settings."""

from __future__ import annotations

from pkgutil import resolve_name

from mmssl_cli.config import TrainSettings, settings_class
from mmssl_cli.config.fit import check_content
from mmssl_cli.config.registry import MODELS
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import Recommender


def build_model(data: InteractionData, settings: TrainSettings) -> Recommender:
    """Build the model that the settings name, with fresh parameters, on the device of the data.

    Raises:
        UsageError: there is no such model, or its settings do not fit the data.
    """
    settings_class(settings.model)
    check_content(settings, data.name, data.features)
    return model_class(settings.model)(data, settings).to(data.train.indices.device)


def model_class(name: str) -> type[Recommender]:
    """Return the class of a model by its name."""
    found: type[Recommender] = resolve_name(MODELS[name][0])
    return found
