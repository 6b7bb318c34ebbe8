"""Interface of the loggers: programs, each an extra, that show the numbers of trainings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


class LoggedRun(Protocol):
    """Folder of a run, as a logger reads it."""

    @property
    def id(self) -> str: ...
    @property
    def path(self) -> Path: ...
    def read_metrics(self) -> pd.DataFrame: ...
    def read_config(self) -> tuple[dict[str, Any], dict[str, Any]]: ...


class Logger(ABC):
    """Receives the numbers of one run after the other.

    Raises:
        UsageError: its package is not installed, or cannot be used as it is set up.
    """

    @abstractmethod
    def start(self, run: LoggedRun, first_epoch: int) -> bool:
        """Begin a run, or resume it from an epoch; return True if it holds the epochs before."""

    @abstractmethod
    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log numbers of an epoch, at once."""

    def finish(self, result: Mapping[str, Any]) -> None:
        """End a run with what result.json holds."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End a run, however it ended; without one, do nothing."""


def not_installed(flag: str, program: str) -> UsageError:
    """Return the error of a package that is missing."""
    return UsageError(f"--{flag} needs {program}, which is not installed; get it with: pip install 'mmssl[{flag}]'")


def metrics_on_test(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics on test under the names of those on validation: ``test/recall@20``."""
    return {f"test/{name}": value for name, value in result["test"].items()}
