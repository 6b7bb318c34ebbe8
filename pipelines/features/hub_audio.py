"""Audio encoded by a model of Hugging Face: CLAP, wav2vec 2.0, HuBERT and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.errors import InputError
from pipelines.features.audio_files import LONGEST, AudioError, load_audio
from pipelines.features.chunks import Encoded
from pipelines.features.device import NetworkEncoder
from pipelines.features.model_folders import check_safe, locate_model
from pipelines.io.circumstances import AUDIO
from pipelines.text import shortened

#: Of a second: shorter clips are filled with silence, as convolutions need some length.
SHORTEST = 10
_NO_AUDIO = "{folder} has no feature extractor of audio; give a model such as CLAP or wav2vec 2.0."


class HubAudioEncoder(NetworkEncoder):
    """The audio tower of a model, with its own feature extraction.

    A model with a text tower (CLAP) gives its projected audio features, another one (wav2vec 2.0, HuBERT) the mean of
    its last hidden states over time. Only the beginning of a file is heard: as much as the model takes, at most
    :data:`LONGEST` seconds. ``trust_remote_code`` stays off.

    Raises:
        InputError: there is no such model, it cannot be downloaded or loaded, or it takes no audio.
        UsageError: there is no such precision or device.
    """

    def __init__(
        self,
        model: str,
        *,
        precision: str = "float32",
        batch_size: int = 8,
        device: str | None = None,
        offline: bool = False,
    ) -> None:
        super().__init__(precision, batch_size, device)
        self._found = locate_model(model, "audio", offline)
        self.folder = self._found.path
        self._extractor, network = _load(self.folder)
        self._network = network.float().eval().to(self._device)
        self._rate = int(self._extractor.sampling_rate)
        self._seconds = min(LONGEST, float(getattr(self._extractor, "max_length_s", LONGEST)))
        # CLAP with fusion draws at random among the clips of a batch.
        self._together = 1 if getattr(self._extractor, "truncation", "") == "fusion" else batch_size

    def identity(self) -> dict[str, Any]:
        """Return all that determines the rows, as JSON values."""
        about = {"dim": self._dim, "rate": self._rate, "seconds": self._seconds, "loader": AUDIO}
        versions = self._circumstances("transformers", "torch", "scipy")
        return {"name": "hub-audio", **self._found.identity(), **about, **versions}

    def encode(self, items: Sequence[Path | None]) -> Encoded:
        """Return values [len(items), dim] and presence: what is None or no audio is absent, its row zero.

        Raises:
            InputError: the GPU is too small for a batch.
        """
        values = np.zeros((len(items), self._dim), dtype=self._dtype)
        present = np.zeros(len(items), dtype=bool)
        for rows, clips in self._batches(items):
            with np.errstate(over="ignore"):  # the store refuses what overflows
                values[rows] = self._rows(clips)
            present[rows] = True
        return values, present

    def _batches(self, items: Sequence[Path | None]) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Rows and clips; those of a batch are of one length, so that none is padded for the sake of another."""
        waiting: dict[int, tuple[list[int], list[np.ndarray]]] = {}
        for row, path in enumerate(items):
            try:
                clip = None if path is None else load_audio(path, self._rate, self._seconds)
            except AudioError:
                continue
            if clip is None:
                continue
            clip = np.pad(clip, (0, max(0, self._rate // SHORTEST - len(clip))))
            rows, clips = waiting.setdefault(len(clip), ([], []))
            rows.append(row)
            clips.append(clip)
            if len(rows) == self._together:
                yield waiting.pop(len(clip))
        yield from waiting.values()

    def _rows(self, clips: list[np.ndarray]) -> np.ndarray:
        """Rows of clips of one length, float32 [clips, dim]."""
        inputs = self._extractor(clips, sampling_rate=self._rate, return_tensors="pt")
        tensors = {name: value.to(self._device) for name, value in inputs.items()}
        with torch.inference_mode(), self._enough_memory():
            if hasattr(self._network, "get_audio_features"):
                rows = self._network.get_audio_features(**tensors)
                rows = rows if isinstance(rows, Tensor) else rows.pooler_output
            else:
                rows = self._network(**tensors).last_hidden_state.mean(dim=1)
        return np.asarray(rows.float().cpu())

    @cached_property
    def _dim(self) -> int:
        try:
            return int(self._rows([np.zeros(self._rate, dtype=np.float32)]).shape[1])
        except InputError:
            raise
        except Exception as problem:  # a network of something else fails in its own way
            raise _refusal(self._found.path, problem) from problem


def _load(folder: Path) -> tuple[Any, Any]:
    """Feature extractor and network of a model."""
    check_safe(folder)
    from transformers import AutoFeatureExtractor, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    options = {"trust_remote_code": False, "local_files_only": True}
    try:
        try:
            extractor = AutoFeatureExtractor.from_pretrained(folder, **options)
        except (OSError, ValueError) as problem:  # that of pictures has a class of its own
            raise InputError(_NO_AUDIO.format(folder=folder)) from problem
        network, about = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
    except InputError:
        raise
    except Exception as problem:  # configuration, preprocessing and weights each fail in their own ways
        raise _refusal(folder, problem) from problem
    if not hasattr(extractor, "sampling_rate"):
        raise InputError(_NO_AUDIO.format(folder=folder))
    missing = [name for name in about["missing_keys"] if "parametrizations" not in name]
    if missing:
        raise InputError(f"{folder} lacks {len(missing):,} weights of the model ({sorted(missing)[0]} is one).")
    return extractor, network


def _refusal(folder: Path, problem: Exception) -> InputError:
    reason = shortened(problem, 300)
    return InputError(
        f"{folder} cannot be loaded as an audio model ({reason}); expected a folder with config.json, "
        "preprocessor_config.json and weights, such as CLAP or wav2vec 2.0."
    )
