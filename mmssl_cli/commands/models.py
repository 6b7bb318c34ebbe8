"""`mmssl models`: the models, their papers and their settings."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, AsJson, DataDir, chosen_dataset
from mmssl_cli.config.registry import MODELS, known_model, listing, own_names
from mmssl_cli.console.lines import say
from mmssl_cli.console.tables import new_table, show
from pipelines.errors import UsageError
from pipelines.io.files import write_bytes


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A model, to list its settings.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="<name>", help="Show the values that `train` uses on it.")
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option("--template", metavar="FILE", help="Write a template of a custom model."),
    ] = None,
    presets: Annotated[
        bool, typer.Option("--presets", help="Show the presets of the model side by side, with the sources of values.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List the models with their papers, and which rank cold items by content.

    With NAME, list the settings of that model: default, bounds and description.

    With --dataset also the value that `mmssl train` uses on that data set, where tuned settings may be shipped.

    Example: mmssl models mmssl --presets

    Example: mmssl models mmssl

    Example: mmssl models mmssl --dataset tiktok

    Example: mmssl models --template my_model.py
    """
    if template is not None:
        _write_template(template)
        return
    if name is None and (dataset is not None or presets):
        raise UsageError("--dataset and --presets show the settings of one model; name the model, such as mmssl.")
    if name is None:
        _print(_listed(), as_json, ("model", "paper", "about", "cold_items", "settings"))
        return
    # The settings classes take time to build, and the list needs none.
    from mmssl_cli.commands.model_settings import setting_records, show_presets

    name = known_model(name)
    if presets:
        show_presets(name, "" if dataset is None else chosen_dataset(dataset, data_dir), as_json)
        return
    records, line = setting_records(name, None if dataset is None else chosen_dataset(dataset, data_dir))
    _print(records, as_json, ("setting", *(["value"] if dataset else []), "default", "allowed", "description"))
    if line and not as_json:
        print(f"\n{line}")


def _listed() -> list[dict[str, Any]]:
    known = listing()
    if own_names() or len(known) < len(MODELS):
        from mmssl_cli.config.classes import SETTINGS, describe

        return [known.get(model) or describe(model) for model in SETTINGS]
    return list(known.values())


def _write_template(path: Path) -> None:
    if not (path.suffix == ".py" and path.stem.isidentifier()):
        raise UsageError(f"--template cannot be {str(path)!r}: expected a file such as my_model.py.")
    if path.exists():
        raise UsageError(f"{path} already exists; choose another name.")
    text = (files("mmssl_cli.models") / "template.py").read_text(encoding="utf-8")
    write_bytes(path, text.replace("my_model", path.stem).encode())
    say(f"{path}: a model with one setting; train it: mmssl train --model {path.stem}:MyModel --dataset demo")


def _print(records: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    if as_json:
        print(json.dumps(records, indent=2))
        return
    table = new_table()
    for column in columns:
        table.add_column(column.capitalize().replace("_", " "), justify="right" if column == "settings" else "left")
    for record in records:
        table.add_row(*(Text(_shown(record[column])) for column in columns))
    show(table, wrap=True)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
