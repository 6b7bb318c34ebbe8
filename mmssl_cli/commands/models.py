"""`mmssl models`: the models, their papers and their settings."""

from __future__ import annotations

import inspect
import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from rich.text import Text

from mmssl_cli.commands.options import DEFAULT_DATA_DIR, AsJson, DataDir, chosen_dataset
from mmssl_cli.commands.presets_table import show_presets
from mmssl_cli.commands.settings_flags import bounds_of, choices_of, shipped_line, type_of
from mmssl_cli.config import SETTINGS, TrainSettings, known_model, merge_settings, settings_class
from mmssl_cli.config.registry import MODELS, class_of
from mmssl_cli.console.lines import say
from mmssl_cli.console.tables import new_table, show
from pipelines.errors import UsageError
from pipelines.io.files import write_bytes


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A model, to list its settings.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="<name>", help="Show the settings as `train` uses them there.")
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option("--template", metavar="FILE", help="Write a model of your own to start from."),
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
        known = [_describe(model, cls) for model, cls in SETTINGS.items()]
        _print(known, as_json, ("model", "paper", "about", "cold_items", "settings"))
        return
    name = known_model(name)
    if presets:
        show_presets(name, "" if dataset is None else chosen_dataset(dataset, data_dir), as_json)
        return
    settings = [_setting(key, field) for key, field in settings_class(name).model_fields.items()]
    if dataset is None:
        _print(settings, as_json, ("setting", "default", "allowed", "description"))
        return
    used = merge_settings({"model": name, "dataset": chosen_dataset(dataset, data_dir)})
    for row in settings:
        row["value"] = _plain(getattr(used, row["setting"].replace("-", "_")))
    _print(settings, as_json, ("setting", "value", "default", "allowed", "description"))
    if not as_json:
        print(f"\n{shipped_line(used) or f'No setting shipped for {name} on {dataset} overrides a default.'}")


def _write_template(path: Path) -> None:
    if not (path.suffix == ".py" and path.stem.isidentifier()):
        raise UsageError(f"--template cannot be {str(path)!r}: expected a file such as my_model.py.")
    if path.exists():
        raise UsageError(f"{path} already exists; choose another name.")
    text = (files("mmssl_cli.models") / "template.py").read_text(encoding="utf-8")
    write_bytes(path, text.replace("my_model", path.stem).encode())
    say(f"{path}: a model with one setting; train it: mmssl train --model {path.stem}:MyModel --dataset demo")


def _describe(model: str, cls: type[TrainSettings]) -> dict[str, Any]:
    about = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split()).rstrip(".")
    # Among the models that come with the program those of content rank cold items; their classes need PyTorch.
    cold = cls.uses_content or cls.needs_content if model in MODELS else class_of(model).cold_items is not None
    return {"model": model, "paper": cls.paper, "about": about, "cold_items": cold, "settings": len(cls.model_fields)}


def _setting(key: str, field: FieldInfo) -> dict[str, Any]:
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
