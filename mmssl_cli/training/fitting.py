"""A training in memory, by validation alone: the trials of a search of settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmssl_cli.config import TrainSettings
from mmssl_cli.training.epochs import TrainState, run_epochs
from mmssl_cli.training.loading import load_data
from mmssl_cli.training.loop import pick_device
from mmssl_cli.training.trainer import make_loop


@dataclass(frozen=True)
class Fit:
    """Result of a training in memory.

    Attributes:
        score: the best value of the validation metric that selects.
        best_epoch, epochs: epochs count from 1.
        whole: False where the callback ended it.
    """

    score: float
    best_epoch: int
    epochs: int
    seconds: float
    whole: bool


def fit(settings: TrainSettings, data_dir: Path, on_validation: Callable[[int, float], bool]) -> Fit:
    """Train as ``train_run`` does, without writing a run and without reading the test split.

    Args:
        on_validation: called with each validated epoch and the best score so far; False ends the training.

    Raises:
        InputError: the data set is not valid.
        UsageError: settings that do not fit the data set or the machine.
        DivergedError: a loss term became infinite or NaN.
    """
    loop = make_loop(settings, load_data(settings, data_dir), pick_device(settings.device))
    state, started = TrainState([]), time.perf_counter()

    def on_epoch(record: dict[str, Any], best: bool) -> bool:
        validated = f"validation/{settings.select_on}" in record
        return not validated or on_validation(record["epoch"], state.best_score)

    whole = run_epochs(loop, state, on_epoch)
    return Fit(state.best_score, state.best_epoch, loop.epoch, time.perf_counter() - started, whole)
