"""The flags of all models' settings, made from the settings classes."""

from __future__ import annotations

import inspect
import types
from typing import Any, Literal, Union, get_args, get_origin

import typer

from mmssl_cli.commands.options import keyword_flag
from mmssl_cli.config import SETTINGS, TrainSettings
from mmssl_cli.text import shown_value


def settings_flags() -> list[inspect.Parameter]:
    """One keyword parameter for each field of any model's settings, the common ones first.

    A setting that several models declare each for themselves is one flag; its help says whose default is what.
    """
    return [_settings_flag(name, declared) for name, declared in _declarations().items()]


def _declarations() -> dict[str, dict[type[TrainSettings], list[str]]]:
    """Field -> the classes that declare it -> the models that have it from there.

    The fields of all models stand before those of a few, and these before one model's.
    """
    models: dict[type[TrainSettings], list[str]] = {}
    for model, cls in SETTINGS.items():
        for ancestor in reversed(cls.__mro__):
            if issubclass(ancestor, TrainSettings):
                models.setdefault(ancestor, []).append(model)
    found: dict[str, dict[type[TrainSettings], list[str]]] = {}
    for cls in sorted(models, key=lambda cls: len(models[cls]), reverse=True):
        for name in inspect.get_annotations(cls):
            if name not in cls.model_fields:
                continue
            declared = found.setdefault(name, {})
            known = {model for others in declared.values() for model in others}
            if new := [model for model in models[cls] if model not in known]:  # else a subclass says it anew
                declared[cls] = new
    return found


def _settings_flag(name: str, declared: dict[type[TrainSettings], list[str]]) -> inspect.Parameter:
    from rich.markup import escape

    fields = {cls: cls.model_fields[name] for cls in declared}
    field = next(iter(fields.values()))
    kind = _without_none(field.annotation)
    flag = f"--{name.replace('_', '-')}"
    help = escape(field.description or "")
    if default := _default(name):
        help += f" [dim]{escape(f'[default: {default}]')}[/dim]"
    panel = _panel(declared)
    if kind is bool:
        option = typer.Option(f"{flag}/--no-{flag[2:]}", help=help, rich_help_panel=panel)
        return keyword_flag(name, bool | None, option, None)
    choices = tuple(dict.fromkeys(choice for each in fields.values() for choice in _choices(name, each.annotation)))
    option = typer.Option(
        flag,
        help=help,
        rich_help_panel=panel,
        metavar=f"<{'|'.join(choices)}>" if choices else _metavar(kind, field.metadata),
        autocompletion=(lambda incomplete: [c for c in choices if c.startswith(incomplete)]) if choices else None,
    )
    return keyword_flag(name, str | None, option, None)


def _default(name: str) -> str:
    """The default that most models have, then those of the others by name; empty for none."""
    models: dict[str, list[str]] = {}
    for model, cls in SETTINGS.items():
        if name in cls.model_fields and name != "model":
            models.setdefault(_shown_default(cls.model_fields[name].default), []).append(model)
    usual, *others = sorted(models, key=lambda shown: len(models[shown]), reverse=True) or [TrainSettings().model]
    apart = [f"{shown or 'none'} for {', '.join(models[shown])}" for shown in others]
    return "; ".join([usual or "none", *apart]) if apart else usual


def _shown_default(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else shown_value(value)


def _panel(declared: dict[type[TrainSettings], list[str]]) -> str:
    if len(declared) > 1:
        return "Several models"
    ((cls, _),) = declared.items()
    if cls is TrainSettings:
        return "Training"
    models = ", ".join(name for name, settings in SETTINGS.items() if issubclass(settings, cls))
    title = cls.__name__.removesuffix("Settings")
    return title if cls in SETTINGS.values() else f"{title} models ({models})"


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, types.UnionType}:
        kept = [part for part in get_args(annotation) if part is not type(None)]
        return kept[0] if len(kept) == 1 else annotation
    return annotation


def _choices(name: str, kind: Any) -> tuple[str, ...]:
    if name == "model":
        return tuple(SETTINGS)
    kind = _without_none(kind)
    return tuple(str(choice) for choice in get_args(kind)) if get_origin(kind) is Literal else ()


def _metavar(kind: Any, limits: list[Any]) -> str:
    if get_origin(kind) is tuple:
        element = {int: "int", float: "float"}.get(get_args(kind)[0], "name")
        return f"<{element},...>"
    label = {int: "int", float: "float", str: "name"}.get(kind, "value")
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    shown = [
        f"{sign}{getattr(limit, attribute)}"
        for attribute, sign in signs.items()
        for limit in limits
        if getattr(limit, attribute, None) is not None
    ]
    return f"<{' '.join([label, *shown])}>"
