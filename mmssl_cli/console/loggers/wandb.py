"""Weights & Biases: `pip install 'mmssl[wandb]'`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmssl_cli.console.loggers.base import LoggedRun, Logger, metrics_on_test, not_installed
from pipelines.errors import InputError, UsageError

#: The folder that W&B makes inside that of the run.
FOLDER = "wandb"
_ADVICE = "log in with `wandb login`, or set WANDB_MODE=offline."


class WandbLogger(Logger):
    """Logs to the project $WANDB_PROJECT, else ``mmssl``; the id of a run is that of its folder.

    The variables and settings of W&B apply, such as WANDB_MODE=offline, which needs no account.
    """

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as problem:
            raise not_installed("wandb", "Weights & Biases") from problem
        self._wandb: Any = wandb
        self._run: Any = None
        try:
            usable = wandb.setup().settings.mode != "online" or wandb.login()
        except wandb.Error:
            usable = False
        if not usable:
            raise UsageError(f"--wandb needs an API key; {_ADVICE}")

    def start(self, run: LoggedRun, first_epoch: int) -> bool:
        known = (run.path / FOLDER).exists()
        try:
            self._run = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT", "mmssl"),
                id=run.id,
                name=run.id,
                resume="allow",
                dir=str(run.path),
                config=run.read_config()[0],
                settings=self._wandb.Settings(silent=True, console="off"),
            )
        except self._wandb.Error as problem:
            raise InputError(f"--wandb cannot begin run {run.id}: {problem}; {_ADVICE}") from problem
        return known

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=epoch)

    def finish(self, result: Mapping[str, Any]) -> None:
        self._run.summary.update({"best_epoch": result["best_epoch"], **metrics_on_test(result)})
        self._run.finish()
        self._run = None

    def close(self) -> None:
        if self._run is not None:
            self._run.finish(exit_code=1)
            self._run = None
