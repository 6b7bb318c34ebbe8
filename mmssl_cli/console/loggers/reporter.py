"""The reporter that feeds the loggers."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmssl_cli.console.loggers.base import LoggedRun, Logger
from mmssl_cli.console.loggers.mlflow import MlflowLogger
from mmssl_cli.console.loggers.tensorboard import TensorBoardLogger
from mmssl_cli.console.loggers.wandb import WandbLogger
from mmssl_cli.console.training import Reporter

#: Name of a logger, which is that of its flag and its extra.
LOGGERS: dict[str, type[Logger]] = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger, "mlflow": MlflowLogger}
#: Keys of an epoch's record that are not numbers of the training.
_NOT_LOGGED = ("epoch", "best", "eta_seconds")


def with_loggers(
    reporter: Reporter, names: Collection[str], runs_dir: Path, open_run: Callable[[Path], LoggedRun]
) -> Reporter:
    """Return a reporter that forwards to ``reporter`` and logs each epoch, or ``reporter`` itself without loggers.

    Args:
        names: of the loggers.
        open_run: returns the run of a folder.

    Raises:
        UsageError: the package of a logger is not installed, or cannot be used as it is set up.
    """
    return LoggingReporter(reporter, open_loggers(names), runs_dir, open_run) if names else reporter


def open_loggers(names: Collection[str]) -> dict[str, Logger]:
    """Return the loggers of these names.

    Raises:
        UsageError: the package of one is not installed, or cannot be used as it is set up.
    """
    return {name: LOGGERS[name]() for name in names}


class LoggingReporter(Reporter):
    """Forwards to another reporter, and every number of an epoch to loggers.

    A logger that a resumed run was trained without receives the earlier epochs from the run's own metrics. One that
    fails during a training is left out of the rest of the run, and the training continues.
    """

    def __init__(
        self,
        inner: Reporter,
        loggers: Mapping[str, Logger],
        runs_dir: Path,
        open_run: Callable[[Path], LoggedRun],
    ) -> None:
        super().__init__()
        self._inner, self._runs_dir, self._open_run = inner, runs_dir, open_run
        self._all, self._current = dict(loggers), dict[str, Logger]()

    def stage(self, what: str) -> None:
        self._inner.stage(what)

    def batch(self, epoch: int, done: int, total: int) -> None:
        self._inner.batch(epoch, done, total)

    def start(self, info: Mapping[str, Any]) -> None:
        super().start(info)
        self._inner.start(info)
        self._close_loggers()
        run, first = self._open_run(self._runs_dir / info["run"]), info["first_epoch"]
        for name, logger in self._all.items():
            known = logger.start(run, first)
            self._current[name] = logger
            if first > 1 and not known:
                for record in run.read_metrics().to_dict("records"):
                    if record["epoch"] < first:
                        logger.log(int(record["epoch"]), _numbers(record))

    def epoch(self, record: Mapping[str, Any]) -> None:
        self._inner.epoch(record)
        self._each(lambda logger: logger.log(int(record["epoch"]), _numbers(record)))

    def message(self, text: str) -> None:
        self._inner.message(text)

    def finish(self, result: Mapping[str, Any]) -> None:
        self._each(lambda logger: logger.finish(result))
        self._current.clear()
        self._inner.finish(result)

    def close(self) -> None:
        self._close_loggers()
        self._inner.close()

    def _close_loggers(self) -> None:
        self._each(lambda logger: logger.close())
        self._current.clear()

    def _each(self, call: Callable[[Logger], None]) -> None:
        for name, logger in list(self._current.items()):
            try:
                call(logger)
            except OSError:  # of the disk, which the run needs too
                raise
            except Exception as problem:
                del self._current[name]
                self._inner.message(f"--{name} failed, and logs no more of this run: {problem}")
                with suppress(Exception):
                    logger.close()


def _numbers(record: Mapping[Any, Any]) -> dict[str, float]:
    """Return the numbers of an epoch, without those that were not measured in it."""
    return {str(k): float(v) for k, v in record.items() if k not in _NOT_LOGGED and not math.isnan(v)}
