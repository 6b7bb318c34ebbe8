"""A worker's loop: it trains the runs it is sent, one after the other, and tells how they go.

It is sent settings as plain values, and None in the end. It sends pairs: ``start`` (what a reporter is told),
``epoch`` (a record), ``message`` (text), and for each run one of ``finished`` (its folder), ``locked`` (another
process is at it) and ``failed`` (a sentence, and the id of the run where there is one).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmssl_cli.config import build_settings
from mmssl_cli.console.errors import explain
from mmssl_cli.console.training import Reporter
from mmssl_cli.experiments.workers.local import Channel, begin_work


class RemoteReporter(Reporter):
    """Passes on what it hears; where nobody listens any more, the training ends as it does by Ctrl-C."""

    def __init__(self, connection: Channel) -> None:
        super().__init__()
        self._connection = connection

    def start(self, info: Mapping[str, Any]) -> None:
        super().start(info)
        self._tell("start", dict(info))

    def epoch(self, record: Mapping[str, Any]) -> None:
        self._tell("epoch", dict(record))

    def message(self, text: str) -> None:
        self._tell("message", text)

    def _tell(self, kind: str, content: Any) -> None:
        try:
            self._connection.send((kind, content))
        except (BrokenPipeError, ConnectionResetError) as problem:
            raise KeyboardInterrupt from problem


def serve(connection: Channel, data_dir: Path, runs_dir: Path, tensorboard: bool, threads: int | None) -> None:
    """Train what is sent until None is.

    Args:
        tensorboard: log every run for TensorBoard as well.
        threads: CPU threads to compute with; None leaves that to PyTorch.
    """
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        begin_work(threads)
        while (values := connection.recv()) is not None:
            connection.send(_train(values, connection, data_dir, runs_dir, tensorboard))


def _train(
    values: Mapping[str, Any], connection: Channel, data_dir: Path, runs_dir: Path, tensorboard: bool
) -> tuple[str, Any]:
    from mmssl_cli.experiments.ensure_run import ensure_run
    from pipelines.io.locks import LockedError

    reporter: Reporter = RemoteReporter(connection)
    if tensorboard:
        from mmssl_cli.console.tensorboard import with_tensorboard
        from mmssl_cli.runs.folder import RunFolder

        reporter = with_tensorboard(reporter, runs_dir, lambda run: RunFolder(run).read_metrics())
    try:
        return "finished", str(ensure_run(build_settings(values), data_dir, runs_dir, reporter))
    except LockedError as problem:
        return "locked", str(problem)
    except Exception as problem:
        import traceback

        return "failed", (explain(problem)[0], reporter.info.get("run"), traceback.format_exc())
    finally:
        reporter.close()
