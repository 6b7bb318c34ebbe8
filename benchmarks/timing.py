"""Clocks: alternatives take turns, so that other load on the machine falls on all of them alike."""

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
    """Return median and quartiles of measurements."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high)}


def wait(device: str) -> None:
    """Wait for the device to finish."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], device: str = "cpu") -> float:
    """Return the wall seconds of ``work``, with those of the device."""
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def in_turn(works: Mapping[str, Callable[[], object]], repeats: int, device: str = "cpu") -> dict[str, np.ndarray]:
    """Return the wall seconds of each, [repeats], after a first turn for warm-up."""
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
        """The innermost open part; empty outside of all."""
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
        """Wrap ``function`` as a part; with ``nested=False`` its time inside another part belongs to that part."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if self._open and not nested:
                return function(*arguments, **named)
            with self.time(name):
                return function(*arguments, **named)

        return wrapped
