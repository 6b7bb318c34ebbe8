"""The tasks of a plan and of a search, as workers carry them out. PyTorch is imported in them alone."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmssl_cli.config import TrainSettings
from mmssl_cli.console.errors import explain
from mmssl_cli.console.tensorboard import with_tensorboard
from mmssl_cli.console.training import Reporter
from mmssl_cli.experiments.workers.pool import Message, Send
from mmssl_cli.runs.folder import RunFolder
from pipelines.io.locks import LockedError

if TYPE_CHECKING:
    import optuna

    from mmssl_cli.experiments.tuning.study import Search


class SendingReporter(Reporter):
    """Sends the calls of a training as messages ``start``, ``epoch`` and ``message``."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    def start(self, info: Mapping[str, Any]) -> None:
        super().start(info)
        self._send("start", dict(info))

    def epoch(self, record: Mapping[str, Any]) -> None:
        self._send("epoch", dict(record))

    def message(self, text: str) -> None:
        self._send("message", text)


def train_task(send: Send, settings: TrainSettings, data_dir: Path, runs_dir: Path, tensorboard: bool) -> Message:
    """Train, resume or find a run.

    Args:
        tensorboard: write the epochs for TensorBoard also.

    Returns:
        ``finished`` and the name of its folder; ``locked`` and a sentence, where another process trains it; or
        ``failed``, a sentence and the traceback.
    """
    from mmssl_cli.experiments.ensure_run import ensure_run

    reporter: Reporter = SendingReporter(send)
    try:
        if tensorboard:
            reporter = with_tensorboard(reporter, runs_dir, lambda run: RunFolder(run).read_metrics())
        return "finished", ensure_run(settings, data_dir, runs_dir, reporter).name
    except LockedError as problem:
        return "locked", str(problem)
    except Exception as problem:
        return "failed", (explain(problem)[0], traceback.format_exc())
    finally:
        reporter.close()


def trial_task(send: Send, trial: optuna.Trial, search: Search, data_dir: Path) -> Message:
    """Train a trial of a search, which reports its scores to the journal of the search and is pruned by them.

    Returns:
        ``over``, and either what is kept of the trial and whether it was ``whole``, or its ``problem``.
    """
    from mmssl_cli.training.trainer import fit

    def on_validation(epoch: int, score: float) -> bool:
        trial.report(score, epoch)
        send("epoch", [epoch, score])
        return not trial.should_prune()

    try:
        state, whole = fit(search.settings_of(trial), data_dir, on_validation)
        return "over", {
            "score": state.best_score,
            "best_epoch": state.best_epoch,
            "epochs": len(state.records),
            "seconds": sum(record["seconds"] for record in state.records),
            "whole": whole,
        }
    except Exception as problem:
        return "over", {"problem": explain(problem)[0]}
