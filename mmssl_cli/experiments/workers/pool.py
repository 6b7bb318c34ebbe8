"""Pools of workers that carry out tasks: the part that processes of this machine and a Ray cluster share.

A task is a function of a module and its arguments. It returns plain values, and meanwhile reports events by appending
them to a file, which the pool follows: that works across machines, and nothing is lost where a worker is killed.
"""

from __future__ import annotations

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
from types import TracebackType
from typing import Any, Self

#: Seconds that a worker has to write its checkpoint when it is interrupted.
GRACE = 20.0
#: Seconds between two looks at the events.
_POLL = 0.2

#: Reports an event of a task: its kind, and its content as JSON can hold it.
Emit = Callable[[str, Any], None]


@dataclass(frozen=True)
class Event:
    """Something that a task reported."""

    kind: str
    content: Any


@dataclass(frozen=True)
class Done:
    """The end of a task, with the value that it returned."""

    value: Any


@dataclass(frozen=True)
class Lost:
    """The end of a task whose worker died.

    Attributes:
        how: a phrase such as "was killed by signal 9 (SIGKILL)".
        retry: whether the task may be submitted again.
    """

    how: str
    retry: bool


@dataclass
class _Task:
    key: int
    path: Path
    offset: int = 0

    def events(self) -> Iterator[Event]:
        """The events that were added since the last call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            yield Event(*json.loads(line))


class WorkerPool(ABC):
    """Carries out tasks on workers, up to ``jobs`` at once, for the length of a ``with`` block.

    Where the block ends by an exception, Ctrl-C above all, the tasks under way are interrupted.

    Attributes:
        retries: how often a task may be submitted again whose worker died.
    """

    retries = 0

    def __init__(self, jobs: int, folder: Path | None = None) -> None:
        self._jobs, self._shared = jobs, folder
        self._stack = ExitStack()
        self._tasks: dict[Future[Any], _Task] = {}
        self._deaths: Counter[int] = Counter()
        self._submitted = 0

    def __enter__(self) -> Self:
        folder = TemporaryDirectory(prefix=".events-", dir=self._shared, ignore_cleanup_errors=True)
        self._folder = Path(self._stack.enter_context(folder)).absolute()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._stop(interrupt=kind is not None)

    @property
    def has_room(self) -> bool:
        """Whether another task would be begun at once."""
        return len(self._tasks) < self._jobs

    @property
    def is_idle(self) -> bool:
        """Whether no task is under way."""
        return not self._tasks

    def submit(self, key: int, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a worker call ``function(emit, *arguments)``; ``key`` stands for the task in ``poll``."""
        self._submitted += 1
        path = self._folder / f"{self._submitted}.jsonl"
        self._tasks[self._start(path, function, arguments)] = _Task(key, path)

    def poll(self) -> Iterator[tuple[int, Event | Done | Lost]]:
        """Wait a moment, then yield the events and ends of tasks since the last call, each with the key of its task."""
        if self.is_idle:
            time.sleep(_POLL)
        ended, _ = wait(self._tasks, timeout=_POLL, return_when=FIRST_COMPLETED)
        for future, task in list(self._tasks.items()):
            yield from ((task.key, event) for event in task.events())
            if future in ended:
                del self._tasks[future]
                yield task.key, self._end(future, task.key)

    def _end(self, future: Future[Any], key: int) -> Done | Lost:
        problem = future.exception()
        if problem is not None:
            self._deaths[key] += 1
            return Lost(self._how(future, problem), self._deaths[key] <= self.retries)
        return Done(future.result())

    @abstractmethod
    def _start(self, path: Path, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Future[Any]:
        """Have a worker call ``run_task`` with the path and the function."""

    @abstractmethod
    def _how(self, future: Future[Any], problem: BaseException) -> str:
        """How the worker of a task ended."""

    @abstractmethod
    def _stop(self, interrupt: bool) -> None:
        """Let all workers end; those that are interrupted have ``GRACE`` seconds to write their checkpoint."""


def run_task(path: Path, threads: int | None, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Carry out a task, in a worker.

    Args:
        path: file of its events.
        threads: CPU threads to compute with; None leaves that to PyTorch.
    """
    path.touch()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return function(partial(_append, path), *arguments)


def _append(path: Path, kind: str, content: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps([kind, content]) + "\n")
