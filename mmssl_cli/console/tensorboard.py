"""Progress of a training in TensorBoard, an extra: `pip install 'mmssl[tensorboard]'`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmssl_cli.console.training import Reporter
from pipelines.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from torch.utils.tensorboard import SummaryWriter

#: The folder of the event files, inside that of the run.
FOLDER = "tensorboard"
#: Keys of an epoch's record that are not metrics.
_NOT_DRAWN = ("epoch", "best", "eta_seconds")


def with_tensorboard(
    reporter: Reporter, runs_dir: Path, read_metrics: Callable[[Path], pd.DataFrame]
) -> TensorBoardReporter:
    """Return a reporter that forwards to ``reporter``, and logs each epoch in ``runs_dir/<run>/tensorboard``.

    Args:
        read_metrics: returns the epochs so far of the run in a folder, a row each.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    return TensorBoardReporter(reporter, runs_dir, read_metrics, summary_writer())


def summary_writer() -> type[SummaryWriter]:
    """Return PyTorch's writer of event files.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as problem:
        raise UsageError(
            "--tensorboard needs TensorBoard, which is not installed; get it with: pip install 'mmssl[tensorboard]'"
        ) from problem
    return SummaryWriter


class TensorBoardReporter(Reporter):
    """Forwards to another reporter, and writes every number of an epoch as a scalar of that step.

    A resumed run hides the epochs that are trained again; earlier epochs trained without TensorBoard are written from
    the run's own metrics.
    """

    def __init__(
        self,
        inner: Reporter,
        runs_dir: Path,
        read_metrics: Callable[[Path], pd.DataFrame],
        new_writer: type[SummaryWriter],
    ) -> None:
        super().__init__()
        self._inner, self._runs_dir, self._read_metrics, self._new_writer = inner, runs_dir, read_metrics, new_writer
        self._writer: SummaryWriter | None = None

    def stage(self, what: str) -> None:
        self._inner.stage(what)

    def batch(self, epoch: int, done: int, total: int) -> None:
        self._inner.batch(epoch, done, total)

    def start(self, info: Mapping[str, Any]) -> None:
        super().start(info)
        self._inner.start(info)
        self._close_writer()
        folder, first = self._runs_dir / info["run"] / FOLDER, info["first_epoch"]
        late = first > 1 and not folder.exists()
        self._writer = self._new_writer(str(folder), purge_step=first)
        if late:
            self._write_earlier(folder.parent, first)

    def epoch(self, record: Mapping[str, Any]) -> None:
        self._inner.epoch(record)
        if self._writer is not None:
            _add(self._writer, record)
            self._writer.flush()  # shown without delay

    def message(self, text: str) -> None:
        self._inner.message(text)

    def finish(self, result: Mapping[str, Any]) -> None:
        self._close_writer()
        self._inner.finish(result)

    def close(self) -> None:
        self._close_writer()
        self._inner.close()

    def _write_earlier(self, run: Path, first: int) -> None:
        assert self._writer is not None
        for record in self._read_metrics(run).to_dict("records"):
            if record["epoch"] < first:
                _add(self._writer, {str(name): value for name, value in record.items()})

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _add(writer: SummaryWriter, record: Mapping[str, Any]) -> None:
    for name, value in record.items():
        if name not in _NOT_DRAWN and not math.isnan(value):  # NaN: no validation in this epoch
            writer.add_scalar(name, value, int(record["epoch"]))
