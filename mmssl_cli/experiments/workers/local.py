"""Processes that train beside this one: started so that Ctrl-C does not reach them, replaced when they die.

They are one kind of ``Worker``; another is on the nodes of a Ray cluster (``ray_workers``).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol

#: Seconds that a process has to write its checkpoint when it is told to end.
GRACE = 20.0


class Channel(Protocol):
    """A worker's end of the connection to whoever sends it work."""

    def send(self, message: Any, /) -> None:
        """Say something; BrokenPipeError or ConnectionResetError where nobody listens any more."""

    def recv(self) -> Any:
        """What is said next; EOFError where nobody is there any more."""


class Worker(Protocol):
    """What runs are given to, wherever it is.

    Attributes:
        connection: what it says; at its end it is dead.
        number: of what it is at.
        retries: how often a run is given out again whose worker died.
    """

    connection: Connection
    number: int | None
    retries: int

    @property
    def ready(self) -> bool:
        """Whether it would begin at once with what it is sent."""

    def send(self, number: int, work: Any) -> None:
        """Give it work."""

    def answer(self, message: Any) -> None:
        """Tell it something about its work."""

    def restart(self) -> str:
        """After an unexpected end: take a new one in its place, and say how the old one ended."""


#: Makes as many workers as it is told for the length of a ``with`` block, as ``worker_processes`` does.
WorkerPool = Callable[[int, Callable[..., None], tuple[Any, ...], int], AbstractContextManager[Sequence[Worker]]]


class WorkerProcess:
    """A process that is sent work over a connection, and the number of what it is at.

    Args:
        target: what it runs, with its end of the connection, ``arguments``, and the threads it may compute with.
    """

    #: What killed it here, memory that ran out above all, would kill it again.
    retries = 0
    ready = True

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...], threads: int | None) -> None:
        self._target, self._arguments, self._threads = target, arguments, threads
        self.number: int | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, *self._arguments, self._threads)
        self.process = context.Process(target=self._target, args=arguments, daemon=True)
        with _without_interrupts():
            self.process.start()
        theirs.close()

    def send(self, number: int, work: Any) -> None:
        """Give it work. Should it be dead, that is noticed when it is listened to."""
        self.number = number
        self.answer(work)

    def answer(self, message: Any) -> None:
        """Tell it something about its work, with the same remark."""
        with suppress(BrokenPipeError):
            self.connection.send(message)

    def restart(self) -> str:
        """After an unexpected end: a new process, and how the old one ended."""
        self.process.join(GRACE)
        code = self.process.exitcode
        self.connection.close()
        self._start()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            killed = f"was killed by signal {-code} ({name})"
            return killed + ("; memory may have run out" if name == "SIGKILL" else "")
        return f"ended with exit code {code}"

    def stop(self) -> None:
        """Let it end, by force if need be."""
        with suppress(OSError, ValueError):
            self.connection.send(None)
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


@contextmanager
def worker_processes(
    count: int, target: Callable[..., None], arguments: tuple[Any, ...], sharing: int
) -> Iterator[list[WorkerProcess]]:
    """``count`` processes for the length of a ``with`` block; where that ends early, they are told by SIGTERM.

    Args:
        sharing: the processes that the cores are shared among, ``count`` or more.
    """
    threads = max(1, _cores() // sharing) if sharing > 1 else None
    workers: list[WorkerProcess] = []
    try:
        workers.extend(WorkerProcess(target, arguments, threads) for _ in range(count))
        yield workers
    except BaseException:
        for worker in workers:
            worker.process.terminate()  # a SIGTERM, which a worker takes for Ctrl-C
        raise
    finally:
        for worker in workers:
            worker.stop()


def begin_work(threads: int | None) -> None:
    """What a worker process does first.

    Ctrl-C reaches all processes of a terminal: the one that sent this the work says when to end, by SIGTERM. A thread
    hears neither.

    Args:
        threads: CPU threads to compute with; None leaves that to PyTorch.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that starts here does not hear Ctrl-C, not even before its first line."""
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
