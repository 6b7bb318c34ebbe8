"""The settings of a model, and its presets side by side, for `mmssl models NAME`."""

from __future__ import annotations

import json
from collections.abc import Collection
from textwrap import wrap
from typing import Any

from pydantic.fields import FieldInfo
from rich.text import Text

from mmssl_cli.commands.settings_flags import bounds_of, choices_of, shipped_line, type_of
from mmssl_cli.config import PRESETS, merge_settings, preset_settings, settings_class
from mmssl_cli.config.presets import preset_file, shipped_datasets, sources
from mmssl_cli.console.lines import say
from mmssl_cli.console.tables import new_table, show


def setting_records(model: str, dataset: str | None) -> tuple[list[dict[str, Any]], str]:
    """Return a record a setting of a model, and with a data set a line on the settings shipped for it.

    Args:
        dataset: adds the values that `mmssl train` uses on it, as ``value``.
    """
    records = [_record(key, field) for key, field in settings_class(model).model_fields.items()]
    if dataset is None:
        return records, ""
    used = merge_settings({"model": model, "dataset": dataset})
    for record in records:
        record["value"] = _plain(getattr(used, record["setting"].replace("-", "_")))
    return records, shipped_line(used) or f"No setting shipped for {model} on {dataset} overrides a default."


def _record(key: str, field: FieldInfo) -> dict[str, Any]:
    return {
        "setting": key.replace("_", "-"),
        "default": _plain(field.default),
        "allowed": _allowed(field),
        "description": field.description,
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _allowed(field: FieldInfo) -> str:
    """The choices of a setting, or its type and bounds: ``float > 0``."""
    bounds = ", ".join(f"{sign} {_bound(value)}" for sign, value in bounds_of(field))
    return " | ".join(choices_of(field)) or f"{type_of(field)} {bounds}".rstrip()


def _bound(value: float) -> str:
    return "2^63" if value == 2**63 else str(value)


def show_presets(model: str, dataset: str, as_json: bool) -> None:
    """Print the values of each preset of a model, and where each value comes from.

    Args:
        dataset: takes the presets of this data set where it has its own; empty for the general ones.
    """
    files = {name: path for name in PRESETS if name != "none" and (path := preset_file(name, model, dataset))}
    values = {name: preset_settings(name, model, dataset) for name in files}
    fields = settings_class(model).model_fields
    settings = [key for key in fields if any(key in given for given in values.values())]
    of = {name: sources(path) for name, path in files.items()}
    if as_json:
        records = [
            {"setting": key.replace("_", "-"), "none": fields[key].default}
            | {name: {"value": given[key], "source": of[name][key]} for name, given in values.items() if key in given}
            for key in settings
        ]
        print(json.dumps(records, indent=2))
        return
    if not files:
        where = f" on {dataset}" if dataset else ""
        say(f"No preset of {model} has settings of its own{where}: only none, the defaults.")
        return
    table = new_table()
    table.add_column("Setting")
    for name in ("none", *files):
        table.add_column(name, justify="right")
    for key in settings:
        cells = [fields[key].default, *(given.get(key, fields[key].default) for given in values.values())]
        table.add_row(*map(Text, [key.replace("_", "-"), *map(_shown, cells)]))
    show(table, wrap=True)
    for name, datasets in _of_data_sets(model, files).items():
        say(f"{name} is for {', '.join(datasets)} alone: mmssl models {model} --presets --dataset {datasets[0]}")
    for name, known in of.items():
        print(f"\nSources of {name}:" if any(known.values()) else f"\nSources of {name}: not in its file.")
        for text in dict.fromkeys(filter(None, known.values())):
            which = ", ".join(key.replace("_", "-") for key, source in known.items() if source == text)
            for line in wrap(
                f"{which}: {text}", 80, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
            ):
                say(line)


def _of_data_sets(model: str, shown: Collection[str]) -> dict[str, list[str]]:
    """Return preset -> the data sets that alone have it, of those that are not shown."""
    missing = [name for name in PRESETS if name != "none" and name not in shown]
    found = {name: shipped_datasets(name, model) for name in missing}
    return {name: datasets for name, datasets in found.items() if datasets}


def _shown(value: Any) -> str:
    return "-" if value is None else ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
