"""TensorBoard: `pip install 'mmssl[tensorboard]'`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmssl_cli.console.loggers.base import LoggedRun, Logger, not_installed

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

#: The folder of the event files, inside that of the run.
FOLDER = "tensorboard"


class TensorBoardLogger(Logger):
    """Writes every number of an epoch as a scalar of that step, in the folder of the run.

    A resumed run hides the epochs that are trained again.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as problem:
            raise not_installed("tensorboard", "TensorBoard") from problem
        self._new_writer = SummaryWriter
        self._writer: SummaryWriter | None = None

    def start(self, run: LoggedRun, first_epoch: int) -> bool:
        folder = run.path / FOLDER
        known = folder.exists()
        self._writer = self._new_writer(str(folder), purge_step=first_epoch)
        return known

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        assert self._writer is not None
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()  # shown without delay

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
