"""Restore a training loop from the last checkpoint of its run."""

from __future__ import annotations

from typing import Any

import torch

from mmssl_cli.console.training import Reporter
from mmssl_cli.runs.folder import STATE, RunFolder
from mmssl_cli.training.epochs import TrainState
from mmssl_cli.training.loading import load_weights
from mmssl_cli.training.loop import TrainingLoop
from pipelines.errors import InputError


class CheckpointError(InputError):
    """The checkpoint of a run, or the model of its best epoch, is missing, damaged or of other settings."""


def restore(run: RunFolder, loop: TrainingLoop, reporter: Reporter) -> TrainState:
    """Restore the loop from the last checkpoint of its run; a run without one starts over.

    Raises:
        CheckpointError: the checkpoint cannot be resumed from.
    """
    if not (run.path / STATE).exists():  # cut off in its first epoch
        return TrainState([])
    try:
        return _restore(run, loop, reporter)
    except InputError as problem:
        raise CheckpointError(str(problem)) from problem
    except (KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise CheckpointError(
            f"{run.path / STATE} does not fit the run's settings; it cannot be resumed from it; train it again."
        ) from problem


def _restore(run: RunFolder, loop: TrainingLoop, reporter: Reporter) -> TrainState:
    saved = run.read_state()
    state = TrainState(**saved.pop("progress"))
    if state.best_epoch:
        load_weights(run, loop.model)  # damage shows now and not after the last epoch; the state replaces them
    if (saved["cuda_random"] is None) == (loop.device.type == "cuda"):
        _change_device(saved, loop)
        reporter.message(
            f"Run {run.id} was on another kind of device until epoch {saved['epoch']}: on {loop.device} it draws "
            "other random numbers, so its results will differ from those without the change."
        )
    loop.restore(saved)
    return state


def _change_device(saved: dict[str, Any], loop: TrainingLoop) -> None:
    """Seed the sampler anew, since the random states of CPU and GPU differ in form."""
    fresh = torch.Generator(loop.device).manual_seed(loop.settings.seed + saved["epoch"])
    saved["sampler_random"] = fresh.get_state()
