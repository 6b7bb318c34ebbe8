"""Memory that is free, of the machine and of the control group of the process."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

#: Files of a control group of version 2 and of version 1: limit and use, and the part of memory.stat that can be freed.
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_memory(root: Path = Path("/")) -> float:
    """Return the bytes of memory that are free to this process.

    The least of what the machine has, and of what each limit of a control group leaves (a container's, for example).
    macOS says only what the machine has in all; without a limit where the system says nothing.

    Args:
        root: folder that holds ``proc`` and ``sys``.
    """
    return min((_of_machine(root), *_of_control_groups(root)))


def _of_machine(root: Path) -> float:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    if sys.platform == "win32":
        status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
        known = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return float(status.available) if known else float("inf")
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return float("inf")


class MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("page_files", ctypes.c_uint64 * 5),
    )


def _of_control_groups(root: Path) -> Iterator[float]:
    """Yield what is left of the limits of the process's control group and of those above it."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, names = (root / "sys/fs/cgroup/memory", _V1) if controllers else (root / "sys/fs/cgroup", _V2)
        below = PurePosixPath(group.lstrip("/"))
        for folder in (below, *below.parents):
            yield _left(top / folder, *names)


def _left(folder: Path, limit: str, used: str, freeable: str) -> float:
    try:
        cached = dict(line.split() for line in _text(folder / "memory.stat").splitlines()).get(freeable, 0)
        return max(0.0, float(_text(folder / limit)) - float(_text(folder / used)) + float(cached))
    except ValueError:  # no such file, or no limit ("max")
        return float("inf")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
