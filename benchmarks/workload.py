"""What the benchmarks that train train on: TikTok where it is prepared, else random data of its sizes."""

from __future__ import annotations

from collections.abc import Sequence
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
#: TikTok's, with features as wide as its whitened ones.
SIZES = {"users": 9308, "items": 6710, "interactions": 59541, "test_users": 6130, "feature_dim": 64}
DATA_HELP = f"a prepared data set; else {PREPARED}, else random data of its sizes"


def training_loop(
    folder: Path | None, model: str, device: str, given: Sequence[str] = (), **settings: Any
) -> TrainingLoop:
    """A model about to be trained on TikTok with its settings there; ``given`` and ``settings`` change them.

    Raises:
        UsageError: no such setting or model, or no such device.
        InputError: the data cannot be read.
    """
    merged = settings_of(model, device, given, **settings)
    return make_loop(merged, load(folder, merged), torch.device(device))


def settings_of(model: str, device: str, given: Sequence[str] = (), **settings: Any) -> TrainSettings:
    """The settings that TikTok is trained with."""
    flags = {"seed": 0, **settings, **settings_given(given)}
    return merge_settings({"dataset": "tiktok", "model": model, "device": device, **flags})


def load(folder: Path | None, settings: TrainSettings) -> InteractionData:
    """A prepared folder; where none is given, TikTok if it is prepared in ``data``, else random data of its sizes."""
    if folder is None and not (PREPARED / MANIFEST).is_file():
        return random_data(**SIZES)
    scaling = settings.modalities, settings.feature_scaling, settings.feature_components
    return load_interactions(folder or PREPARED, *scaling)


def random_data(
    users: int, items: int, interactions: int, test_users: int, feature_dim: int, modalities: int = 2
) -> InteractionData:
    """Random pairs with a few popular items, at least one a user, and modalities of random features."""
    chance = np.random.default_rng(0)
    popularity = 1 / np.arange(1, items + 1) ** 0.7
    found = np.arange(users) * items + chance.integers(items, size=users)
    while len(found) < interactions:
        wanted = interactions - len(found)
        drawn = chance.choice(items, size=wanted, p=popularity / popularity.sum())
        found = np.unique(np.concatenate([found, chance.integers(users, size=wanted) * items + drawn]))
    train = CSR.from_pairs(np.stack([found // items, found % items], axis=1), users)
    held_out = np.stack([np.arange(test_users), chance.integers(items, size=test_users)], axis=1)
    test = CSR.from_pairs(held_out, users)
    features = {
        f"modality{number}": torch.from_numpy(chance.random((items, feature_dim), np.float32))
        for number in range(modalities)
    }
    present = {name: torch.ones(items, dtype=torch.bool) for name in features}
    return InteractionData("random data", users, items, train, test, test, features, present)


def sizes_of(loop: TrainingLoop) -> dict[str, Any]:
    """The counts that a time depends on."""
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
    """The first batches of an epoch, and of further ones where one has not as many."""
    found: list[Batch] = []
    while len(found) < count:
        found += loop.sampler.epoch(loop.generator)
    return found[:count]


def refresh(model: Any) -> None:
    """Eq. 8 whole: the neighbours of every user, the graphs they make, and the views through them."""
    model.begin_epoch(1)
    with torch.no_grad():
        model.views()
