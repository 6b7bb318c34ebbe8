"""Settings on the command line: flags made from the settings classes, and a line on shipped settings."""

from __future__ import annotations

import inspect
import types
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from rich.markup import escape

from mmssl_cli.commands.options import keyword_flag
from mmssl_cli.config import SETTINGS, TrainSettings, known_model, preset_settings, shipped_settings
from mmssl_cli.text import shown_value

#: Settings that the help of a command shows whatever the model.
COMMON = (
    *("model", "dataset", "preset", "modalities", "embedding_dim", "batch_size", "epochs", "patience", "lr"),
    *("select_on", "ks", "metrics", "seed", "device"),
)
_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def settings_flags() -> list[inspect.Parameter]:
    """Return one keyword parameter per field of any model's settings, the common ones first.

    A setting that several models declare is one flag; its help lists the defaults.
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
    fields = {cls: cls.model_fields[name] for cls in declared}
    field = next(iter(fields.values()))
    flag = f"--{name.replace('_', '-')}"
    help = _help(field, _default(name))
    panel = _panel(declared)
    if _without_none(field.annotation) is bool:
        option = typer.Option(f"{flag}/--no-{flag[2:]}", help=help, rich_help_panel=panel)
        return keyword_flag(name, bool | None, option, None)
    choices = tuple(dict.fromkeys(choice for each in fields.values() for choice in choices_of(each)))
    if name == "model":
        choices = tuple(SETTINGS)
    option = typer.Option(
        flag,
        help=help,
        rich_help_panel=panel,
        metavar=f"<{'|'.join(choices)}>" if choices else _metavar(field),
        autocompletion=(lambda incomplete: [c for c in choices if c.startswith(incomplete)]) if choices else None,
    )
    return keyword_flag(name, str | None, option, None)


def shorten_help(options: Iterable[Any], words: Sequence[str]) -> None:
    """Of the options of a command, hide in its help all settings but the common ones and those of a named model.

    Args:
        options: of the command, changed in place. Those of the model get its own default, bounds and description.
        words: the command line, in which ``--model X`` may name the model.
    """
    model = _named_model(words)
    fields = SETTINGS[model].model_fields if model else {}
    every = {name for cls in SETTINGS.values() for name in cls.model_fields}
    for option in options:
        name = option.name
        if name not in every or not any(word.startswith("--") for word in option.opts):
            continue
        own = name in fields and name not in TrainSettings.model_fields
        common = name in COMMON and (not model or name in fields)
        option.hidden = not (own or common)
        option.rich_help_panel = f"Settings of {model}" if own else "Common settings"
        if own:
            option.help = _help(fields[name])
            option.metavar = None if option.is_flag else _metavar(fields[name])
        elif common:
            option.help = _help(fields.get(name, TrainSettings.model_fields[name]))
            option.metavar = f"<{type_of(TrainSettings.model_fields[name]).replace('str', 'name')}>"


def _named_model(words: Sequence[str]) -> str | None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        named = following if word == "--model" else word.removeprefix("--model=") if "=" in word else ""
        if known_model(named) in SETTINGS:
            return known_model(named)
    return None


def _help(field: FieldInfo, default: str | None = None) -> str:
    default = _shown_default(field.default) if default is None else default
    shown = f" [dim]{escape(f'[default: {default}]')}[/dim]" if default else ""
    return escape(field.description or "") + shown


def _default(name: str) -> str:
    """Return the most frequent default, then the others with their models; empty for none."""
    models: dict[str, list[str]] = {}
    for model, cls in SETTINGS.items():
        if name in cls.model_fields and name != "model":
            models.setdefault(_shown_default(cls.model_fields[name].default), []).append(model)
    if not models:
        return str(TrainSettings.model_fields[name].default)
    usual, *others = sorted(models, key=lambda shown: len(models[shown]), reverse=True)
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


def type_of(field: FieldInfo) -> str:
    """Return the type of a setting without its bounds or choices: ``int``, or ``str,...`` for several."""
    kind = _without_none(field.annotation)
    if get_origin(kind) is Literal:
        return "str"
    if get_origin(kind) is tuple:
        return f"{get_args(kind)[0].__name__},..."
    return getattr(kind, "__name__", str(kind))


def bounds_of(field: FieldInfo) -> list[tuple[str, Any]]:
    """Return the bounds of a setting: ``[(">=", 0), ("<", 1)]``."""
    return [
        (sign, getattr(limit, attribute))
        for attribute, sign in _SIGNS.items()
        for limit in field.metadata
        if getattr(limit, attribute, None) is not None
    ]


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """Return the values that a setting is restricted to; empty for none."""
    kind = _without_none(field.annotation)
    return tuple(str(choice) for choice in get_args(kind)) if get_origin(kind) is Literal else ()


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, types.UnionType}:
        kept = [part for part in get_args(annotation) if part is not type(None)]
        return kept[0] if len(kept) == 1 else annotation
    return annotation


def _metavar(field: FieldInfo) -> str:
    label = "|".join(choices_of(field)) or type_of(field).replace("str", "name")
    return f"<{' '.join([label, *(f'{sign}{value}' for sign, value in bounds_of(field))])}>"


def shipped_line(settings: TrainSettings, chosen: Collection[str] = (), *, from_file: bool = False) -> str:
    """Describe the settings of a preset, or those shipped for a data set and model; empty if none override defaults.

    Args:
        chosen: settings of flags or a file, which take precedence.
        from_file: True if a file of settings is used, which leaves shipped settings out.
    """
    fields = type(settings).model_fields
    if settings.preset is not None:
        found = preset_settings(settings.preset, settings.model, settings.dataset)
        what = f"Preset {settings.preset} of {settings.model}"
    else:
        found = {} if from_file else shipped_settings(settings.dataset, settings.model)
        what = f"Settings shipped for {settings.model} on {settings.dataset}"
    values = {key: getattr(settings, key) for key in found}
    used = [
        f"{key.replace('_', '-')} {shown_value(value)}"
        for key, value in values.items()
        if key not in chosen and value != fields[key].default
    ]
    return f"{what}: {', '.join(used)}." if used else ""
