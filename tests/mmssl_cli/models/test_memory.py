"""Free memory, as the machine and the control group of the process say."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from mmssl_cli.models.memory import MemoryStatus, available_memory

MIB = 2.0**20


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 800),
        (
            {
                "proc/self/cgroup": "0::/service/worker\n",
                "sys/fs/cgroup/service/worker/memory.max": "max\n",
                "sys/fs/cgroup/service/worker/memory.current": f"{100 * MIB:.0f}\n",
                "sys/fs/cgroup/service/memory.max": f"{500 * MIB:.0f}\n",
                "sys/fs/cgroup/service/memory.current": f"{400 * MIB:.0f}\n",
                "sys/fs/cgroup/service/memory.stat": f"anon 5\ninactive_file {50 * MIB:.0f}\n",
            },
            150,
        ),
        (
            {  # in a container the group has another path outside than inside
                "proc/self/cgroup": "5:cpu,memory:/docker/0123\n2:cpuset:/\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{300 * MIB:.0f}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{100 * MIB:.0f}\n",
            },
            200,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "4096\n",
            },
            800,
        ),
    ],
)
def test_the_least_of_the_machine_s_memory_and_of_each_limit_counts(
    tmp_path: Path, files: dict[str, str], expected: float
) -> None:
    write(tmp_path, {"proc/meminfo": f"MemTotal: 999999 kB\nMemAvailable: {800 * 1024} kB\n", **files})
    assert available_memory(tmp_path) == expected * MIB


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="Windows says what is free")
def test_without_meminfo_the_whole_memory_counts(tmp_path: Path) -> None:
    assert available_memory(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_the_structure_of_windows_has_its_size() -> None:
    assert ctypes.sizeof(MemoryStatus) == 64 and MemoryStatus.available.offset == 16
