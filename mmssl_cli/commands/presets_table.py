"""The presets of a model side by side, for `mmssl models NAME --presets`."""

from __future__ import annotations

import json
from textwrap import wrap
from typing import Any

from rich.text import Text

from mmssl_cli.config import PRESETS, preset_settings, settings_class
from mmssl_cli.config.presets import preset_file, sources
from mmssl_cli.console.lines import say
from mmssl_cli.console.tables import new_table, show


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
    for name, known in of.items():
        print(f"\nSources of {name}:" if any(known.values()) else f"\nSources of {name}: not in its file.")
        for text in dict.fromkeys(filter(None, known.values())):
            which = ", ".join(key.replace("_", "-") for key, source in known.items() if source == text)
            for line in wrap(
                f"{which}: {text}", 80, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
            ):
                say(line)


def _shown(value: Any) -> str:
    return "-" if value is None else ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
