"""Reading audio files of unknown origin as one channel of a given rate, within bounds."""

from __future__ import annotations

import math
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from pipelines.text import shortened

LARGEST_RATE = 768_000
"""Samples a second, above any recording."""
_WHOLE = 2**31
"""The span of 32-bit samples."""

LONGEST = 30.0
"""Seconds of a file that are heard, unless the model hears fewer."""


class AudioError(ValueError):
    """A file that is no audio."""


def load_audio(path: Path, rate: int, seconds: float) -> np.ndarray:
    """Read the first ``seconds`` of a file as float32 [samples], ``rate`` a second, the mean of its channels.

    WAV is read by SciPy, everything else by soundfile where that is installed.

    Raises:
        AudioError: the file is missing, damaged, without samples, or of an unknown kind.
    """
    try:
        samples, own_rate = _read(path, seconds)
    except AudioError:
        raise
    except FileNotFoundError as problem:
        raise AudioError("there is no such file") from problem
    except Exception as problem:  # the decoders fail in many ways
        reason = shortened(problem, 100)
        raise AudioError(f"it is damaged ({reason or type(problem).__name__})") from problem
    if not samples.size:
        raise AudioError("it has no samples")
    if not np.isfinite(samples).all():
        raise AudioError("it has samples that are not finite")
    if own_rate != rate:
        common = math.gcd(own_rate, rate)
        samples = resample_poly(samples, rate // common, own_rate // common)
    return samples.astype(np.float32)


def audio_problem(path: Path) -> str | None:
    """Return the reason why ``path`` cannot be read as audio; None if it can."""
    try:
        load_audio(path, 16_000, LONGEST)
    except AudioError as problem:
        return str(problem)
    return None


def _read(path: Path, seconds: float) -> tuple[np.ndarray, int]:
    """Samples, float [n], from -1 to 1, and their rate."""
    with path.open("rb") as file:
        wave = file.read(4) in (b"RIFF", b"RIFX", b"RF64")
    if wave:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about chunks that are not understood
            rate, samples = _samples(path)
        samples = samples[: int(_checked(rate) * seconds)]
        return _scaled(samples.reshape(len(samples), -1) if samples.size else samples[:, None]).mean(axis=1), rate
    if find_spec("soundfile") is None:
        raise AudioError("it is no WAV, and others are read by soundfile: pip install 'mmssl[audio]'")
    import soundfile

    with soundfile.SoundFile(path) as sound:
        rate = _checked(sound.samplerate)
        return sound.read(int(rate * seconds), dtype="float32", always_2d=True).mean(axis=1), rate


def _samples(path: Path) -> tuple[int, np.ndarray]:
    """Rate and samples of a WAV, mapped into memory, unless they have 24 bits or there are none."""
    try:
        rate, samples = wavfile.read(path, mmap=True)
    except ValueError:
        rate, samples = wavfile.read(path)
    return rate, samples


def _checked(rate: int) -> int:
    if not 0 < rate <= LARGEST_RATE:
        raise AudioError(f"it claims {rate:,} samples a second")
    return rate


def _scaled(samples: np.ndarray) -> np.ndarray:
    """Return samples of WAV, integers or floats, from -1 to 1."""
    if samples.dtype.kind == "f":
        return np.asarray(samples, dtype=np.float64)
    if samples.dtype == np.uint8:  # alone unsigned, around 128
        return (samples.astype(np.float64) - 128) / 128
    span = 2 ** (8 * samples.dtype.itemsize - 1) if samples.dtype.itemsize < 4 else _WHOLE
    return samples.astype(np.float64) / span
