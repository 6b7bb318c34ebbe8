"""Pictures -> statistics of their pixels, chunk by chunk, as the networks encode them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.features.chunks import Encoded
from pipelines.features.image import DIM, SIDE, encode_images
from pipelines.features.pictures import picture_problem


class PixelEncoder:
    """Pixel statistics, kept with a precision, float16 or float32."""

    chunk_rows = 512

    def __init__(self, precision: str) -> None:
        self._precision = precision

    def identity(self) -> dict[str, Any]:
        """What determines the rows, as JSON values."""
        return {"name": "pixel-statistics", "side": SIDE, "dim": DIM, "precision": self._precision}

    def encode(self, pictures: Sequence[Path | None]) -> Encoded:
        """Values [len(pictures), DIM] and presence; a picture that cannot be read is absent."""
        readable = [path if path is not None and picture_problem(path) is None else None for path in pictures]
        made = encode_images(readable)
        return made.values.astype(self._precision), made.present

    def encode_chunks(self, chunks: Iterable[Sequence[Path | None]]) -> Iterator[Encoded]:
        """The same for one chunk after another."""
        return map(self.encode, chunks)
