"""Pictures encoded without any download: statistics of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.errors import InputError
from pipelines.features.chunks import Encoded, Encoder
from pipelines.features.pictures import PictureError, load_picture
from pipelines.io.circumstances import PICTURES
from pipelines.prepared.dataset import Features

SIDE = 32
HUES, LEVELS, ORIENTATIONS, GRID = 12, 4, 8, 4
DIM = HUES + 2 * LEVELS + 9 + GRID * GRID + 4 * ORIENTATIONS


class PixelEncoder(Encoder):
    """Pixel statistics, kept with a precision, float16 or float32."""

    chunk_rows = 512

    def __init__(self, precision: str) -> None:
        self._precision = precision

    def identity(self) -> dict[str, Any]:
        """Return all that determines the rows, as JSON values."""
        about = {"version": 2, "loader": PICTURES, "side": SIDE, "dim": DIM}
        return {"name": "pixel-statistics", **about, "precision": self._precision}

    def encode(self, items: Sequence[Path | None]) -> Encoded:
        """Return values [len(items), 77] and presence; a picture that cannot be read is absent."""
        values, present = np.zeros((len(items), DIM)), np.zeros(len(items), dtype=bool)
        for row, path in enumerate(items):
            with suppress(PictureError):
                if path is not None:
                    values[row], present[row] = _statistics(_small(path)), True
        return _rounded(values).astype(self._precision), present


def encode_images(pictures: Sequence[bytes | Path | None]) -> Features:
    """Return pixel statistics, float32 [len(pictures), 77].

    Five groups, each of unit length so that none drowns the others: a histogram of hues weighted by their
    strength; histograms of saturation and of brightness; mean, deviation and skewness of each colour channel;
    brightness on a coarse grid; edge orientations in the four quarters (a small histogram of oriented
    gradients, Dalal and Triggs, 2005). A missing picture gets a zero row and is marked as absent.

    Raises:
        InputError: a file cannot be read as a picture.
    """
    present = np.array([picture is not None for picture in pictures], dtype=bool)
    values = np.zeros((len(pictures), DIM))
    for row, picture in enumerate(pictures):
        if picture is not None:
            try:
                values[row] = _statistics(_small(picture))
            except PictureError as problem:
                name = picture if isinstance(picture, Path) else "an image"
                raise InputError(f"Cannot read {name} as an image: {problem}.") from problem
    encoder = {"name": "pixel-statistics", "side": SIDE, "dim": DIM}
    return Features(_rounded(values), present, encoder)


def _small(picture: bytes | Path) -> Image.Image:
    upright = load_picture(picture if isinstance(picture, Path) else BytesIO(picture))
    return upright.resize((SIDE, SIDE), Image.Resampling.BOX)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.round(values, 4).astype(np.float32)


def _statistics(image: Image.Image) -> np.ndarray:
    """All statistics of one picture of SIDE x SIDE pixels, float64 [77]."""
    rgb = np.asarray(image, dtype=np.float64) / 255
    hue, saturation, brightness = np.moveaxis(np.asarray(image.convert("HSV"), dtype=np.float64) / 255, 2, 0)
    gray = rgb.mean(axis=2)
    centred = rgb - rgb.mean(axis=(0, 1))
    deviation = centred.std(axis=(0, 1))
    skewness = np.cbrt((centred**3).mean(axis=(0, 1)))
    groups = [
        _histogram(hue, HUES, 1.0, saturation * brightness),
        np.concatenate([_histogram(saturation, LEVELS, 1.0), _histogram(brightness, LEVELS, 1.0)]),
        np.concatenate([rgb.mean(axis=(0, 1)), deviation, skewness]),
        _grid(gray),
        _edges(gray),
    ]
    return np.concatenate([group / max(float(np.linalg.norm(group)), 1e-9) for group in groups])


def _histogram(values: np.ndarray, bins: int, top: float, weights: np.ndarray | None = None) -> np.ndarray:
    """The square root of the share of each of ``bins`` equal steps from 0 to ``top`` (Hellinger), [bins]."""
    flat = None if weights is None else weights.ravel()
    counts, _ = np.histogram(values.ravel(), bins=bins, range=(0.0, top), weights=flat)
    return np.asarray(np.sqrt(counts / max(values.size, 1)))


def _grid(gray: np.ndarray) -> np.ndarray:
    """Brightness of GRID x GRID cells against the picture's own mean, [GRID * GRID]."""
    cell = SIDE // GRID
    cells = gray.reshape(GRID, cell, GRID, cell).mean(axis=(1, 3))
    return np.asarray((cells - cells.mean()).ravel())


def _edges(gray: np.ndarray) -> np.ndarray:
    """Orientations of the edges in each quarter, weighted by their strength, [4 * ORIENTATIONS]."""
    down, right = np.gradient(gray)
    strength = np.hypot(down, right)
    angle = np.mod(np.arctan2(down, right), np.pi)
    half = SIDE // 2
    quarters = [(slice(y, y + half), slice(x, x + half)) for y in (0, half) for x in (0, half)]
    return np.concatenate([_histogram(angle[at], ORIENTATIONS, np.pi, strength[at]) for at in quarters])
