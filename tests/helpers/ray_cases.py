"""A Ray cluster of several nodes on this machine, for the tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.io.ray_cluster import ray_module

_SMALL = {"object_store_memory": 80_000_000, "include_dashboard": False, "include_log_monitor": False}


@contextmanager
def ray_cluster(nodes: int) -> Iterator[Any]:
    """A head that takes no work and ``nodes`` nodes of one processor each."""
    ray_module()
    from ray.cluster_utils import Cluster

    Path("/tmp/ray").mkdir(exist_ok=True)  # Ray writes the address of a cluster there, wherever its folder lies
    folder = tempfile.mkdtemp(prefix="r")  # sockets lie in it, whose paths must be short
    cluster = Cluster(shutdown_at_exit=True)
    try:
        try:
            cluster.add_node(num_cpus=0, temp_dir=folder, no_monitor=True, **_SMALL)
            for _ in range(nodes):
                cluster.add_node(num_cpus=1, **_SMALL)
        except Exception as problem:  # Ray gives its parts a quarter of a minute to start
            pytest.skip(f"Ray does not start on this machine at this moment: {problem}")
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def parent_of(pid: int) -> int:
    """The process that started a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
