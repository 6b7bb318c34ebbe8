"""Pools of workers that carry out tasks: the part that processes of this machine and a Ray cluster share.

A task is a function of a module. It returns a message, a pair of a kind and its content, and meanwhile sends others by
appending them to a file that the pool follows: this works across machines, and loses nothing when a worker is killed.
"""

from __future__ import annotations

import itertools
import json
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

#: Seconds that a worker has to write its checkpoint when it is interrupted.
GRACE = 20.0
#: Longest wait for a task to end, in seconds, before new messages are read.
_POLL = 0.2

Message = tuple[str, Any]
#: Sends a message of a task: its kind, and its content as JSON can hold it.
Send = Callable[[str, Any], None]


@dataclass
class _Task:
    key: int
    path: Path
    offset: int = 0

    def messages(self) -> list[Message]:
        """Messages that were sent since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        lines = data[: data.rfind(b"\n") + 1]
        self.offset += len(lines)
        return [tuple(json.loads(line)) for line in lines.splitlines()]


class WorkerPool(ABC):
    """Carries out tasks on workers, up to ``jobs`` at once, for the length of a ``with`` block.

    Where the block ends by an exception, Ctrl-C above all, the tasks under way are interrupted.

    Args:
        folder: where messages are written; by default that of the system for temporary files.

    Attributes:
        retries: how often a task may be submitted again whose worker died.
    """

    retries = 0

    def __init__(self, jobs: int, folder: Path | None = None) -> None:
        self._jobs, self._shared = jobs, folder
        self._stack = ExitStack()
        self._tasks: dict[Future[Message], _Task] = {}
        self._numbers = itertools.count()
        self._deaths: Counter[int] = Counter()

    def __enter__(self) -> Self:
        folder = TemporaryDirectory(prefix=".tasks-", dir=self._shared, ignore_cleanup_errors=True)
        self._folder = Path(self._stack.enter_context(folder)).absolute()
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        with self._stack:
            self._stop(interrupt=kind is not None)

    @property
    def has_room(self) -> bool:
        """True if another task would begin at once."""
        return len(self._tasks) < self._jobs

    @property
    def is_idle(self) -> bool:
        """True if no task is running."""
        return not self._tasks

    def submit(self, key: int, function: Callable[..., Message], *arguments: Any) -> None:
        """Have a worker call ``function(send, *arguments)``; ``key`` stands for the task in ``poll``."""
        path = self._folder / f"{next(self._numbers)}.jsonl"
        self._tasks[self._start(path, function, arguments)] = _Task(key, path)

    def poll(self) -> Iterator[tuple[int, str, Any]]:
        """Wait a moment, then yield key, kind and content of each new message.

        The last of a task is what it returned, or where its worker died ``lost`` with a phrase that says how, such as
        "was killed by signal 9 (SIGKILL)"; ``retry`` in its place where the task may be submitted again.
        """
        if self.is_idle:
            time.sleep(_POLL)
        ended, _ = wait(self._tasks, timeout=_POLL, return_when=FIRST_COMPLETED)
        for future, task in list(self._tasks.items()):
            for message in task.messages():
                yield task.key, *message
            if future in ended:
                del self._tasks[future]
                yield task.key, *self._end(future, task.key)

    def _end(self, future: Future[Message], key: int) -> Message:
        problem = future.exception()
        if problem is None:
            return future.result()
        self._deaths[key] += 1
        return "retry" if self._deaths[key] <= self.retries else "lost", self._how(future, problem)

    @abstractmethod
    def _start(self, path: Path, function: Callable[..., Message], arguments: tuple[Any, ...]) -> Future[Message]:
        """Have a worker call ``run_task`` with the path of the messages and the function."""

    @abstractmethod
    def _how(self, future: Future[Message], problem: BaseException) -> str:
        """Say how the worker of a task ended."""

    @abstractmethod
    def _stop(self, interrupt: bool) -> None:
        """End all workers; those that are interrupted have ``GRACE`` seconds to write their checkpoint."""


def run_task(path: Path, threads: int | None, function: Callable[..., Message], arguments: tuple[Any, ...]) -> Message:
    """Carry out a task, in a worker.

    Args:
        path: file of its messages.
        threads: CPU threads to compute with; None leaves that to PyTorch.
    """
    path.touch()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return function(partial(_append, path), *arguments)


def _append(path: Path, *message: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(message) + "\n")
