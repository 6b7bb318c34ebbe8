"""Checkpoints: restore a training loop from that of its run, or from one of a training without a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from mmssl_cli.console.training import Reporter
from mmssl_cli.runs.folder import STATE, RunFolder
from mmssl_cli.runs.states import read_state, write_state
from mmssl_cli.training.epochs import TrainState
from mmssl_cli.training.loading import load_weights
from mmssl_cli.training.loop import TrainingLoop
from pipelines.errors import InputError

#: Seconds between two checkpoints of a training without a run, and the least ratio of these to those of writing one.
_SECONDS, _RATIO = 5.0, 20.0


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
    if _is_of_other_device(saved, loop):
        _change_device(saved, loop)
        reporter.message(
            f"Run {run.id} was on another kind of device until epoch {saved['epoch']}: on {loop.device} it draws "
            "other random numbers, so its results will differ from those without the change."
        )
    loop.restore(saved)
    return state


def _is_of_other_device(saved: Mapping[str, Any], loop: TrainingLoop) -> bool:
    """Return whether the state is of a CPU and the loop on a GPU, or the other way round."""
    return (saved["cuda_random"] is None) == (loop.device.type == "cuda")


def _change_device(saved: dict[str, Any], loop: TrainingLoop) -> None:
    """Seed the sampler anew, since the random states of CPU and GPU differ in form."""
    fresh = torch.Generator(loop.device).manual_seed(loop.settings.seed + saved["epoch"])
    saved["sampler_random"] = fresh.get_state()


class Checkpoint:
    """File of the state of a training that writes no run, written every few seconds, at a small part of the time.

    Attributes:
        processor_seconds: processor time of the epochs that were restored.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.processor_seconds = path, 0.0
        self._due = time.monotonic() + _SECONDS

    def restore(self, loop: TrainingLoop) -> TrainState:
        """Restore the loop; without a file, or with a damaged one or that of another kind of device, it starts over."""
        saved: dict[str, Any] = {}
        with suppress(Exception):  # a damaged file fails in many ways
            saved = read_state(self.path)
        if not saved or _is_of_other_device(saved, loop):
            return TrainState([])
        state = TrainState(**saved.pop("progress"))
        loop.restore(saved)
        self.processor_seconds = sum(record["processor_seconds"] for record in state.records)
        return state

    def save_if_due(self, loop: TrainingLoop, state: TrainState) -> None:
        """Write the state after an epoch, unless that was done a moment ago.

        Raises:
            OSError: the file cannot be written.
        """
        began = time.monotonic()
        if began >= self._due:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_state(self.path, {**loop.state(), "progress": vars(state)})
            done = time.monotonic()
            self._due = done + max(_SECONDS, _RATIO * (done - began))
