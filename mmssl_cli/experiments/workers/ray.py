"""Workers on the nodes of a Ray cluster; a task of the pool is a task of Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from mmssl_cli.experiments.workers.pool import GRACE, Message, WorkerPool, run_task
from mmssl_cli.text import pluralize
from pipelines.errors import InputError
from pipelines.io.ray_cluster import evidence, joined, nodes_of, processors_each, unseen
from pipelines.version import created_by

#: Seconds after which a message says that no task has begun.
_LATE = 30.0
#: Set by the entry point for processes of this machine.
_PASSED_ON = ("GOMP_SPINCOUNT",)


class RayPool(WorkerPool):
    """Tasks on the nodes of a Ray cluster.

    Args:
        jobs: the CPUs are shared among so many tasks.
        address: of the cluster; None as ``ray_cluster.joined`` has it.
        gpus: of each task, a fraction of one perhaps; None for one where the cluster has GPUs.
        files: files that every node must see as this machine does.
        folder: a folder that every node must see; the events of the tasks are written there.
        on_progress: called with a line about the cluster.

    Raises:
        UsageError: no node has so many GPUs.
        InputError: there is no such cluster, or one of its nodes does not see the same files.
    """

    # Ray's own retries are off: they have no limit where memory runs out, and are not reported.
    retries = 3

    def __init__(
        self,
        jobs: int,
        address: str | None,
        gpus: float | None,
        files: tuple[Path, ...],
        folder: Path,
        on_progress: Callable[[str], None],
    ) -> None:
        super().__init__(jobs, folder)
        self._address, self._gpus, self._files, self._on_progress = address, gpus, files, on_progress
        self._refs: dict[Future[Message], Any] = {}

    def __enter__(self) -> Self:
        assert self._shared is not None
        with self._stack:
            self._ray = self._stack.enter_context(joined(self._address))
            self._found = self._stack.enter_context(evidence(self._files, (self._shared,)))
            super().__enter__()
            self._task = self._ray.remote(_run_on_node)
            self._on_progress(self._described())
            self._stack = self._stack.pop_all()
        self._late: float | None = time.monotonic() + _LATE
        return self

    def poll(self) -> Iterator[tuple[int, str, Any]]:
        """Do as ``WorkerPool.poll`` does, and report once where no task begins."""
        if self._late is not None and time.monotonic() > self._late:
            self._late = None
            if not any(self._folder.iterdir()):
                self._on_progress("No run has begun yet: Ray waits for free CPUs or GPUs, see `ray status`.")
        return super().poll()

    def _start(self, path: Path, function: Callable[..., Message], arguments: tuple[Any, ...]) -> Future[Message]:
        # A worker on another machine has another current folder.
        arguments = tuple(part.absolute() if isinstance(part, Path) else part for part in arguments)
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        cpus, gpus = self._resources()
        task = self._task.options(num_cpus=cpus, num_gpus=gpus, max_retries=0, scheduling_strategy="SPREAD")
        ref = task.remote(self._found, created_by(), environment, path, cpus, function, arguments)
        future: Future[Message] = ref.future()
        self._refs[future] = ref
        return future

    def _end(self, future: Future[Message], key: int) -> Message:
        del self._refs[future]
        kind, content = super()._end(future, key)
        if kind == "refused":
            raise InputError(content)
        return kind, content

    def _how(self, future: Future[Message], problem: BaseException) -> str:
        return _how(problem)

    def _stop(self, interrupt: bool) -> None:
        if not interrupt:
            return
        for force in (False, True):
            for future, ref in self._refs.items():
                if not future.done():
                    with suppress(Exception):  # its node or the cluster may be gone
                        self._ray.cancel(ref, force=force)
            if not wait(self._refs, timeout=GRACE).not_done:
                return

    def _resources(self) -> tuple[int, float]:
        """CPUs and GPUs of a task, by the nodes that are alive now."""
        nodes = nodes_of(self._ray)
        gpus = self._gpus if self._gpus is not None else float(any(has for _, has in nodes))
        return processors_each(nodes, self._jobs, gpus), gpus

    def _described(self) -> str:
        nodes = nodes_of(self._ray)
        cpus, gpus = self._resources()
        has = f"{pluralize(len(nodes), 'node')}, {sum(cpus for cpus, _ in nodes):g} CPUs"
        if total := sum(gpus for _, gpus in nodes):
            has += f", {total:g} GPUs"
        share = f" and {gpus:g} GPU" if gpus else ""
        return f"Ray cluster of {has}; each run has {pluralize(cpus, 'CPU')}{share}"


def _run_on_node(found: dict[str, str], version: str, environment: dict[str, str], *task: Any) -> Message:
    """Carry out a task where the node sees the same files as the machine that submitted it.

    Args:
        found: see ``ray_cluster.evidence``.
        version: of this program, on that machine.
        environment: variables to set, before PyTorch is imported.
    """
    os.environ.update(environment)
    if sentence := unseen(found, version):
        return "refused", sentence
    return run_task(*task)


def _how(problem: BaseException) -> str:
    """Phrase for the end of a worker, after "it"."""
    names = {kind.__name__ for kind in type(problem).__mro__}
    text = " ".join(str(problem).split())
    if "node" in text and ("its node has died" in text or "NodeDiedError" in names):
        return "was on a node that died"
    if "OutOfMemory" in text or "OutOfMemoryError" in names:
        return "was ended by Ray, for the memory of its node ran out"
    if "WorkerCrashedError" in names:
        return "died unexpectedly"
    return f"was lost ({type(problem).__name__}: {text[:200].rstrip('. ')})"
