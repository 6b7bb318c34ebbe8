"""The fields of result.json, each checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipelines.errors import InputError
from pipelines.io.parsing import parse_json

_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: Bounds of the metrics that are not in [0, 1].
_BOUNDS = {"novelty": (0.0, 64.0), "popularity": (0.0, 2.0**63), "similarity": (-1.0, 1.0)}


def _within_bounds(metrics: dict[str, float]) -> dict[str, float]:
    for name, value in metrics.items():
        low, high = _BOUNDS.get(name.partition("@")[0], (0.0, 1.0))
        if not low <= value <= high:
            raise ValueError(name)
    return metrics


_Metrics = Annotated[
    dict[Annotated[str, StringConstraints(pattern=r"^[a-z]+@[1-9][0-9]{0,8}$")], float],
    AfterValidator(_within_bounds),
]


class _OfItems(BaseModel):
    """Metrics of the warm or of the cold test items."""

    users: _Count
    interactions: _Count
    metrics: _Metrics


class _Result(BaseModel):
    """The fields of result.json. Those with a default are missing from a run that diverged, or of an older version."""

    model_config = ConfigDict(strict=True)

    status: str
    model: str
    dataset: str
    seed: _Count
    epochs: _Count
    best_epoch: _Count | None
    validation: _Metrics
    test: _Metrics
    variant: str | None = None
    label: str | None = None
    modalities: list[str] | None = None
    parameters: _Count | None = None
    seconds_per_epoch: _Seconds | None = None
    seconds_to_best: _Seconds | None = None
    peak_memory_bytes: _Count | None = None
    device: str | None = None
    problem: str | None = None
    warm_cold: dict[Literal["warm", "cold"], _OfItems] | None = None


def parse_result(path: Path, data: bytes) -> dict[str, Any]:
    """Return the fields in ``data``, the content of ``path``.

    Raises:
        InputError: one is missing or not what it should be.
        ValueError: it is nested too deeply.
    """
    try:
        _Result.model_validate_json(data)
    except ValidationError as problem:
        fault = problem.errors()[0]
        where = " ".join(repr(part) for part in fault["loc"]) or "content"
        raise InputError(f"{path} is damaged: its {where} is missing or not what it should be.") from problem
    result: dict[str, Any] = parse_json(data)
    return result
