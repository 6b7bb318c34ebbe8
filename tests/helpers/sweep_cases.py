"""Lines of `mmssl sweep`, and its section on written runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mmssl_cli.config import TrainSettings, build_settings
from mmssl_cli.reporting.document import Section
from mmssl_cli.runs.results import Configuration, configuration_of, configurations, finished_runs
from mmssl_cli.studies.sweep.points import Line, lines_of, parse
from mmssl_cli.studies.sweep.section import sweep_section

REFERENCE = build_settings({"model": "mmssl", "epochs": 100, "layers": 2})


def line(*given: str, grid: bool = False) -> list[Line]:
    return lines_of(REFERENCE, parse(given, REFERENCE), grid=grid)


def read(runs_dir: Path) -> tuple[Callable[[TrainSettings], Configuration | None], list[Configuration]]:
    """Arguments of a study: a finder of runs by settings, and all configurations."""
    found = configurations(finished_runs(runs_dir)[0])
    by_settings = {configuration_of(each.settings): each for each in found}
    return lambda settings: by_settings.get(configuration_of(settings)), found


def section_of(runs_dir: Path, lines: Sequence[Line], metric: str = "recall@20") -> Section:
    return sweep_section(lines, *read(runs_dir), metric)
