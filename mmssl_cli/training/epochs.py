"""The epochs of a training: train, validate, select the best, and stop when patience ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from mmssl_cli.config import TrainSettings
from mmssl_cli.data.catalog import catalog_of
from mmssl_cli.distributed.collectives import broadcast, broadcast_tensors, world_size
from mmssl_cli.distributed.process_group import ReportedByRankZero
from mmssl_cli.evaluation.items import evaluate_items
from mmssl_cli.evaluation.metrics import evaluate_ranking
from mmssl_cli.evaluation.ranking import UnrankableError
from mmssl_cli.models.base import Recommender
from mmssl_cli.text import ACCURACY
from mmssl_cli.training.loop import DivergedError, TrainingLoop
from mmssl_cli.training.shared_ranking import shared_ranking


@dataclass
class TrainState:
    """Progress of a training, beside the state of its loop.

    Attributes:
        records: a row of metrics.parquet for each epoch.
        best_epoch: the selected epoch, from 1; 0 before the first validation.
    """

    records: list[dict[str, Any]]
    best_epoch: int = 0
    best_score: float = -math.inf
    best_metrics: dict[str, float] | None = None
    #: Columns of counts by item, the sum over the validated epochs, and their number, with ``item_epochs``.
    item_counts: dict[str, Tensor] | None = None
    item_epochs: int = 0
    #: Bytes, the most of any session.
    peak_memory: int = 0

    def is_unfinished(self, settings: TrainSettings) -> bool:
        """Return whether another epoch is due: neither are all done nor has patience ended."""
        done = len(self.records)
        # Patience ends at a validation only: before the first there would be no model to select.
        validated = done % settings.evaluate_every == 0
        return done < settings.epochs and not (validated and done - self.best_epoch >= settings.patience)


def run_epochs(
    loop: TrainingLoop,
    state: TrainState,
    on_epoch: Callable[[dict[str, Any], bool], bool],
    on_best: Callable[[Recommender], None] = lambda model: None,
    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None,
    on_validated: Callable[[], None] = lambda: None,
) -> bool:
    """Train until all epochs are done, patience ends or ``on_epoch`` stops.

    Args:
        on_epoch: called after each epoch with its record (``epoch``, ``loss/<term>``, ``lr``, ``seconds``,
            ``processor_seconds``, and ``validation/<metric>`` where it was validated), and whether it is the best so
            far; False stops.
        on_best: called with the model after each validation that is the best so far, while it has the weights that
            were validated.
        on_validated: called after each validation, while the model has the weights that were validated.
        on_batch: called after each batch with the epoch, and the number of its batches done and of all.

    Returns:
        False where ``on_epoch`` stopped the training.

    Raises:
        DivergedError: a loss term, a weight or a score became infinite or NaN.
    """
    settings, continues = loop.settings, True
    while broadcast(continues and state.is_unfinished(settings)):
        started, processor = time.perf_counter(), time.process_time()
        number = loop.epoch + 1
        loop.on_step = partial(on_batch, number)
        record: dict[str, Any] = {"epoch": number, **loop.run_epoch()}
        best = False
        with loop.averaged_weights():
            if _is_validated(loop):
                metrics = _validate(loop)
                record.update({f"validation/{name}": value for name, value in metrics.items()})
                best = metrics[settings.select_on] > state.best_score
                on_validated()
            if best:
                state.best_epoch, state.best_score = loop.epoch, metrics[settings.select_on]
                state.best_metrics = metrics
                on_best(loop.model)
        record["seconds"] = time.perf_counter() - started
        record["processor_seconds"] = time.process_time() - processor
        state.records.append(record)
        continues = on_epoch(record, best)
    return continues


def follow_epochs(loop: TrainingLoop) -> None:
    """Train and rank along with rank 0 until it ends the training, the test of the best epoch included.

    Raises:
        ReportedByRankZero: the training diverged.
        LostError: another process has ended.
    """
    try:
        while broadcast(True):
            loop.run_epoch()
            if _is_validated(loop) and not loop.model.has_fit():
                with loop.averaged_weights():
                    _validate(loop)
    except DivergedError as problem:
        raise ReportedByRankZero(str(problem)) from problem
    if not loop.model.has_fit():
        evaluate_on_test(loop)


def _is_validated(loop: TrainingLoop) -> bool:
    return loop.epoch % loop.settings.evaluate_every == 0 or loop.epoch == loop.settings.epochs


def _validate(loop: TrainingLoop) -> dict[str, float]:
    try:
        return evaluate_model(loop, "validation")[0]
    except UnrankableError as problem:  # finite weights can still make scores that are not
        raise DivergedError(f"After epoch {loop.epoch} {problem.what}; a smaller --lr usually helps") from problem


@torch.no_grad()
def count_items(loop: TrainingLoop, state: TrainState) -> None:
    """Add the test hits of each item with the model's present weights to those of the epochs before."""
    data = loop.data
    table = evaluate_items(loop.model.ranking(), data.num_items, data.train, data.test, loop.settings.all_ks)
    found = {name: torch.from_numpy(table[name].to_numpy(dtype="int64")) for name in table}
    earlier = state.item_counts or {}
    state.item_counts = {
        name: earlier[name] + counts if name in earlier and "@" in name else counts for name, counts in found.items()
    }
    state.item_epochs += 1


def evaluate_on_test(
    loop: TrainingLoop, on_ranked: Callable[[Tensor, Tensor], object] | None = None
) -> tuple[dict[str, float], pd.DataFrame]:
    """Evaluate the weights of rank 0's model on test, as ``evaluate_model`` does."""
    if world_size() > 1 and not loop.model.has_fit():
        state = loop.model.state_dict()
        broadcast_tensors(state.values())
        loop.model.load_state_dict(state)  # with its hooks: what was made of other weights is forgotten
    return evaluate_model(loop, "test", on_ranked)


@torch.no_grad()
def evaluate_model(
    loop: TrainingLoop,
    split: Literal["validation", "test"],
    on_ranked: Callable[[Tensor, Tensor], object] | None = None,
) -> tuple[dict[str, float], pd.DataFrame]:
    """Return the metrics of the model with its present weights, and a table of them by user.

    On validation, which is ranked after each epoch, only those of accuracy. Several processes share the users out; a
    fitted model is that of rank 0, which ranks for all.

    Args:
        on_ranked: as of :func:`mmssl_cli.evaluation.metrics.evaluate`.
    """
    loop.model.eval()
    settings, data = loop.settings, loop.data
    metrics = settings.all_metrics if split == "test" else [name for name in settings.all_metrics if name in ACCURACY]
    catalog = catalog_of(data, metrics)
    ranking, relevant = loop.model.ranking(), getattr(data, split)
    if not loop.model.has_fit():
        ranking = shared_ranking(ranking)
    return evaluate_ranking(
        ranking, data.train, relevant, settings.all_ks, on_ranked=on_ranked, metrics=metrics, catalog=catalog
    )
