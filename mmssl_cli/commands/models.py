"""`mmssl models`: which models there are, from which paper, and what can be set."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from mmssl_cli.config import TrainSettings

_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A model, to list its settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")] = False,
) -> None:
    """List the models with their papers; with NAME, every setting of that model: default, bounds and meaning.

    Example: mmssl models mmssl
    """
    from mmssl_cli.config import SETTINGS, settings_class

    if name is None:
        known = [_describe(model, cls) for model, cls in SETTINGS.items()]
        _print(known, as_json, ("model", "paper", "about", "settings"))
        return
    settings = [_setting(key, field) for key, field in settings_class(name).model_fields.items()]
    _print(settings, as_json, ("setting", "default", "allowed", "description"))


def _describe(model: str, cls: type[TrainSettings]) -> dict[str, Any]:
    """The docstring of a settings class is `Name (paper). More.`"""
    text = " ".join((inspect.getdoc(cls) or "").split())
    paper = re.search(r"\s*\(([^()]*\b\d{4})\)", text)
    about = text if paper is None else text[: paper.start()] + text[paper.end() :]
    return {
        "model": model,
        "paper": paper.group(1) if paper else None,
        "about": about.rstrip("."),
        "settings": len(cls.model_fields),
    }


def _setting(key: str, field: FieldInfo) -> dict[str, Any]:
    return {
        "setting": key.replace("_", "-"),
        "default": list(field.default) if isinstance(field.default, tuple) else field.default,
        "allowed": _allowed(field),
        "description": field.description,
    }


def _allowed(field: FieldInfo) -> str:
    """The choices of a setting, or its type and bounds: ``float > 0``."""
    kind: Any = field.annotation
    kind = next((part for part in get_args(kind) if get_origin(part) is tuple), kind)
    if get_origin(kind) is Literal:
        return " | ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"{get_args(kind)[0].__name__},..."
    bounds = [
        f"{sign} {_bound(getattr(limit, key))}"
        for limit in field.metadata
        for key, sign in _SIGNS.items()
        if getattr(limit, key, None) is not None
    ]
    return " ".join([getattr(kind, "__name__", str(kind)), ", ".join(bounds)]).rstrip()


def _bound(value: float) -> str:
    return "2^63" if value == 2**63 else str(value)


def _print(records: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    if as_json:
        import json

        print(json.dumps(records, indent=2))
        return
    from rich.text import Text

    from mmssl_cli.reporting.tables import new_table, show

    table = new_table()
    for column in columns:
        table.add_column(column.capitalize(), justify="right" if column == "settings" else "left")
    for record in records:
        table.add_row(*(Text(_shown(record[column])) for column in columns))
    show(table, wrap=True)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "-" if value is None else str(value)
