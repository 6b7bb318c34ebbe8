"""A Ray cluster to work on: joined, or started on this machine. Ray is an extra: `pip install 'mmssl[ray]'`."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import InputError, UsageError
from pipelines.io.files import sha256_of, write_bytes, write_problem
from pipelines.text import shortened
from pipelines.version import created_by

#: Bytes of Ray's store of objects where it is started here; what passes through it is small.
_STORE = 100 * 2**20


def ray_module() -> Any:
    """Return the module ``ray``.

    Raises:
        UsageError: it is not installed.
    """
    # Ray reads these when it is imported. Its makers are told nothing, and standard output is for results alone.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ImportError as problem:
        raise UsageError(
            "--engine ray needs Ray, which is not installed; get it with: pip install 'mmssl[ray]'"
        ) from problem
    return ray


@contextmanager
def joined(address: str | None) -> Iterator[Any]:
    """Yield Ray, connected to a cluster for the length of a ``with`` block.

    Args:
        address: of a cluster; by default $RAY_ADDRESS, else one is started on this machine and ended again.

    Raises:
        UsageError: Ray is not installed.
        InputError: there is no cluster at the address, or none can be started.
    """
    ray = ray_module()
    if ray.is_initialized():
        yield ray
        return
    wanted = address or os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        with _signals_kept():
            if wanted:
                _check_reachable(wanted)
                ray.init(wanted, **quiet)
            else:
                ray.init("local", include_dashboard=False, object_store_memory=_STORE, **quiet)
    except Exception as problem:  # Ray has no class for this
        reason = shortened(problem, 300)
        raise InputError(
            f"There is no Ray cluster to be reached at {wanted} ({reason}); start one with `ray start --head`, or give "
            "the address of one with --address."
            if wanted
            else f"Ray cannot be started on this machine ({reason}); free memory or processors, or leave out "
            "--engine ray."
        ) from problem
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Fail within seconds where nothing answers; Ray itself would ask for minutes.

    Raises:
        OSError: nothing answers at HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Restore the handlers of signals, which Ray replaces with its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def nodes_of(ray: Any) -> list[tuple[float, float]]:
    """Return processors and GPUs of each node that is alive."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(resources.get("CPU", 0.0), resources.get("GPU", 0.0)) for resources in alive]


def processors_each(nodes: Sequence[tuple[float, float]], places: int, gpus: float) -> int:
    """Return the processors of each of ``places`` workers: as many as let all work at once, at least one.

    Args:
        nodes: processors and GPUs of each node.
        gpus: of each worker, a share of one perhaps; beside them it has that share of its node's processors at most.

    Raises:
        UsageError: no node has so many GPUs.
    """
    fit = [(cpus, has) for cpus, has in nodes if has >= gpus]
    if not fit:
        most = max((has for _, has in nodes), default=0)
        raise UsageError(f"--gpus-per-run is {gpus:g}, but no node of the Ray cluster has more than {most:g} GPUs.")

    def at_once(each: int) -> int:
        return sum(int(min(cpus / each, has / gpus + 1e-9 if gpus else cpus)) for cpus, has in fit)

    most = max(cpus * gpus / has if gpus else cpus for cpus, has in fit)
    return next((each for each in range(int(most), 1, -1) if at_once(each) >= places), 1)


@contextmanager
def evidence(files: Iterable[Path], folders: Iterable[Path]) -> Iterator[dict[str, str]]:
    """Yield path -> SHA-256 of what a node that shares this machine's storage sees: ``files``, and one in each folder.

    Raises:
        InputError: a file cannot be read, or a folder not be written.
    """
    found = {str(path.absolute()): sha256_of(path) for path in files}
    tokens = [folder.absolute() / f".seen-{secrets.token_hex(8)}" for folder in folders]
    try:
        for token in tokens:
            try:
                token.parent.mkdir(parents=True, exist_ok=True)
            except OSError as problem:
                raise write_problem(token.parent, problem) from problem
            write_bytes(token, token.name.encode())
            found[str(token)] = sha256_of(token)
        yield found
    finally:
        for token in tokens:
            token.unlink(missing_ok=True)


def unseen(found: Mapping[str, str], version: str) -> str | None:
    """Return, on a node, a sentence on what it lacks compared to the machine of ``evidence``; None if nothing.

    Args:
        version: of this program there.
    """
    import ray

    node = f"Node {ray.util.get_node_ip_address()} of the Ray cluster"
    if created_by() != version:
        return f"{node} has {created_by()}, not {version}; install the same version on every node."
    for name, sha256 in found.items():
        path = Path(name)
        if not path.is_file() or sha256_of(path) != sha256:
            return (
                f"{node} does not see {path} as this machine does; the folders of the data and of the runs must lie on "
                "storage that all nodes share, under the same path."
            )
    return None
