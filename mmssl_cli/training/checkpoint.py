"""Bringing a training loop back to where the last checkpoint of its run was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mmssl_cli.config import TrainSettings
from mmssl_cli.runs.folder import STATE, RunFolder
from mmssl_cli.training.loading import load_weights
from mmssl_cli.training.loop import TrainingLoop
from pipelines.errors import InputError

if TYPE_CHECKING:
    from mmssl_cli.console.training import Reporter


class CheckpointError(InputError):
    """The checkpoint of a run, or the model of its best epoch, is missing, damaged or of other settings."""


@dataclass
class TrainState:
    """How far a run has come, beside the state of its loop."""

    records: list[dict[str, Any]]
    best_epoch: int = 0
    best_score: float = -math.inf
    best_metrics: dict[str, float] | None = None

    def goes_on(self, settings: TrainSettings) -> bool:
        """Whether another epoch is due: neither all done nor out of patience."""
        done = len(self.records)
        # Patience ends at a validation only: before the first there would be no model to select.
        validated = done % settings.evaluate_every == 0
        return done < settings.epochs and not (validated and done - self.best_epoch >= settings.patience)


def restore(run: RunFolder, loop: TrainingLoop, reporter: Reporter) -> TrainState:
    """Bring the loop to where the last checkpoint of its run was; a run that has none yet starts over.

    Raises:
        CheckpointError: there is one, and nothing can go on from it.
    """
    if not (run.path / STATE).exists():  # cut off in its first epoch
        return TrainState([])
    try:
        return _restore(run, loop, reporter)
    except InputError as problem:
        raise CheckpointError(str(problem)) from problem
    except (KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise CheckpointError(
            f"{run.path / STATE} does not fit the run's settings; it cannot be resumed from it."
        ) from problem


def _restore(run: RunFolder, loop: TrainingLoop, reporter: Reporter) -> TrainState:
    state = run.read_state()
    progress = TrainState(**state.pop("progress"))
    if progress.best_epoch:
        load_weights(run, loop.model)  # damage shows now and not after the last epoch; the state replaces them
    if (state["cuda_random"] is None) == (loop.device.type == "cuda"):
        _change_device(state, loop)
        reporter.message(
            f"Run {run.id} was on another kind of device until epoch {state['epoch']}: on {loop.device} its "
            "random draws are others, so that it ends with other numbers than without the change."
        )
    loop.restore(state)
    return progress


def _change_device(state: dict[str, Any], loop: TrainingLoop) -> None:
    """The random states of CPU and GPU do not fit each other: the sampler goes on from a seed of its own."""
    fresh = torch.Generator(loop.device).manual_seed(loop.settings.seed + state["epoch"])
    state["sampler_random"] = fresh.get_state()
