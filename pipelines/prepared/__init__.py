"""The prepared format: one folder a data set, written whole, read with every file checked.

    manifest.json           format version, settings, hashes of the sources, counts, hash of every file
    users.parquet           user int32, id string
    items.parquet           item int32, id string; title, text, image string where known
    interactions.parquet    user int32, item int32, split string; timestamp int64 where known
    features/<modality>.npz values float16 | float32 [items, dim], present bool [items], encoder JSON text;
                            for tokens, values int32 [items, tokens] and features/<modality>.vocabulary.parquet
                            (id int32, token string, count int64)
    images/...              pictures that came with the data, if any

Nothing else is passed from preparation to training.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.prepared.dataset import Features, PreparedDataset
    from pipelines.prepared.read import read_prepared, verify_prepared
    from pipelines.prepared.write import write_prepared

__all__ = ["Features", "PreparedDataset", "read_prepared", "verify_prepared", "write_prepared"]

_MODULES = {"read_prepared": "read", "verify_prepared": "read", "write_prepared": "write"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that a command that reads a manifest alone does not wait for pandas."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'dataset')}"), name)
