"""Data and models of the benchmarks: TikTok if it is prepared, else random data of its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command import settings_given
from mmssl_cli.config import TrainSettings, merge_settings
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.data.sampling import Batch
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.trainer import make_loop
from pipelines.prepared.manifest import MANIFEST

PREPARED = Path("data/tiktok")
#: Sizes of TikTok, with features as wide as its whitened ones; and of a larger data set, that of Amazon Sports.
SIZES = {"users": 9308, "items": 6710, "interactions": 59541, "test_users": 6130, "feature_dims": (64, 64)}
LARGE = {"users": 35_598, "items": 18_357, "interactions": 218_409, "test_users": 20_000, "feature_dims": (64, 64)}
#: Sizes of Amazon Baby, with features as wide as its raw ones, and as its whitened ones.
_BABY = {"users": 19_445, "items": 7_050, "interactions": 118_551, "test_users": 19_445}
RANDOM = {
    "large": LARGE,
    "baby-raw": {**_BABY, "feature_dims": (4096, 1024)},
    "baby": {**_BABY, "feature_dims": (64, 64)},
}
DATA_HELP = f"a prepared data set; else {PREPARED}, else random data of its sizes"
RANDOM_HELP = f"random data of a size in place of a data set: {', '.join(RANDOM)}"


def training_loop(
    folder: Path | None, model: str, device: str, given: Sequence[str] = (), size: str | None = None, **settings: Any
) -> TrainingLoop:
    """Return a model ready to train with its settings for TikTok, changed by ``given`` and ``settings``.

    Args:
        size: of random data in place of those of the folder, a name of ``RANDOM``.

    Raises:
        UsageError: unknown setting, model or device.
        InputError: the data cannot be read.
    """
    merged = settings_of(model, device, given, **settings)
    data = random_data(**RANDOM[size]) if size else load(folder, merged)
    return make_loop(merged, data, torch.device(device))


def settings_of(model: str, device: str, given: Sequence[str] = (), **settings: Any) -> TrainSettings:
    """Return the settings for TikTok, changed by ``given`` and ``settings``."""
    flags = {"seed": 0, **settings, **settings_given(given)}
    return merge_settings({"dataset": "tiktok", "model": model, "device": device, **flags})


def load(folder: Path | None, settings: TrainSettings) -> InteractionData:
    """Load a prepared folder; without one TikTok if it is prepared in ``data``, else random data of its sizes."""
    if folder is None and not (PREPARED / MANIFEST).is_file():
        return random_data(**SIZES)
    scaling = settings.modalities, settings.feature_scaling, settings.feature_components
    # Without its folder nothing is read from the cache of results: a benchmark measures what computes them.
    return replace(load_interactions(folder or PREPARED, *scaling), folder=Path())


def random_data(
    users: int, items: int, interactions: int, test_users: int, feature_dims: Sequence[int]
) -> InteractionData:
    """Return random pairs with a few popular items, at least one per user, and a modality a dimension."""
    chance = np.random.default_rng(0)
    train = CSR.from_pairs(random_pairs(chance, users, items, interactions), users)
    held_out = np.stack([np.arange(test_users), chance.integers(items, size=test_users)], axis=1)
    test = CSR.from_pairs(held_out, users)
    features = {
        f"modality{number}": torch.from_numpy(chance.random((items, dimension), np.float32))
        for number, dimension in enumerate(feature_dims)
    }
    present = {name: torch.ones(items, dtype=torch.bool) for name in features}
    return InteractionData("random data", users, items, train, test, test, features, present)


def random_pairs(chance: np.random.Generator, users: int, items: int, count: int, least: int = 1) -> np.ndarray:
    """Return distinct pairs int64 [count, 2] with a few popular items and at least ``least`` per user, sorted."""
    first = np.arange(users) * items
    start = chance.integers(items, size=users)
    found = np.sort(np.concatenate([first + (start + step) % items for step in range(least)]))
    chances = np.cumsum(1 / np.arange(1, items + 1) ** 0.7)
    while len(found) < count:
        wanted = count - len(found)
        drawn = np.searchsorted(chances, chance.random(wanted) * chances[-1])
        found = np.unique(np.concatenate([found, chance.integers(users, size=wanted) * items + drawn]))
    return np.stack(np.divmod(found, items), axis=1)


def sizes_of(loop: TrainingLoop) -> dict[str, Any]:
    """Return the counts that a time depends on."""
    data = loop.data
    return {
        "users": data.num_users,
        "items": data.num_items,
        "training interactions": len(data.train),
        "test users": int((data.test.degrees() > 0).sum()),
        "modalities": {name: values.shape[1] for name, values in data.features.items()},
        "steps": loop.sampler.steps,
        "batch": loop.sampler.batch_size,
    }


def batches(loop: TrainingLoop, count: int) -> list[Batch]:
    """Return the first ``count`` batches, from several epochs if one has fewer."""
    found: list[Batch] = []
    while len(found) < count:
        found += loop.sampler.epoch(loop.generator)
    return found[:count]


def refresh(model: Any) -> None:
    """Run Eq. 8 whole: the neighbours of every user, their graphs, and the views through them."""
    model.begin_epoch(1)
    with torch.no_grad():
        model.views()
