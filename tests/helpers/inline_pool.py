"""Tasks of plans in the process of the test: a worker of its own takes seconds to import PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from mmssl_cli.experiments.workers.pool import Message, WorkerPool, run_task


def train_inline(patch: pytest.MonkeyPatch) -> None:
    """Let commands train their runs in this process, and draw no curves."""
    patch.setattr("mmssl_cli.experiments.workers.local.LocalPool", InlinePool)
    patch.setattr("mmssl_cli.runs.figures.plot_curves", lambda *given, **named: None)


class InlinePool(WorkerPool):
    """Carries out a task while it is submitted; what it raises ends the test."""

    def _start(self, path: Path, function: Callable[..., Message], arguments: tuple[Any, ...]) -> Future[Message]:
        future = Future[Message]()
        future.set_result(run_task(path, None, function, arguments))
        return future

    def _how(self, future: Future[Message], problem: BaseException) -> str:
        raise AssertionError("no worker can be lost")

    def _stop(self, interrupt: bool) -> None:
        pass
