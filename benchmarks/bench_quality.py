"""Time to quality: processor seconds until a model has 99 % of its final validation score, and hours of a whole plan.

``--runs`` reads the finished runs of a folder; without it models are trained here, each with its settings for TikTok or
the defaults. The final score is that of the selected epoch, by the metric that selects it. Seconds are those of the
epochs, validation included, and not of reading the data and building the model. ``--against`` shows the log of other
programs beside, until 99 % of its own final score: theirs divided by ours until 99 % of our score, and of their score.
The log is CSV of model, epoch, seconds and score, with seed where there are several trainings, or JSON, a list of
objects with these keys; a row per epoch, its own processor seconds with validation, the score empty (null) where it was
not validated.

Example: python -m benchmarks.bench_quality --runs runs --dataset tiktok --against mmrec_log.csv
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.command import Report, add_numbers, parser_for, run
from benchmarks.timing import quartiles
from benchmarks.workload import DATA_HELP, training_loop
from mmssl_cli.config import settings_class
from mmssl_cli.runs.results import configurations, finished_runs
from mmssl_cli.training.epochs import TrainState, run_epochs
from pipelines.errors import InputError
from pipelines.io.parsing import parse_json

SHARE = 0.99
_COLUMNS = ("model", "epoch", "seconds", "score")


@dataclass(frozen=True)
class Course:
    """The epochs of a run.

    Attributes:
        scores: float64 [epochs], NaN where an epoch was not validated; at least one is a number.
        seconds: float64 [epochs], wall seconds of each epoch.
        processor_seconds: float64 [epochs]; NaN where they were not recorded.
    """

    scores: np.ndarray
    seconds: np.ndarray
    processor_seconds: np.ndarray

    @property
    def final(self) -> float:
        """Score of the selected epoch."""
        return float(np.nanmax(self.scores))

    @property
    def reached(self) -> int:
        """Epochs until ``SHARE`` of the final score."""
        return int(np.argmax(self.scores >= SHARE * self.final)) + 1

    def processor_until(self, score: float) -> float:
        """Processor seconds until ``SHARE`` of a score; infinity if it is never reached."""
        there = np.flatnonzero(self.scores >= SHARE * score)
        return float(self.processor_seconds[: there[0] + 1].sum()) if len(there) else math.inf


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON."""
    parser = parser_for(__doc__, "threads", "device")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="read the finished runs of a folder; train none")
    parser.add_argument("--dataset", help="with --runs, of this data set alone")
    parser.add_argument("--data", type=Path, help=f"{DATA_HELP}; to train on")
    parser.add_argument("--models", default="mf,lightgcn", help="to train, comma-separated; default mf,lightgcn")
    parser.add_argument("--against", type=Path, metavar="FILE", help="CSV or JSON of model, epoch, seconds, score")
    add_numbers(parser, epochs=5)
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return the time to quality of each model, with the ratio to other programs, and the hours of all runs."""
    others = read_log(options.against) if options.against else {}
    if options.runs:
        rows, problems = courses_of_runs(options.runs, options.dataset)
    else:
        rows, problems = [_train(model, options) for model in options.models.split(",")], []
    results = []
    for about, courses in rows:
        theirs = others.get(about["model"])
        results.append({**about, **_figures(courses), **(_beside(theirs, courses) if theirs else {})})
    every = [course for _, courses in rows for course in courses]
    report: Report = {"share_of_the_final_score": SHARE, "results": results, "plan": _whole(every)}
    return {**report, "left_out": [{"run": problem} for problem in problems]} if problems else report


def courses_of_runs(folder: Path, dataset: str | None) -> tuple[list[tuple[dict[str, Any], list[Course]]], list[str]]:
    """Return the finished runs, by configuration, each with names for its row, and sentences on damaged runs.

    Raises:
        InputError: there is none.
    """
    runs, problems = finished_runs(folder, dataset)
    if not runs:
        where = f" on {dataset}" if dataset else ""
        raise InputError(f"{folder} holds no finished runs{where}; `mmssl train` makes one.")
    rows = []
    for configuration in configurations(runs):
        settings = configuration.settings
        about = {"model": settings.model, "label": configuration.label, "dataset": settings.dataset}
        courses = [course_of(run.metrics, settings.select_on) for run in configuration.runs]
        rows.append(({**about, "metric": settings.select_on}, courses))
    return rows, problems


def course_of(metrics: pd.DataFrame, select_on: str) -> Course:
    """Read the course of a run from its metrics.parquet, or from the records of its epochs."""
    unknown = pd.Series(np.nan, index=metrics.index)
    processor = metrics.get("processor_seconds", unknown)
    columns = metrics[f"validation/{select_on}"], metrics["seconds"], processor
    return Course(*(column.to_numpy(np.float64) for column in columns))


def _train(model: str, options: argparse.Namespace) -> tuple[dict[str, Any], list[Course]]:
    wanted = {"epochs": options.epochs, "patience": options.epochs}
    given = {name: value for name, value in wanted.items() if name in settings_class(model).model_fields}
    loop, state = training_loop(options.data, model, options.device, **given), TrainState([])
    run_epochs(loop, state, on_epoch=lambda record, best: True)
    metric = loop.settings.select_on
    about = {"model": model, "label": loop.settings.label, "dataset": loop.data.name, "metric": metric}
    return about, [course_of(pd.DataFrame(state.records), metric)]


def _figures(courses: Sequence[Course]) -> dict[str, Any]:
    """Return the medians of runs that differ in the seed; those of processor time where all runs recorded it."""
    found = {
        "runs": len(courses),
        "epochs": float(np.median([course.reached for course in courses])),
        "score": float(np.median([course.final for course in courses])),
        "seconds": quartiles([course.seconds[: course.reached].sum() for course in courses]),
    }
    if all(np.isfinite(course.processor_seconds).all() for course in courses):
        found["processor_seconds"] = quartiles(_processor(courses))
        found["processor_seconds_of_all_epochs"] = quartiles([course.processor_seconds.sum() for course in courses])
    return found


def _processor(courses: Iterable[Course]) -> np.ndarray:
    return np.array([course.processor_until(course.final) for course in courses])


def _beside(theirs: Sequence[Course], courses: Sequence[Course]) -> dict[str, Any]:
    """Return the medians of another program's trainings, and its median seconds divided by each of ours.

    ``ratio_to_their_score`` is that of ours until the same share of their final score, 0 where it is never reached.
    """
    seconds = float(np.median(_processor(theirs)))
    reached, final = (float(np.median([getattr(one, name) for one in theirs])) for name in ("reached", "final"))
    found = {"their_epochs": reached, "their_score": final, "theirs": seconds}
    ours = _processor(courses)
    if not np.isfinite(ours).all():
        return found
    to_theirs = np.array([course.processor_until(final) for course in courses])
    return {
        **found,
        "processor_ratio": quartiles(seconds / ours),
        "ratio_to_their_score": quartiles(seconds / to_theirs),
    }


def _whole(courses: Sequence[Course]) -> dict[str, Any]:
    known = [course for course in courses if np.isfinite(course.processor_seconds).all()]
    return {
        "runs": len(courses),
        "hours": sum(float(course.seconds.sum()) for course in courses) / 3600,
        "processor_hours": sum(float(course.processor_seconds.sum()) for course in known) / 3600,
        "runs_without_processor_seconds": len(courses) - len(known),
    }


def read_log(path: Path) -> dict[str, list[Course]]:
    """Read the trainings of other programs, by model in small letters; their ``seconds`` are processor seconds.

    Rows of several trainings of a model differ in ``seed``.

    Raises:
        InputError: the file does not exist or has another form.
    """
    try:
        if path.suffix == ".json":
            rows = parse_json(path.read_bytes())
        else:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        epochs = sorted(
            (str(row["model"]).lower(), str(row.get("seed", "")), int(row["epoch"]), *_numbers(row)) for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(
            f"{path} holds no epochs to compare with ({problem}); expected CSV or JSON with {', '.join(_COLUMNS)}."
        ) from problem
    found: dict[str, list[Course]] = {}
    for model, seed in dict.fromkeys((name, seed) for name, seed, *_ in epochs):
        numbers, seconds, scores = np.array([row for name, of, *row in epochs if (name, of) == (model, seed)]).T
        if len(set(numbers)) < len(numbers) or not np.isfinite(scores).any():
            raise InputError(f"{path}: {model} has an epoch twice, or no score; expected a row per epoch.")
        found.setdefault(model, []).append(Course(scores, seconds, seconds))
    return found


def _numbers(row: dict[str, Any]) -> tuple[float, float]:
    """Return seconds and score of an epoch, NaN for no score."""
    seconds = float(row["seconds"])
    score = math.nan if row["score"] in ("", None) else float(row["score"])
    if not (0 <= seconds < math.inf and (math.isnan(score) or math.isfinite(score))):
        raise ValueError(f"{row['seconds']!r} seconds, score {row['score']!r}")
    return seconds, score


if __name__ == "__main__":
    main()
