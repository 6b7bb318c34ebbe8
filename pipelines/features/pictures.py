"""Reading picture files of unknown origin as upright RGB pictures, safely."""

from __future__ import annotations

import stat
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipelines.text import shortened

LARGEST_FILE = 32 * 2**20
"""Bytes: a photograph of a camera has a third of that."""
MOST_PIXELS = 64_000_000
"""256 MB, four bytes each, of which reading needs a few times as much: a file of a few kilobytes can claim billions."""
LARGEST_RATIO = 100
"""Of the longer side to the shorter: resizing a picture of one row to a given height makes it enormous."""

_KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
"""Of files of these kinds, in lower case."""
_ROWS = 64
"""Of a grey picture that are scaled at a time."""
_SPANS = (1, 255, 65_535)
"""Usual values of white in grey pictures of 32 bits or of floats."""


class PictureError(ValueError):
    """A file that is no picture, or not safe to decode."""


def load_picture(path: Path | BytesIO) -> Image.Image:
    """Read the picture in a file or its bytes: first frame, turned as its EXIF data say, RGB, transparency on white.

    Raises:
        PictureError: the file is missing, damaged, too large, or of a kind that is not among JPEG, PNG, WebP, GIF,
            BMP, TIFF and AVIF (others have decoders that are seldom looked after, or run other programs).
    """
    try:
        if isinstance(path, Path):
            _check_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd EXIF data and palettes
            with Image.open(path, formats=_kinds()) as image:
                _check_size(*image.size)
                ImageOps.exif_transpose(image, in_place=True)
                return _as_rgb(image)
    except PictureError:
        raise
    except Image.DecompressionBombError as problem:
        raise PictureError(f"it has more than {MOST_PIXELS:,} pixels") from problem
    except UnidentifiedImageError as problem:
        raise PictureError(f"it is no {', '.join(_KINDS[:-1])} or {_KINDS[-1]}") from problem
    except FileNotFoundError as problem:
        raise PictureError("there is no such file") from problem
    except Exception as problem:  # the decoders of these formats fail in many ways
        if isinstance(problem, OSError) and problem.strerror:
            raise PictureError(f"it cannot be read ({problem.strerror})") from problem
        reason = shortened(problem, 100)
        raise PictureError(f"it is damaged ({reason or type(problem).__name__})") from problem


def picture_problem(path: Path) -> str | None:
    """Return the reason why ``path`` cannot be read as a picture; None if it can."""
    try:
        load_picture(path)
    except PictureError as problem:
        return str(problem)
    return None


@cache
def _kinds() -> tuple[str, ...]:
    Image.init()
    return tuple(kind for kind in _KINDS if kind in Image.OPEN)  # AVIF came late, WebP can be left out of a build


def _check_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise PictureError("it is not a file")  # reading a device or a pipe might never end
    if status.st_size > LARGEST_FILE:
        raise PictureError(f"it has {status.st_size:,} bytes, more than {LARGEST_FILE:,}")


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise PictureError(f"it has {width:,} x {height:,} pixels, more than {MOST_PIXELS:,}")
    if max(width, height) > LARGEST_RATIO * min(width, height):
        raise PictureError(f"it is {width:,} x {height:,}, longer than {LARGEST_RATIO} times its shorter side")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        image = Image.fromarray(_as_bytes(np.asarray(image)))
    if not image.has_transparency_data:
        return image.convert("RGB")
    picture = image.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")  # as shops show them; what lies under is arbitrary
    return Image.alpha_composite(ground, picture).convert("RGB")


def _as_bytes(grey: np.ndarray) -> np.ndarray:
    """Scale grey values to 0 to 255: from 0 to the smallest usual white that none exceeds, else by their own range."""
    low, high = float(grey.min()), float(grey.max())
    if not np.isfinite([low, high]).all():
        raise PictureError("it has pixels that are not finite")
    white = next((span for span in _SPANS if low >= 0 and high <= span), None)
    if white is not None:
        low, high = 0.0, float(white)
    scaled = np.empty(grey.shape, np.uint8)
    for top in range(0, len(grey), _ROWS):
        rows = grey[top : top + _ROWS].astype(np.float64) - low
        scaled[top : top + _ROWS] = np.round(rows * (255 / max(high - low, 1e-300)))
    return scaled
