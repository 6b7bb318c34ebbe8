"""Worker processes on this machine, which Ctrl-C does not reach: the pool interrupts them, by SIGTERM."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from mmssl_cli.experiments.workers.pool import GRACE, Message, WorkerPool, run_task
from pipelines.errors import MmsslError, UsageError

GUARD = (
    "Each of these processes imports the script that starts it: put the calls of `tune`, and of those with jobs, "
    'under if __name__ == "__main__": there.'
)


class _OneProcess(SpawnContext):
    """Starts the process of an executor, and keeps it."""

    process: BaseProcess

    def Process(self, *arguments: Any, **named: Any) -> BaseProcess:  # type: ignore[override]
        self.process = super().Process(*arguments, **named)
        return self.process


class _Worker(ProcessPoolExecutor):
    """An executor of one process: a process that dies breaks its executor, and no other task must suffer from that."""

    def __init__(self) -> None:
        self.context = _OneProcess()
        self.begun = self.context.Event()
        super().__init__(1, self.context, _begin, (self.begun,))


class LocalPool(WorkerPool):
    """Tasks in processes of this machine, which share its cores.

    A task whose process died is not tried again: what killed it here, running out of memory above all, would do so
    again. A process that ends before its first task ends the pool by an error, for no other would begin either.
    """

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs)
        self._threads = max(1, _cores() // jobs) if jobs > 1 else None
        self._busy: dict[Future[Message], _Worker] = {}
        self._idle: list[_Worker] = []

    def _start(self, path: Path, function: Callable[..., Message], arguments: tuple[Any, ...]) -> Future[Message]:
        worker = self._idle.pop() if self._idle else _Worker()
        with _interrupts_ignored():
            future = worker.submit(_interruptible, path, self._threads, function, arguments)
        self._busy[future] = worker
        return future

    def _end(self, future: Future[Message], key: int) -> Message:
        message = super()._end(future, key)
        worker = self._busy.pop(future)
        if future.exception() is None:
            self._idle.append(worker)
        return message

    def _how(self, future: Future[Message], problem: BaseException) -> str:
        worker = self._busy[future]
        worker.shutdown()  # the exit code is known after it
        code = worker.context.process.exitcode
        if not worker.begun.is_set():
            raise MmsslError(f"A process that was to train ended with exit code {code} before it began. {GUARD}")
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return f"was killed by signal {-code} ({name}){'; memory may have run out' if name == 'SIGKILL' else ''}"
        return f"ended with exit code {code}"

    def _stop(self, interrupt: bool) -> None:
        workers = [*self._busy.values(), *self._idle]
        for worker in workers:
            if interrupt:
                worker.context.process.terminate()
            worker.shutdown(wait=False, cancel_futures=True)
        for process in [worker.context.process for worker in workers]:
            process.join(GRACE)
            if process.is_alive():
                process.kill()
                process.join()


def refuse_import_by_worker() -> None:
    """Refuse to start workers while this process, a worker itself, imports the script that started it.

    Raises:
        UsageError: it does.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(GUARD)


def _begin(begun: Event) -> None:
    """Set up a worker process."""
    begun.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process after the one that started it was killed; the run under way has its checkpoint."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def _interruptible(*task: Any) -> Message:
    """Carry out a task such that SIGTERM interrupts it as Ctrl-C would; an idle process is ended by SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run_task(*task)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process that is started within the block ignores Ctrl-C from its first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
