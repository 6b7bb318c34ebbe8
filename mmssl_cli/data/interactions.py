"""A prepared data set as tensors: interactions of each split, and item features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmssl_cli.config.fit import check_modalities
from mmssl_cli.data.cache import cached
from mmssl_cli.data.controls import control_features
from mmssl_cli.data.features import placed, scale_features
from mmssl_cli.sparse.csr import CSR
from pipelines.prepared import read_prepared
from pipelines.prepared.manifest import has_new_items, read_manifest


@dataclass(frozen=True)
class InteractionData:
    """Data that a model is trained and evaluated on.

    Attributes:
        train, validation, test: items of each user [U rows], one matrix a split, disjoint.
        features: float32 [I, dim] for each modality, already scaled, or int64 [I, n] ids of tokens, 0 as padding;
            rows of absent items are zero. Large ones may be float16, lie in their file and be mapped into memory, and
            stay in host memory where a device has no room for them (``data/features.py``).
        present: bool [I] for each modality, False where an item lacks it.
        manifest_digest: identifies the prepared data set the numbers come from.
        new_items: whether items without training interactions are meant as new ones, as those of ``--split cold-items``
            and ``--k-core 0`` are: they are no negatives, and content ranks them where a model can.
        folder: the prepared data set.
    """

    name: str
    num_users: int
    num_items: int
    train: CSR
    validation: CSR
    test: CSR
    features: dict[str, Tensor] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)
    manifest_digest: str = ""
    new_items: bool = False
    folder: Path = Path()

    @property
    def cold(self) -> Tensor:
        """Items without a training interaction, bool [I]."""
        return torch.bincount(self.train.indices, minlength=self.num_items) == 0

    def to(self, device: torch.device | str) -> InteractionData:
        """Copy the data to another device."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
            features=placed(self.features, torch.device(device)),
            present={name: mask.to(device) for name, mask in self.present.items()},
        )


def load_interactions(
    folder: Path,
    modalities: Sequence[str] | None = None,
    feature_scaling: str = "none",
    feature_components: int = 64,
    feature_control: str = "none",
    seed: int = 0,
) -> InteractionData:
    """Read a prepared folder into tensors on the CPU.

    Args:
        folder: the prepared data set.
        modalities: the ones to use; ``None`` takes all.
        feature_scaling: ``none``, ``standard`` (each column to mean 0 and deviation 1 over the present items),
            ``l2`` (each row to unit norm) or ``whiten`` (the strongest principal components, each to deviation 1).
        feature_components: how many principal components ``whiten`` keeps at most.
        feature_control: control features in place of the items' own (``control_features``).
        seed: of the control features.

    Raises:
        InputError: the folder is not a valid prepared data set.
        UsageError: a modality the data set does not have.
    """
    manifest = read_manifest(folder)
    check_modalities(modalities or (), folder.name, manifest.modalities)
    data = read_prepared(folder, modalities=modalities)
    splits = {split: CSR.from_pairs(data.pairs(split), data.num_users) for split in ("train", "validation", "test")}
    present = {name: torch.from_numpy(np.asarray(f.present, dtype=bool)) for name, f in data.features.items()}
    raw = {
        name: torch.from_numpy(f.values.astype(np.int64) if f.holds_tokens else f.values)
        for name, f in data.features.items()
    }
    raw, present = control_features(raw, present, feature_control, seed)
    features = {}
    for name, f in data.features.items():
        is_mapped = isinstance(f.values, np.memmap) and feature_scaling == "none"
        if f.holds_tokens or is_mapped:  # rows of absent items are zero in the file as well
            features[name] = raw[name]
        else:
            features[name] = _scaled(folder, raw[name], present[name], feature_scaling, feature_components)
    return InteractionData(
        data.name,
        data.num_users,
        data.num_items,
        **splits,
        features=features,
        present=present,
        manifest_digest=manifest.digest,
        new_items=has_new_items(manifest.settings),
        folder=folder,
    )


def _scaled(folder: Path, values: Tensor, present: Tensor, scaling: str, components: int) -> Tensor:
    """Scale features; those whose principal components take long are scaled once for all runs."""
    if scaling != "whiten":
        return scale_features(values, present, scaling)
    inputs = (values, present, components)
    [scaled] = cached(folder, "whitened-2", inputs, lambda: [scale_features(values, present, scaling, components)])
    return scaled
