"""Models by name: their classes, and models built from settings."""

from __future__ import annotations

import inspect

from mmssl_cli.config import TrainSettings, settings_class
from mmssl_cli.config.classes import class_of
from mmssl_cli.config.fit import check_content
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models.base import Recommender
from pipelines.errors import UsageError


def build_model(data: InteractionData, settings: TrainSettings) -> Recommender:
    """Build the model that the settings name, with fresh parameters, on the device of the data.

    Raises:
        UsageError: there is no such model, its settings do not fit the data, or an attribute hides a method.
    """
    settings_class(settings.model)
    check_content(settings, data.name, data.features)
    cls = model_class(settings.model)
    _check_methods(settings.model, cls)
    try:
        inspect.signature(cls).bind(data, settings)
    except TypeError as problem:
        raise UsageError(
            f"Model {settings.model!r} takes other arguments than __init__(self, data, settings)."
        ) from problem
    model = cls(data, settings)
    if "_modules" not in vars(model):
        raise UsageError(
            f"Model {settings.model!r} does not call super().__init__(data, settings); call it first in its __init__."
        )
    for name in vars(model):
        if callable(getattr(cls, name, None)):
            raise UsageError(
                f"Model {settings.model!r} sets the attribute {name!r}, which hides the method {name}() of its class; "
                "choose another name for the attribute."
            )
    return model.to(data.train.indices.device)


def model_class(name: str) -> type[Recommender]:
    """Return the class of a model by its name."""
    found: type[Recommender] = class_of(name)
    return found


def _check_methods(name: str, cls: type[Recommender]) -> None:
    """Check that a model can be trained and ranked by.

    Raises:
        UsageError: it lacks a method.
    """
    if not cls.has_fit() and cls.training_step is Recommender.training_step:
        raise UsageError(f"Model {name!r} cannot be trained: define fit(data), or training_step(batch), in its class.")
    if not cls.has_embeddings() and cls.score is Recommender.score:
        raise UsageError(f"Model {name!r} cannot rank: define score(users), or represent(), in its class.")
