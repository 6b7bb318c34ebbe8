"""Workers on the nodes of a Ray cluster: the loops that processes beside this one run, each in an actor.

An actor's loop talks to two queues. One thread here for each actor fetches what it says and passes it on to a pipe,
which is what the one who gives out the work listens to; where actor or node die, that thread is told by Ray and closes
the pipe. All goes through Ray's own channels: a node needs no way to this machine but those.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mmssl_cli.experiments.workers.local import GRACE
from mmssl_cli.text import pluralize
from pipelines.errors import InputError
from pipelines.io.ray_cluster import evidence, joined, nodes_of, processors_each, unseen
from pipelines.version import created_by

#: How often a run is given out again whose worker or node died, and an actor is asked for that could not start.
RETRIES = 3
#: Seconds without a worker after which that is said.
_LATE = 30.0
#: What the entry point sets for processes beside this one.
_PASSED_ON = ("GOMP_SPINCOUNT",)
_HUNG_UP = "nobody listens any more"


class RayActor:
    """What an actor is: a loop such as ``worker.serve`` in a thread, and the two queues that it talks to.

    Args:
        target: the loop; it is called with its wire, ``arguments`` and ``threads``.
    """

    def __init__(
        self, target: Callable[..., None], arguments: tuple[Any, ...], threads: int, environment: dict[str, str]
    ) -> None:
        os.environ.update(environment)
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._outbox: SimpleQueue[Any] = SimpleQueue()
        self._left = threading.Event()
        work = partial(self._work, target, (*arguments, threads))
        threading.Thread(target=work, daemon=True).start()

    def unseen(self, found: dict[str, str], version: str) -> str | None:
        """What is missing here, see ``ray_cluster.unseen``."""
        return unseen(found, version)

    def tell(self, message: Any) -> None:
        """Pass something on to the loop."""
        self._inbox.put(message)

    def hear(self) -> Any:
        """What the loop says next; None at its end."""
        return self._outbox.get()

    def leave(self) -> None:
        """Let the loop end the next time that it speaks or listens."""
        self._left.set()
        self._inbox.put(_HUNG_UP)

    def _work(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            target(self, *arguments)
        finally:
            self._outbox.put(None)

    def send(self, message: Any, /) -> None:
        """For the loop: say something."""
        if self._left.is_set():
            raise BrokenPipeError
        self._outbox.put(message)

    def recv(self) -> Any:
        """For the loop: what it is told next."""
        message = self._inbox.get()
        if message == _HUNG_UP:
            raise EOFError
        return message


class _Line:
    """One actor, and the pipe that it is heard through."""

    def __init__(self, ray: Any, seat: Any, found: dict[str, str]) -> None:
        self._ray, self.seat, self._found = ray, seat, found
        self.connection, self._far = Pipe()
        self.ready = False
        self.refusal: str | None = None
        self.end = ""
        self.thread = threading.Thread(target=self._pass_on, daemon=True)
        self.thread.start()

    def _pass_on(self) -> None:
        try:
            self.refusal = self._ray.get(self.seat.unseen.remote(self._found, created_by()))
            self.ready = self.refusal is None
            while self.ready and (message := self._ray.get(self.seat.hear.remote())) is not None:
                self._far.send(message)
            self.end = "ended"
        except Exception as problem:  # the actor or its node died, or the cluster is gone
            self.end = _how(problem)
        finally:
            self._far.close()

    def hang_up(self, grace: float) -> None:
        """Let the actor go, by force where it takes longer than ``grace`` seconds."""
        self.thread.join(grace)
        with suppress(Exception):  # it may be dead, and its node and the cluster too
            self._ray.kill(self.seat)
        self.thread.join(GRACE)
        self.connection.close()


class RayWorker:
    """A worker on a node of the cluster; one that dies is replaced, on another node perhaps.

    Args:
        hire: makes an actor.
        found: what its node must see.
    """

    retries = RETRIES

    def __init__(self, ray: Any, hire: Callable[[], Any], found: dict[str, str]) -> None:
        self._ray, self._hire, self._found = ray, hire, found
        self.number: int | None = None
        self._false_starts = 0
        self._line = _Line(ray, hire(), found)
        self.connection = self._line.connection

    @property
    def started(self) -> bool:
        """Whether its actor has started."""
        return self._line.ready

    @property
    def ready(self) -> bool:
        """Whether its actor has started, and lives; one that died meanwhile is replaced.

        Raises:
            InputError: its node does not see the folders, or no actor can be started at all.
        """
        if self._line.refusal is not None:
            raise InputError(self._line.refusal)
        if self.number is None and self._line.end:
            if not self._line.ready:
                self._false_starts += 1
            if self._false_starts > RETRIES:
                raise InputError(f"Ray cannot start a worker: it {self._line.end}.")
            self.restart()
        return self._line.ready

    def send(self, number: int, work: Any) -> None:
        """Give it work. Should it be dead, that is noticed when it is listened to."""
        self.number = number
        self.answer(work)

    def answer(self, message: Any) -> None:
        """Tell it something about its work, with the same remark."""
        self._line.seat.tell.remote(message)

    def restart(self) -> str:
        """After an unexpected end: a new actor, and how the old one ended."""
        self._line.hang_up(0)
        how = self._line.end
        self._line = _Line(self._ray, self._hire(), self._found)
        self.connection = self._line.connection
        return how

    def leave(self) -> None:
        """Tell it to end, with its run checkpointed."""
        self._line.seat.leave.remote()

    def stop(self) -> None:
        """Let it end, by force if need be."""
        if self._line.ready and not self._line.end:
            self.answer(None)
        self._line.hang_up(GRACE if self._line.ready else 0)


@dataclass(frozen=True)
class RayWorkerPool:
    """Makes workers on the nodes of a Ray cluster, as ``processes.worker_processes`` makes them beside this process.

    Attributes:
        address: of the cluster; None as ``ray_cluster.joined`` has it.
        gpus: of each worker, a share of one perhaps; None for one where the cluster has GPUs.
        files, folders: every node must see these files as this machine does, and what is written into these folders.
        on_progress: is told what the cluster has.
    """

    address: str | None
    gpus: float | None
    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    on_progress: Callable[[str], None]

    @contextmanager
    def __call__(
        self, count: int, target: Callable[..., None], arguments: tuple[Any, ...], sharing: int
    ) -> Iterator[list[RayWorker]]:
        """``count`` workers for the length of a ``with`` block.

        Args:
            sharing: the workers that the processors are shared among.

        Raises:
            UsageError: no node has so many GPUs.
            InputError: there is no such cluster.
        """
        # A worker on another machine shares no current folder with this process.
        arguments = tuple(part.absolute() if isinstance(part, Path) else part for part in arguments)
        with joined(self.address) as ray, evidence(self.files, self.folders) as found:
            hire = partial(self._hire, ray, target, arguments, sharing)
            self.on_progress(self._described(ray, sharing))
            workers: list[RayWorker] = []
            late = threading.Timer(_LATE, self._say_none_started, (workers,))
            late.daemon = True
            try:
                workers.extend(RayWorker(ray, hire, found) for _ in range(count))
                late.start()
                yield workers
            except BaseException:
                for worker in workers:
                    worker.leave()
                raise
            finally:
                late.cancel()
                for worker in workers:
                    worker.stop()

    def _say_none_started(self, workers: list[RayWorker]) -> None:
        if not any(worker.started for worker in workers):
            self.on_progress("No run has begun yet: Ray waits for free CPUs or GPUs, see `ray status`.")

    def _places(self, ray: Any, sharing: int) -> tuple[int, float]:
        """Processors and GPUs of a worker, by the nodes that are alive at this moment."""
        nodes = nodes_of(ray)
        gpus = self.gpus if self.gpus is not None else float(any(has for _, has in nodes))
        return processors_each(nodes, sharing, gpus), gpus

    def _hire(self, ray: Any, target: Callable[..., None], arguments: tuple[Any, ...], sharing: int) -> Any:
        cpus, gpus = self._places(ray, sharing)
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # Three calls at once: one that waits for what the loop says, and two that tell it something.
        kind = ray.remote(RayActor).options(
            num_cpus=cpus, num_gpus=gpus, max_concurrency=3, max_restarts=0, scheduling_strategy="SPREAD"
        )
        return kind.remote(target, arguments, cpus, environment)

    def _described(self, ray: Any, sharing: int) -> str:
        nodes = nodes_of(ray)
        cpus, gpus = self._places(ray, sharing)
        has = f"{pluralize(len(nodes), 'node')}, {sum(cpus for cpus, _ in nodes):g} CPUs"
        if total := sum(gpus for _, gpus in nodes):
            has += f", {total:g} GPUs"
        share = f" and {gpus:g} GPU" if gpus else ""
        return f"Ray cluster of {has}; each run has {pluralize(cpus, 'CPU')}{share}"


def _how(problem: Exception) -> str:
    """How an actor ended, after "it"; Ray says much more."""
    names = {kind.__name__ for kind in type(problem).__mro__}
    text = " ".join(str(problem).split())
    if "node" in text and ("its node has died" in text or "NodeDiedError" in names):
        return "was on a node that died"
    if "OutOfMemory" in text or "OutOfMemoryError" in names:
        return "was ended by Ray, for the memory of its node ran out"
    if "ActorDiedError" in names or "ActorUnavailableError" in names:
        cause = text.partition("Cause:")[2] or text
        return f"died ({cause.strip()[:200].rstrip('. ')})"
    return f"was lost ({type(problem).__name__}: {text[:200].rstrip('. ')})"
