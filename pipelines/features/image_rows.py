"""The rows of pictures: by a network, or by statistics of their pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from pipelines.download.pictures import Passing, fetch_images, image_path
from pipelines.errors import InputError, UsageError
from pipelines.features.chunks import Encoder, chunk_key
from pipelines.features.image import PixelEncoder
from pipelines.features.model_folders import locate_model
from pipelines.features.pictures import picture_problem
from pipelines.features.rows import EncodedRows, Made, nothing
from pipelines.io.files import no_file
from pipelines.io.step_cache import WorkFolder
from pipelines.recipe import Recipe
from pipelines.text import pluralize


class ImageRows(EncodedRows):
    """Pictures by a network, or by statistics of their pixels."""

    kind: ClassVar = "image"

    def _maker(self) -> Callable[[], Encoder]:
        recipe = self.recipe
        if self.name == "pixels":
            return partial(PixelEncoder, recipe.dtype)
        options: dict[str, Any] = {"offline": recipe.offline, "precision": recipe.dtype}
        if self._is_hub_model():
            from pipelines.features.hub_image import HubImageEncoder

            return partial(HubImageEncoder, self._place, **options)
        from pipelines.features.cnn_image import torchvision_encoder

        weights = None if recipe.image_weights is None else recipe.image_weights.absolute()
        return partial(torchvision_encoder, self.name, weights, **options)

    def _is_hub_model(self) -> bool:
        """Return True for a folder or a name on the Hub; a classifier of the same name takes precedence."""
        from pipelines.features.classifiers import is_classifier

        name = self.name
        return ("/" in name or name.startswith("clip-") or Path(name).is_dir()) and not is_classifier(name)

    def _check(self) -> None:
        if self.name == "pixels":
            return
        from pipelines.features.classifiers import check_classifier

        weights = self.recipe.image_weights
        if self._is_hub_model():
            if weights is not None:
                raise UsageError(f"--image-weights has no use here: {self.name} is no classifier of torchvision.")
            locate_model(self.name, "image", self.recipe.offline)
            return
        check_classifier(self.name.partition(":")[0])
        if weights is not None and not weights.is_file():
            raise InputError(f"{no_file(weights)}; --image-weights expects a state dict.")

    def contents(self, items: pd.DataFrame, work: WorkFolder) -> str:
        folder = self.recipe.raw_dir / "images"
        paths = [image_path(folder, image) if _is_address(image) else as_path(image) for image in items["image"]]
        return chunk_key({}, known_hashes(paths, work))

    def make(self, modality: str, items: pd.DataFrame, work: WorkFolder) -> Made:
        addresses = [image for image in items["image"] if _is_address(image)]
        fetched = fetch_pictures(addresses, self.recipe, work) if addresses else {}
        found = [fetched.get(image, as_path(image)) for image in items["image"]]
        paths = [path if isinstance(path, Path) else None for path in found]
        hashes = known_hashes(paths, work)
        readable = [path.absolute() if path and known else None for path, known in zip(paths, hashes, strict=True)]
        features = self._encode(modality, readable, chunk_key(self.settings(), hashes), work)

        def why(row: int) -> str:
            path = found[row]
            if path is None:
                return nothing(items, row, "image")
            return f"{path}: {picture_problem(path)}" if isinstance(path, Path) else path

        return features, why


def _is_address(image: object) -> bool:
    return isinstance(image, str) and "://" in image


def as_path(image: object) -> Path | None:
    """Return the path that a cell names; None of an empty one."""
    return Path(image) if isinstance(image, str) else None


def known_hashes(paths: Sequence[Path | None], work: WorkFolder) -> list[str | None]:
    """Return the hash of each file; None where there is none."""
    known = work.hashes(path for path in paths if path is not None)
    return [None if path is None else known.get(path) for path in paths]


def fetch_pictures(addresses: list[str], recipe: Recipe, work: WorkFolder) -> Mapping[str, Path | str]:
    """Return address -> picture, or the lasting reason why there is none.

    Raises:
        InputError: some could not be fetched for a passing reason, and the recipe is not offline.
    """
    work.reporter.line(f"Fetching {pluralize(len(addresses), 'image')}")

    def show(done: int, total: int) -> None:
        work.reporter.bar("Fetching images", done, total, "items")

    fetched = fetch_images(addresses, recipe.raw_dir / "images", offline=recipe.offline, progress=show)
    passing = {address: reason for address, reason in fetched.items() if isinstance(reason, Passing)}
    if passing and not recipe.offline:
        address, reason = next(iter(passing.items()))
        raise InputError(
            f"{len(passing):,} of {len(addresses):,} images could not be fetched for now (the first, {address}, "
            f"{reason}); run the same command again to resume, or with --offline to count them as absent."
        )
    return fetched
