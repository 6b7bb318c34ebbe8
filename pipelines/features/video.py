"""Videos encoded by a model of pictures: the mean over frames at even distances."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.features.chunks import Encoded
from pipelines.features.hub_image import HubImageEncoder
from pipelines.features.pictures import LARGEST_RATIO, MOST_PIXELS
from pipelines.text import shortened

FRAMES = 8
"""Frames taken of a video."""


class VideoError(ValueError):
    """A file that is no video."""


class VideoEncoder(HubImageEncoder):
    """The image tower of a model, of whose rows for :data:`FRAMES` frames of a video the mean is taken.

    Raises:
        InputError: there is no such model, it cannot be downloaded or loaded, or it takes no pictures.
        UsageError: there is no such precision or device.
    """

    def __init__(self, model: str, **options: Any) -> None:
        super().__init__(model, kind="video", **options)

    def identity(self) -> dict[str, Any]:
        """Return all that determines the rows, as JSON values."""
        return {**super().identity(), "name": "hub-video", "frames": FRAMES, "av": version("av")}

    def encode(self, items: Sequence[str | Path | None]) -> Encoded:
        """Return values [len(items), dim] and presence: what is None or no video is absent, its row zero.

        Raises:
            InputError: the GPU is too small for a batch.
        """
        values = np.zeros((len(items), self._dim), dtype=self._dtype)
        present = np.zeros(len(items), dtype=bool)
        for row, path in enumerate(items):
            try:
                frames = [] if path is None else load_frames(Path(path))
            except VideoError:
                continue
            if frames:
                with np.errstate(over="ignore"):  # the store refuses what overflows
                    values[row] = self.encode_pictures(frames).mean(axis=0)
                present[row] = True
        return values, present

    def encode_chunks(self, chunks: Any) -> Any:
        """Encode one chunk after another."""
        return map(self.encode, chunks)


def load_frames(path: Path) -> list[Image.Image]:
    """Return :data:`FRAMES` frames of a video, the middles of as many equal parts, RGB; all, where it has fewer.

    Raises:
        VideoError: the file is missing, damaged, without frames, or its frames are too large.
    """
    import av

    try:
        with av.open(path.absolute().as_posix(), options={"protocol_whitelist": "file"}) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise VideoError("it has no frames")
            _check_size(stream.codec_context.width, stream.codec_context.height)
            count = sum(1 for _ in container.decode(stream))
        wanted = sorted({(2 * part + 1) * count // (2 * FRAMES) for part in range(FRAMES)}) if count else []
        with av.open(path.absolute().as_posix(), options={"protocol_whitelist": "file"}) as container:
            decoded = enumerate(container.decode(container.streams.video[0]))
            return [frame.to_image() for place, frame in decoded if place in wanted]
    except VideoError:
        raise
    except FileNotFoundError as problem:
        raise VideoError("there is no such file") from problem
    except Exception as problem:  # each codec fails in its own ways
        reason = shortened(problem, 100)
        raise VideoError(f"it is damaged ({reason or type(problem).__name__})") from problem


def video_problem(path: Path) -> str | None:
    """Return the reason why ``path`` cannot be read as a video; None if it can."""
    try:
        return None if load_frames(path) else "it has no frames"
    except VideoError as problem:
        return str(problem)


def _check_size(width: int, height: int) -> None:
    if (
        not width
        or not height
        or width * height > MOST_PIXELS
        or max(width, height) > LARGEST_RATIO * min(width, height)
    ):
        raise VideoError(f"its frames are {width:,} x {height:,} pixels")
