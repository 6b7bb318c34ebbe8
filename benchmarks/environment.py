"""What a timing was taken on, and the most that it can do."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: Side of the square matrices, and float32 numbers of each array of the triad: far more than caches hold.
SIDE, NUMBERS = 2048, 1 << 26


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    """Processor or GPU, cores and threads in use, load at this moment, and versions."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": platform.platform(terse=True),
    }


def matrix_product(device: str, side: int = SIDE) -> tuple[Callable[[], object], float]:
    """A product of square float32 matrices to time, and its floating-point operations."""
    left, right = (torch.rand(side, side, device=device) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out), 2.0 * side**3


def triad(device: str, numbers: int = NUMBERS) -> tuple[Callable[[], object], float]:
    """STREAM's triad a = b + s c to time, and the bytes it moves: two arrays read and one written."""
    one, two = (torch.rand(numbers, device=device) for _ in range(2))
    out = torch.empty_like(one)
    return lambda: torch.add(one, two, alpha=1.5, out=out), 3.0 * 4 * numbers


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.is_file() else []:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
