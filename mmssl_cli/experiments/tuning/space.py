"""Ranges of a search: lists, or spans such as ``{ low = 1e-4, high = 1e-2 }``; in a TOML file, or as a mapping."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmssl_cli.config import build_settings, settings_class
from mmssl_cli.config.forms import ELSEWHERE
from mmssl_cli.config.merging import flag_of
from mmssl_cli.config.presets import parse_toml, shipped_settings
from mmssl_cli.config.train import RESUMABLE
from pipelines.errors import InputError, UsageError, nearest

_ELSEWHERE = ELSEWHERE | {
    "model": "name the models in the command",
    "seed": "--seeds N trains the best trials with N seeds",
}
RANGES = Path(__file__).parents[2] / "presets" / "ranges"


@dataclass(frozen=True)
class Choices:
    """A list of values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Span:
    """The numbers from ``low`` to ``high``, integers where both are; ``log``: uniform in the logarithm."""

    low: float
    high: float
    log: bool = False


Space = dict[str, Choices | Span]
#: A TOML file of ranges and starts, or what it would hold.
Ranges = Path | Mapping[str, Any]
#: Values of settings that a search tries first; those of a preset may be of settings without a range.
Start = dict[str, Any]


def has_space(model: str) -> bool:
    """Return whether there are ranges for a model, in a file shipped for it or in its settings class."""
    return (RANGES / f"{model}.toml").is_file() or bool(settings_class(model).ranges)


def shipped_space(model: str) -> Space:
    """Return the ranges in the file shipped for a model, or those of its settings class where there is none.

    Raises:
        UsageError: there is no such model.
    """
    settings = settings_class(model)
    path = RANGES / f"{model}.toml"
    if not has_space(model):
        raise UsageError(f"Model {model!r} has no settings to search; name some in a file of --ranges.")
    return read_space(path, model) if path.is_file() else _checked(settings.ranges, model, settings.__name__)


def shipped_starts(model: str) -> list[Start]:
    """Return the published settings in the file of ranges shipped for a model."""
    path = RANGES / f"{model}.toml"
    return read_starts(path, model) if path.is_file() else []


def read_starts(ranges: Ranges, model: str) -> list[Start]:
    """Read the tables ``[[starts]]`` of ranges: settings to try first, and ``source``, where they come from.

    With ``preset = "DATASET"`` or ``"DATASET/MODEL"``, those shipped for it stand for the settings that are not given.

    Raises:
        InputError: a table is none, or a value is outside of its range.
        UsageError: a setting without a range, or a preset that is not shipped.
    """
    raw, where = _read(ranges)
    space = _checked(raw, model, where)
    return [_start(table, space, model, f"{where}: start {at}") for at, table in enumerate(_tables(raw, where), 1)]


def _start(table: Mapping[str, Any], space: Space, model: str, where: str) -> Start:
    given = {key.replace("-", "_"): hashable(value) for key, value in table.items() if key not in ("source", "preset")}
    if unknown := [name.replace("_", "-") for name in given if name not in space]:
        raise UsageError(f"{where} has {unknown[0]!r}, which has no range; give it one or leave it out.")
    preset = _of_preset(table["preset"], model, where) if "preset" in table else {}
    start = preset | given
    for name, value in start.items():
        if name in space and not contains(space[name], value):
            key = name.replace("_", "-")
            raise InputError(f"{where} has {key} = {value}, outside of its range; widen the range.")
    return start


def start_of(settings: Mapping[str, Any], model: str) -> Start:
    """Return shipped settings, of a model or another one, as a start of a search of ``model``.

    Those that it lacks are left out, and those of how long a trial trains, for these are the search's.
    """
    fields = settings_class(model).model_fields.keys() - {*_ELSEWHERE, *RESUMABLE}
    return {key: hashable(value) for key, value in settings.items() if key in fields}


def _of_preset(name: Any, model: str, where: str) -> Start:
    dataset, _, other = str(name).partition("/")
    if settings := shipped_settings(dataset, other or model):
        return start_of(settings, model)
    raise UsageError(
        f"{where} has the preset {name!r}: expected DATASET or DATASET/MODEL with shipped settings, such as "
        '"tiktok/lightgcn".'
    )


def _tables(raw: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    tables = raw.get("starts", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{where}: expected starts as tables [[starts]], each with values such as lr = 1e-3.")
    return tables


def contains(of: Choices | Span, value: Any) -> bool:
    """Return whether a range holds a value."""
    if isinstance(of, Choices):
        return value in of.values
    return isinstance(value, int | float) and of.low <= value <= of.high


def read_space(ranges: Ranges, model: str) -> Space:
    """Read ranges, each end and choice checked by the model's settings class.

    Raises:
        InputError: the file is missing, is not TOML, or a range is none.
        UsageError: an unknown setting, or a value out of its bounds.
    """
    raw, where = _read(ranges)
    return _checked(raw, model, where)


def _read(ranges: Ranges) -> tuple[Mapping[str, Any], str]:
    if isinstance(ranges, Mapping):
        return _plain(ranges), "ranges"
    missing = f"There is no file of ranges {ranges}; expected TOML such as lr = [1e-4, 1e-3]."
    return parse_toml(ranges, missing), str(ranges)


def _plain(given: Any) -> Any:
    """Return what a TOML file would hold: arrays and tuples as lists, numbers of NumPy as Python's.

    Raises:
        UsageError: a key is no text.
    """
    if hasattr(given, "tolist"):
        return given.tolist()
    if isinstance(given, Mapping):
        if unnamed := [key for key in given if not isinstance(key, str)]:
            raise UsageError(f"ranges cannot be of {unnamed[0]!r}: expected names of settings, such as lr.")
        return {key: _plain(value) for key, value in given.items()}
    return [_plain(value) for value in given] if isinstance(given, list | tuple | range) else given


def _checked(raw: Mapping[str, Any], model: str, where: str) -> Space:
    space: Space = {}
    fields = settings_class(model).model_fields
    for key, given in raw.items():
        if key == "starts":
            continue
        name = key.replace("-", "_")
        if name in _ELSEWHERE:
            raise UsageError(f"{where} has a range for {key!r}, which cannot be searched: {_ELSEWHERE[name]}.")
        if name not in fields:
            raise _unknown(key, given, model, where)
        if name in space:
            raise UsageError(f"{where} has two ranges for {name!r}, with dashes and with underscores; leave one out.")
        space[name] = _range(given, key, where)
        for value in _examples(space[name]):
            _check(model, name, value, where)
    if not space:
        raise InputError(f"{where} holds no range; expected lines such as lr = [1e-4, 1e-3].")
    return space


def _unknown(key: str, given: Any, model: str, where: str) -> UsageError:
    if isinstance(given, list) and all(isinstance(one, dict) for one in given):
        return UsageError(f"{where} has tables [[{key}]]; settings to try first are tables [[starts]].")
    if isinstance(given, dict) and not {"low", "high"} & given.keys():
        return UsageError(f"{where} has a table [{key}]; write its ranges without a heading.")
    known = [name.replace("_", "-") for name in settings_class(model).model_fields if name not in _ELSEWHERE]
    return UsageError(f"{where} has a range for {key!r}, which is no setting of {model}: {nearest(key, known)}")


def _range(given: Any, key: str, where: str) -> Choices | Span:
    if isinstance(given, list) and given:
        return Choices(tuple(map(hashable, given)))
    if isinstance(given, dict) and {"low", "high"} <= given.keys() <= {"low", "high", "log"}:
        low, high, log = given["low"], given["high"], given.get("log", False)
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        if numbers and low < high and isinstance(log, bool) and (low > 0 or not log):
            return Span(low, high, log)
    raise InputError(
        f"{where}: the range of {key!r} is not one: expected a list of values or {{ low = 1e-4, high = 1e-2, "
        f"log = true }} with low below high (and above 0 with log), not {str(given)[:60]}."
    )


def hashable(value: Any) -> Any:
    """Return a value with a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _examples(of: Choices | Span) -> tuple[Any, ...]:
    return of.values if isinstance(of, Choices) else (of.low, of.high)


def _check(model: str, name: str, value: Any, where: str) -> None:
    try:
        # Alone, a value may be refused for another's sake (heads divide the dimension): only its own bounds count.
        build_settings({"model": model, name: value})
    except UsageError as problem:
        if str(problem).startswith(f"{flag_of(name)} ") and "divisor" not in str(problem):
            raise UsageError(f"{where}: {problem}") from problem


def without(space: Mapping[str, Choices | Span], fixed: Collection[str]) -> Space:
    """Return the ranges of the settings that are not fixed."""
    return {name: of for name, of in space.items() if name not in fixed}
