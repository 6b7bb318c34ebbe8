"""A run with known rankings: its data and its model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor, nn

from mmssl_cli.config import TrainSettings
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.models.base import Recommender
from mmssl_cli.runs.folder import RunFolder
from pipelines.prepared import PreparedDataset, write_prepared

PROVENANCE = '[provenance]\nmanifest_digest = ""\nstarted = ""\n'
ROWS = [
    ("ann", 0, "train"),
    ("ann", 1, "validation"),
    ("ann", 2, "test"),
    ("bob", 4, "train"),
    ("bob", 5, "train"),
    ("bob", 0, "validation"),
    ("bob", 3, "test"),
    ("eve", 1, "train"),
]
USERS = ["ann", "bob", "eve"]


class _Fixed(Recommender):
    """Embeddings as they were saved."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        nn.Module.__init__(self)
        self.weights = weights
        self.num_users, self.num_items = len(weights["users"]), len(weights["items"])

    def represent(self) -> tuple[Tensor, Tensor]:
        assert not self.training
        return self.weights["users"], self.weights["items"]


def load_fixed_model(run: Path, data_dir: Path) -> tuple[nn.Module, InteractionData, TrainSettings]:
    folder = RunFolder.open(run)
    settings = folder.settings()
    return _Fixed(folder.load_model()).eval(), load_interactions(data_dir / settings.dataset), settings


def prepare_shop(data_dir: Path, name: str = "shop", num_items: int = 6) -> None:
    pairs = [(USERS.index(user), item, split) for user, item, split in ROWS]
    titles = ["Red [b]hat[/b]", None, "Blue hat", *(f"Thing {i}" for i in range(3, num_items))]
    items = {"item": np.arange(num_items, dtype=np.int32), "id": [f"i{i}" for i in range(num_items)]}
    dataset = PreparedDataset(
        name=name,
        users=pd.DataFrame({"user": np.arange(3, dtype=np.int32), "id": USERS}),
        items=pd.DataFrame({**items, "title": titles}),
        interactions=pd.DataFrame(pairs, columns=["user", "item", "split"]).astype({"user": "int32", "item": "int32"}),
    )
    write_prepared(dataset, data_dir / name)
