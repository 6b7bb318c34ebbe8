"""How a transfer goes: bytes, speed and time left, told a few times a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_INTERVAL = 0.1
_SAMPLES = 50


@dataclass(frozen=True)
class Transfer:
    """The state of one transfer."""

    name: str
    """Of the file."""
    done: int
    """Bytes that have come, those of an earlier attempt included."""
    total: int | None
    """Bytes in all, where the server says so."""
    speed: float | None
    """Bytes a second over the last few seconds; None at the start."""

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at this speed, where it can be told."""
        if self.total is None or not self.speed:
            return None
        return (self.total - self.done) / self.speed


Progress = Callable[[Transfer], None]


class Meter:
    """Tells ``progress`` of one file's bytes, at most ten times a second."""

    def __init__(self, name: str, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._progress, self._clock = name, progress, clock
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def start(self, done: int, total: int | None) -> None:
        """A new attempt begins with ``done`` bytes at hand."""
        self._samples.clear()
        self._tell(self._clock(), done, total)

    def update(self, done: int, total: int | None) -> None:
        """``done`` bytes have come."""
        now = self._clock()
        if done == total or now - self._samples[-1][0] >= _INTERVAL:
            self._tell(now, done, total)

    def _tell(self, now: float, done: int, total: int | None) -> None:
        self._samples.append((now, done))
        (then, before), speed = self._samples[0], None
        if now > then:
            speed = (done - before) / (now - then)
        self._progress(Transfer(self._name, done, total, speed))
