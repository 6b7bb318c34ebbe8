"""Points of a sweep: settings given by name or by the paper's symbol, their values and combinations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from mmssl_cli.config import TrainSettings, build_settings, settings_class
from mmssl_cli.config.forms import ELSEWHERE
from mmssl_cli.experiments.plan import over_seeds
from mmssl_cli.studies.run_selection import is_number
from pipelines.errors import UsageError, nearest

#: Values of Figure 4 (Sec. 4.4). The paper gives only ranges for its temperature, (0, 0.9), and for d, 2^3 to 2^9.
FIGURE_4: dict[str, str] = {
    "layers": "1,2,3,4",
    "zeta": "0,10,20,50,100,150",
    "gradient_penalty": "0,1,10,20,50,100,150",
    "gumbel_temperature": "0.05,0.085,0.2,0.5,0.9",
    "contrast_temperature": "0.05,0.085,0.2,0.5,0.9",
    "embedding_dim": "8,16,32,64,128,256,512",
}
#: Symbols of the paper.
SYMBOLS = {
    "layers": "L",
    "embedding_dim": "d",
    "heads": "H",
    "eta": "η",
    "omega": "ω",
    "zeta": "ζ",
    "gradient_penalty": "λ₁",
    "contrast_weight": "λ₂",
    "adversarial_weight": "λ₃",
    "weight_decay": "λ₄",
    "gumbel_temperature": "τ",
    "contrast_temperature": "τ′",
}
_PLAIN = str.maketrans({"₁": "1", "₂": "2", "₃": "3", "₄": "4", "′": "'", "λ": "lambda", "τ": "tau", "_": ""})
_ALIASES = {symbol.casefold().translate(_PLAIN): name for name, symbol in SYMBOLS.items()}


@dataclass(frozen=True)
class Point:
    """Settings that differ from the reference in the swept parameters alone.

    Attributes:
        values: one per swept parameter, in order.
        reference: True for the reference itself.
    """

    values: tuple[Any, ...]
    settings: TrainSettings
    reference: bool


@dataclass(frozen=True)
class Line:
    """One parameter with its points, or several with their grid."""

    parameters: tuple[str, ...]
    points: tuple[Point, ...]


def parameter_named(text: str, model: str) -> str:
    """Return the setting for a name or a symbol of the paper: ``embedding-dim``, ``lambda_1``, ``tau'``.

    Raises:
        UsageError: the model has no such setting, or it cannot be swept.
    """
    fields = settings_class(model).model_fields
    name = text.strip().replace("-", "_")
    if name not in fields:
        name = _ALIASES.get(name.casefold().translate(_PLAIN), name)
    if name in ELSEWHERE:
        raise UsageError(f"{shown_name(name)} cannot be swept: {ELSEWHERE[name]}.")
    if name not in fields:
        known = [shown_name(field) for field in fields if field not in ELSEWHERE]
        raise UsageError(f"Model {model!r} has no setting {text.strip()!r} to sweep: {nearest(text.strip(), known)}")
    return name


def parse(given: Sequence[str], reference: TrainSettings) -> dict[str, tuple[Any, ...]]:
    """Parse ``layers=1,2,3`` and validate the values; a list within a value is joined with ``+``.

    Args:
        given: the arguments of --param; if empty, the settings of Figure 4 that the model has.
        reference: the other settings.

    Returns:
        Parameter -> its distinct values.

    Raises:
        UsageError: an unknown parameter, no value, or a value out of range.
    """
    if not given:
        fields = type(reference).model_fields
        given = [f"{name}={values}" for name, values in FIGURE_4.items() if name in fields]
    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, listed = text.partition("=")
        if not equals:
            raise UsageError(f"--param {text!r} has no values; expected NAME=VALUE,VALUE,... such as layers=1,2,3.")
        parameter = parameter_named(name, reference.model)
        values = [part.strip() for part in listed.split(",") if part.strip()]
        if not values:
            raise UsageError(f"--param {text!r} has no values; expected {shown_name(parameter)}=VALUE,VALUE,...")
        found.setdefault(parameter, []).extend(values)
    return {parameter: valid_values(parameter, values, reference) for parameter, values in found.items()}


def valid_values(parameter: str, values: Iterable[Any], reference: TrainSettings) -> tuple[Any, ...]:
    """Return the distinct values of a setting, validated; ``reference`` has the other settings.

    Raises:
        UsageError: one is out of range.
    """
    return tuple(dict.fromkeys(getattr(_changed(reference, {parameter: value}), parameter) for value in values))


def lines_of(reference: TrainSettings, values: Mapping[str, Sequence[Any]], *, grid: bool = False) -> list[Line]:
    """Return the points to train: one line per parameter, the reference included; or one grid of all combinations.

    Raises:
        UsageError: a combination of values is invalid.
    """
    if grid:
        return [_line(reference, {name: _in_order(of) for name, of in values.items()})]
    own = {name: getattr(reference, name) for name in values}
    return [_line(reference, {name: _in_order([own[name], *of])}) for name, of in values.items()]


def runs_of(lines: Sequence[Line], seeds: int) -> dict[str, TrainSettings]:
    """Return the settings of each point with so many seeds, by a name such as ``layers 2, seed 2023``."""
    named = {}
    for line in lines:
        for point in line.points:
            pairs = zip(line.parameters, point.values, strict=True)
            shown = ", ".join(f"{shown_name(name)} {shown_value(value)}" for name, value in pairs)
            named.update({f"{shown}, seed {run.seed}": run for run in over_seeds(point.settings, seeds)})
    return named


def shown_name(parameter: str) -> str:
    """Return a setting as in its flag, without the leading dashes: ``embedding-dim``."""
    return parameter.replace("_", "-")


def shown_value(value: Any) -> str:
    """Return a value as text: ``0.085``, ``w/o-CL``, ``visual+textual``; ``default`` for None."""
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _line(reference: TrainSettings, values: Mapping[str, Sequence[Any]]) -> Line:
    own = tuple(getattr(reference, name) for name in values)
    points = (
        Point(combined, _changed(reference, dict(zip(values, combined, strict=True))), combined == own)
        for combined in product(*values.values())
    )
    return Line(tuple(values), tuple(points))


def _in_order(values: Iterable[Any]) -> list[Any]:
    """Distinct values, numbers by size and names in the given order."""
    once = list(dict.fromkeys(values))
    return sorted(once) if all(map(is_number, once)) else once


def _changed(reference: TrainSettings, values: Mapping[str, Any]) -> TrainSettings:
    plus = {
        name: value.replace("+", ",") if isinstance(value, str) and name == "modalities" else value
        for name, value in values.items()
    }
    return build_settings({**reference.model_dump(), **plus})
