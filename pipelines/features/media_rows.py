"""The rows of audio and video files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import pandas as pd

from pipelines.errors import UsageError
from pipelines.features.chunks import Encoder, chunk_key
from pipelines.features.image_rows import as_path, known_hashes
from pipelines.features.model_folders import locate_model
from pipelines.features.rows import EncodedRows, Made, nothing
from pipelines.io.step_cache import WorkFolder


class MediaRows(EncodedRows):
    """Files that the column ``kind`` of the items names."""

    def _check(self) -> None:
        locate_model(self.name, self.kind, self.recipe.offline)

    @abstractmethod
    def _problem(self, path: Path) -> str | None:
        """Return the reason why a file cannot be read; None if it can."""

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        return chunk_key({}, known_hashes([as_path(name) for name in items[self.kind]], work))

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        paths = [as_path(name) for name in items[self.kind]]
        hashes = known_hashes(paths, work)
        readable = [path.absolute() if path and known else None for path, known in zip(paths, hashes, strict=True)]
        features = self._encode(modality, readable, chunk_key(self.settings(), hashes), work)

        def why(row: int) -> str:
            path = paths[row]
            return f"{path}: {self._problem(path)}" if path is not None else nothing(items, row, "file")

        return features, why


class AudioRows(MediaRows):
    """Audio by a network such as CLAP or wav2vec2."""

    kind: ClassVar = "audio"

    def _maker(self) -> Callable[[], Encoder]:
        from pipelines.features.hub_audio import HubAudioEncoder

        recipe = self.recipe
        return partial(HubAudioEncoder, self._place, precision=recipe.dtype, offline=recipe.offline)

    def _problem(self, path: Path) -> str | None:
        from pipelines.features.audio_files import audio_problem

        return audio_problem(path)


class VideoRows(MediaRows):
    """Videos by frames, which a network for pictures encodes."""

    kind: ClassVar = "video"

    def _check(self) -> None:
        if find_spec("av") is None:
            raise UsageError("Videos are decoded by PyAV, which is not installed: pip install 'mmssl[video]'.")
        super()._check()

    def _maker(self) -> Callable[[], Encoder]:
        from pipelines.features.video import VideoEncoder

        recipe = self.recipe
        return partial(VideoEncoder, self._place, precision=recipe.dtype, offline=recipe.offline)

    def _problem(self, path: Path) -> str | None:
        from pipelines.features.video import video_problem

        return video_problem(path)
