"""Merging of flags, files, presets and shipped settings into validated ones, and TOML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from mmssl_cli.config.classes import SETTINGS, ignores_content, settings_class
from mmssl_cli.config.presets import check_preset, has_preset, preset_settings, read_toml, shipped_settings
from mmssl_cli.config.registry import known_model
from mmssl_cli.config.train import RESUMABLE, FittedSettings, TrainSettings
from mmssl_cli.text import first_of
from pipelines.errors import UsageError, in_words, nearest

#: Usual word for a choice that has another name here -> that name.
_MEANT = {"gpu": "cuda"}
#: Settings of item features.
_CONTENT = {"modalities", "feature_scaling", "feature_control"}


def merge_settings(
    flags: Mapping[str, Any], config: Path | None = None, *, default_dataset: str = "demo", shipped: bool = True
) -> TrainSettings:
    """Merge class defaults, a preset or shipped settings, a TOML file and flags (``None`` is a flag not given).

    The settings shipped for the data set and model are used only where no preset and no file is named.

    Args:
        shipped: False leaves the shipped settings out.

    Raises:
        InputError: the TOML file cannot be read.
        UsageError: an unknown model, setting or preset, or a value out of its range.
    """
    from_file = read_toml(config) if config else {}
    return _merged(flags, from_file, config, default_dataset, shipped=shipped and config is None)


def _merged(
    flags: Mapping[str, Any], from_file: Mapping[str, Any], config: Path | None, default_dataset: str, *, shipped: bool
) -> TrainSettings:
    given = {key: value for key, value in flags.items() if value is not None}
    model = known_model(given.get("model", from_file.get("model", "mmssl")))
    dataset = given.get("dataset", from_file.get("dataset", default_dataset))
    settings_class(model)
    other = str(from_file.get("model", model))
    for key in from_file:
        _check_key(key, model, f" (in {config}{f', which is for {other}' if known_model(other) != model else ''})")
    for key in given:
        _check_key(key, model)
    beneath: Mapping[str, Any] = {}
    if isinstance(dataset, str):
        if (preset := given.get("preset", from_file.get("preset"))) is not None:
            beneath = preset_settings(preset, model, dataset)
        elif shipped:
            beneath = shipped_settings(dataset, model)
    merged = {**beneath, **from_file, **given, "model": model, "dataset": dataset}
    return build_settings(merged, {key: f" (in {config})" for key in from_file if key not in given})


def merge_for(
    model: str, flags: Mapping[str, Any], dataset: str, config: Path | None = None, *, shipped: bool = True
) -> TrainSettings:
    """Merge settings for one of several models: those that it lacks and another model has are left out.

    Those of content are left out for models that use none.

    A file that names another model is left out, and so is a preset that the model lacks; the settings shipped for it
    are used then.

    Args:
        shipped: False leaves the shipped settings out.

    Raises:
        InputError: the TOML file cannot be read.
        UsageError: a setting that no model has, or a value out of its range.
    """
    from_file = read_toml(config) if config else {}
    applies = config is not None and from_file.get("model", model) == model
    own_fields = set(settings_class(model).model_fields) - (_CONTENT if ignores_content(model) else set())
    others = {field for cls in SETTINGS.values() for field in cls.model_fields} - own_fields
    own, kept = (
        {
            key: value
            for key, value in values.items()
            if key not in others and not _lacks_preset(key, value, model, dataset)
        }
        for values in (from_file if applies else {}, flags)
    )
    return _merged({**kept, "dataset": dataset, "model": model}, own, config, dataset, shipped=shipped and not applies)


def _lacks_preset(key: str, value: Any, model: str, dataset: str) -> bool:
    return key == "preset" and value is not None and not has_preset(value, model, dataset)


def refuse_idle(models: Sequence[str], flags: Mapping[str, Any], dataset: str, config: Path | None = None) -> None:
    """Refuse a setting or a preset that none of the models has, and a file of settings for another model.

    Raises:
        InputError: the TOML file cannot be read.
        UsageError: there is one.
    """
    from_file = read_toml(config) if config else {}
    if (owner := from_file.get("model")) is not None and owner not in models:
        raise UsageError(f"--config {config} is for {owner}, not {', '.join(models)}; train {owner}, or leave it out.")
    if (preset := flags.get("preset", from_file.get("preset"))) is not None:
        check_preset(models, preset, dataset)
    for key in flags:
        if not any(key in settings_class(model).model_fields for model in models):
            names = [field.replace("_", "-") for model in models for field in settings_class(model).model_fields]
            shown = key.replace("_", "-")
            _refuse_dashes(key, names)
            reason = f"{why}." if (why := _why_lacking(key, models)) else f": {nearest(shown, set(names))}"
            lacking = f"Model {models[0]!r} has no" if len(models) == 1 else f"None of {', '.join(models)} has a"
            raise UsageError(f"{lacking} setting {shown!r}{reason}")


def build_settings(values: Mapping[str, Any], places: Mapping[str, str] | None = None) -> TrainSettings:
    """Validate a flat mapping (with its ``model``) into the model's settings.

    Args:
        places: of values that are no flags, where they stand, as errors say it: `` (in best.toml)``.

    Raises:
        UsageError: an unknown model or setting, or a value out of its range.
    """
    model = values.get("model", "mmssl")
    for key in values:
        _check_key(key, model, " (in the settings)")
    try:
        return settings_class(model)(**values)
    except ValidationError as problem:
        raise UsageError(_sentence(problem, places or {})) from problem


def resume_overrides(saved: TrainSettings, given: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Return the given settings of a resumed run that differ from the saved ones.

    Raises:
        UsageError: a given setting is unknown, invalid, or may not change.
    """
    # Another model has other settings: the comparison is made within the run's own model.
    checked = build_settings({**saved.model_dump(), **given, "model": saved.model})
    pairs = {name: (getattr(saved, name), getattr(checked, name)) for name in given if name != "model"}
    if "model" in given:
        pairs["model"] = (saved.model, given["model"])
    changed = {name: (old, new) for name, (old, new) in pairs.items() if old != new}
    refused = [f"{flag_of(name)} ({old}, not {new})" for name, (old, new) in changed.items() if name not in RESUMABLE]
    if refused:
        flags = ", ".join(map(flag_of, RESUMABLE))
        raise UsageError(
            f"Run {run_id} was trained with another {', '.join(refused)}; a resumed run keeps its settings, only "
            f"{flags} may change. Leave these out, or start a new run."
        )
    return {name: new for name, (_, new) in changed.items()}


def _check_key(key: str, model: str, where: str = "") -> None:
    fields = settings_class(model).model_fields
    if key in fields:
        return
    names = [field.replace("_", "-") for field in fields]
    shown = key.replace("_", "-")
    if reason := _why_lacking(key, [model]):
        raise UsageError(f"Model {model!r} has no setting {shown!r}{where}{reason}.")
    _refuse_dashes(key, names, where)
    raise UsageError(f"There is no setting {shown!r}{where}: {nearest(shown, names)}")


def _refuse_dashes(key: str, names: Sequence[str], where: str = "") -> None:
    """Refuse a setting of ``names`` whose dashes are not underscores, as those of a keyword in Python are.

    Raises:
        UsageError: it is such.
    """
    if key.replace("_", "-") in names:
        raise UsageError(f"There is no setting {key!r}{where}: write {key.replace('-', '_')}.")


def _why_lacking(key: str, models: Sequence[str]) -> str:
    """Return why none of the models has a setting that others have; empty if no model has it."""
    if key in TrainSettings.model_fields and all(issubclass(settings_class(one), FittedSettings) for one in models):
        return f", as {', '.join(models)} {'is' if len(models) == 1 else 'are'} fitted at once, not trained in steps"
    owners = [name for name, cls in SETTINGS.items() if key in cls.model_fields]
    return f"; it belongs to {first_of(owners)}" if owners else ""


def _sentence(problem: ValidationError, places: Mapping[str, str]) -> str:
    first = problem.errors()[0]
    name = ".".join(str(part) for part in first["loc"][:1])
    given = first["input"]
    if first["type"] == "literal_error":
        first["input"] = _MEANT.get(str(given).casefold(), given)
    shown = repr(",".join(map(str, given)) if isinstance(given, tuple | list) else given)
    return f"{flag_of(name)}{places.get(name, '')} cannot be {shown}: {in_words(first)}"


def flag_of(name: str) -> str:
    """Return the flag of a setting."""
    return f"--{name.replace('_', '-')}"


def settings_to_toml(settings: TrainSettings, provenance: Mapping[str, Any] | None = None) -> str:
    """Write settings as flat TOML with dashes in the keys, and a ``[provenance]`` table when given."""
    flat = {
        key.replace("_", "-"): list(value) if isinstance(value, tuple) else value
        for key, value in settings.model_dump().items()
        if value is not None
    }
    return tomli_w.dumps({**flat, **({"provenance": dict(provenance)} if provenance else {})})
