"""Identities of encoders that were loaded before, so that a repeat with nothing to do loads none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.features.chunks import Encoder
from pipelines.features.model_folders import model_files
from pipelines.io.circumstances import circumstances
from pipelines.io.step_cache import WorkFolder, key_of
from pipelines.recipe import Recipe


class KnownEncoder:
    """The identity of an encoder as long as its name, its files, the libraries and the GPUs are unchanged."""

    def __init__(self, work: WorkFolder, kind: str, name: str, recipe: Recipe) -> None:
        weights = None if recipe.image_weights is None else str(recipe.image_weights.absolute())
        self._work, self._name = work, f"{kind} encoder {name}"  # CLIP encodes texts and pictures
        self._key = key_of(name, weights, recipe.dtype, circumstances())

    def identity(self) -> dict[str, Any] | None:
        """Return the identity; None if the encoder has to be loaded for it."""
        found = self._work.recall(self._name, self._key)
        if found is None or found["files"] != self._hashes(found["folder"], found["weights"]):
            return None
        return dict(found["identity"])

    def remember(self, encoder: Encoder) -> dict[str, Any]:
        """Return the identity of ``encoder``, and remember it with its files."""
        places = [None if path is None else str(path.absolute()) for path in (encoder.folder, encoder.weights)]
        identity, files = encoder.identity(), self._hashes(*places)
        found = {"identity": identity, "folder": places[0], "weights": places[1], "files": files}
        self._work.remember(self._name, self._key, found)
        return identity

    def _hashes(self, folder: str | None, weights: str | None) -> dict[str, str]:
        paths = [] if folder is None else model_files(Path(folder))
        paths += [] if weights is None else [Path(weights)]
        return {str(path): sha256 for path, sha256 in self._work.hashes(paths).items()}
