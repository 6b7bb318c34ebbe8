"""A training in memory that leaves nothing on disk: what a search of settings tries, by validation alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmssl_cli.config import TrainSettings
from mmssl_cli.training.checkpoint import TrainState
from mmssl_cli.training.loading import load_data
from mmssl_cli.training.loop import pick_device
from mmssl_cli.training.trainer import make_loop, validate


@dataclass(frozen=True)
class Fit:
    """How a training in memory went.

    Attributes:
        score: the best value of the validation metric that selects.
        best_epoch, epochs: epochs count from 1.
        whole: False where it was told to stop.
    """

    score: float
    best_epoch: int
    epochs: int
    seconds: float
    whole: bool


def fit(settings: TrainSettings, data_dir: Path, goes_on: Callable[[int, float], bool]) -> Fit:
    """Train as ``train_run`` does, without a folder and without a look at the test split.

    Args:
        goes_on: told each validated epoch and the best score so far; False ends the training.

    Raises:
        InputError: the data set is not valid.
        UsageError: settings that do not fit the data set or the machine.
        DivergedError: a loss term became infinite or NaN.
    """
    loop = make_loop(settings, load_data(settings, data_dir), pick_device(settings.device))
    progress, started, whole = TrainState([]), time.perf_counter(), True
    while progress.goes_on(settings):
        progress.records.append(loop.run_epoch())
        if loop.epoch % settings.evaluate_every and loop.epoch < settings.epochs:
            continue
        with loop.averaged_weights():
            score = validate(loop)[settings.select_on]
        if score > progress.best_score:
            progress.best_epoch, progress.best_score = loop.epoch, score
        if not goes_on(loop.epoch, progress.best_score):
            whole = False
            break
    return Fit(progress.best_score, progress.best_epoch, loop.epoch, time.perf_counter() - started, whole)
