"""Clocks: what takes turns is timed in turns, so that what else the machine does falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

#: ``median``, and the quartiles ``low`` and ``high``.
Quartiles = dict[str, float]


def quartiles(values: Sequence[float] | np.ndarray) -> Quartiles:
    """Median and quartiles of measurements."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], device: str = "cpu") -> float:
    """Wall seconds of ``work``, what it gave the device included."""
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def in_turn(works: Mapping[str, Callable[[], object]], repeats: int, device: str = "cpu") -> dict[str, np.ndarray]:
    """Wall seconds of each, [repeats], after a first turn that warms up."""
    turns = [[seconds(work, device) for work in works.values()] for _ in range(repeats + 1)][1:]
    return dict(zip(works, np.array(turns).T, strict=True))


class Stopwatch:
    """Seconds spent in named parts, each without the parts inside it."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self._open: list[tuple[str, float]] = []  # a part, and the seconds of those inside it

    @property
    def part(self) -> str:
        """The innermost part now; empty outside of all."""
        return self._open[-1][0] if self._open else ""

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Time a ``with`` block."""
        wait(self.device)
        self._open.append((name, 0.0))
        started = time.perf_counter()
        try:
            yield
        finally:
            wait(self.device)
            took, (_, inside) = time.perf_counter() - started, self._open.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + took - inside
            if self._open:
                around, others = self._open[-1]
                self._open[-1] = around, others + took

    def timed(self, function: Callable[..., Any], name: str, nested: bool = True) -> Callable[..., Any]:
        """``function`` as a part; inside another part it belongs to that one where ``nested`` is False."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if self._open and not nested:
                return function(*arguments, **named)
            with self.time(name):
                return function(*arguments, **named)

        return wrapped
