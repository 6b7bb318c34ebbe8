"""The settings classes and the classes of the models, each imported when it is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

from mmssl_cli.config.own_models import importable, own_class, own_settings
from mmssl_cli.config.own_names import installed, is_own
from mmssl_cli.config.registry import MODELS, own_names
from mmssl_cli.config.train import TrainSettings
from pipelines.errors import UsageError, nearest


class _SettingsClasses(Mapping[str, type[TrainSettings]]):
    """The settings of the models that come with the program, of installed ones, and of those that the user named."""

    def __getitem__(self, model: str) -> type[TrainSettings]:
        if model not in MODELS:
            if model in own_names() or is_own(model):
                return own_settings(model)
            raise KeyError(model)
        found: type[TrainSettings] = resolve_name(MODELS[model][1])
        return found

    def __contains__(self, model: object) -> bool:
        return model in MODELS or model in own_names()

    def __iter__(self) -> Iterator[str]:
        yield from MODELS
        yield from (name for name in own_names() if name not in installed() or importable(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


#: Model -> its settings class.
SETTINGS: Mapping[str, type[TrainSettings]] = _SettingsClasses()


def settings_class(model: str) -> type[TrainSettings]:
    """Return the settings class of a model.

    Raises:
        UsageError: there is no such model.
    """
    if not isinstance(model, str) or (model not in SETTINGS and not is_own(model)):
        if ".py" in str(model) or "/" in str(model):
            raise UsageError(
                f"There is no model {model!r}: one of your own is given as MODULE:CLASS, such as my_model:MyModel for "
                "my_model.py in the folder of the command."
            )
        raise UsageError(f"There is no model {model!r}: {nearest(str(model), tuple(SETTINGS))}")
    return SETTINGS[model]


def ignores_content(model: str) -> bool:
    """Return whether a model that comes with the program uses no item features, and settings of them are idle."""
    cls = settings_class(model)
    return model in MODELS and not (cls.uses_content or cls.needs_content)


def class_of(model: str) -> type[Any]:
    """Return the class of a model, a ``Recommender``, by its name.

    Raises:
        UsageError: it is one's own, and cannot be imported.
    """
    return resolve_name(MODELS[model][0]) if model in MODELS else own_class(model)


def describe(model: str) -> dict[str, Any]:
    """Return a model's row of `mmssl models`: name, paper, first paragraph of its docstring, cold items, settings.

    Raises:
        UsageError: as ``settings_class`` does.
    """
    cls = settings_class(model)
    about = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split()).rstrip(".")
    # Among the models that come with the program those of content rank cold items; their classes need PyTorch.
    cold = not ignores_content(model) if model in MODELS else class_of(model).cold_items is not None
    return {"model": model, "paper": cls.paper, "about": about, "cold_items": cold, "settings": len(cls.model_fields)}
