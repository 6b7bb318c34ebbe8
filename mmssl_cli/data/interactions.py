"""A prepared data set as tensors: who interacted with what in each split, and the items' features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmssl_cli.data.csr import CSR
from pipelines.errors import UsageError, nearest
from pipelines.prepared import read_manifest, read_prepared


@dataclass(frozen=True)
class InteractionData:
    """What a model trains on and is measured with.

    Attributes:
        train, validation, test: items of each user [U rows], one matrix a split, disjoint.
        features: float32 [I, dim] for each modality, already scaled, or int64 [I, n] ids of tokens, 0 as padding;
            rows of absent items are zero.
        present: bool [I] for each modality, False where an item lacks it.
        manifest_digest: identifies the prepared data set the numbers come from.
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

    def to(self, device: torch.device | str) -> InteractionData:
        """The same data on another device."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
            features={name: values.to(device) for name, values in self.features.items()},
            present={name: mask.to(device) for name, mask in self.present.items()},
        )


def load_interactions(
    folder: Path,
    modalities: Sequence[str] | None = None,
    feature_scaling: str = "none",
    feature_components: int = 64,
) -> InteractionData:
    """Read a prepared folder into tensors on the CPU.

    Args:
        folder: the prepared data set.
        modalities: the ones to use; ``None`` takes all.
        feature_scaling: ``none``, ``standard`` (each column to mean 0 and deviation 1 over the present items),
            ``l2`` (each row to length 1) or ``whiten`` (the strongest principal components, each to deviation 1).
        feature_components: how many principal components ``whiten`` keeps at most.

    Raises:
        InputError: the folder is not a valid prepared data set.
        UsageError: a modality the data set does not have.
    """
    manifest = read_manifest(folder)
    known = list(manifest.modalities)
    for name in modalities or ():
        if name not in known:
            has = nearest(name, known) if known else "it has none."
            raise UsageError(f"Data set {folder.name!r} has no modality {name!r}: {has}")
    data = read_prepared(folder, modalities=modalities)
    splits = {split: CSR.from_pairs(data.pairs(split), data.num_users) for split in ("train", "validation", "test")}
    present = {name: torch.from_numpy(np.asarray(f.present, dtype=bool)) for name, f in data.features.items()}
    features = {}
    for name, f in data.features.items():
        if f.holds_tokens:
            features[name] = torch.from_numpy(f.values.astype(np.int64))
            continue
        values = torch.from_numpy(np.asarray(f.values, np.float32))
        features[name] = scale_features(values, present[name], feature_scaling, feature_components)
    return InteractionData(
        data.name,
        data.num_users,
        data.num_items,
        **splits,
        features=features,
        present=present,
        manifest_digest=manifest.digest,
    )


def scale_features(values: Tensor, present: Tensor, scaling: str, components: int = 64) -> Tensor:
    """Scale raw features [I, dim], ``whiten`` to at most ``components`` columns; rows of absent items become zero."""
    if scaling == "standard" and bool(present.any()):
        known = values[present]
        deviation = known.std(dim=0, correction=0)
        values = (values - known.mean(dim=0)) / torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    elif scaling == "whiten" and bool(present.any()):
        mean, directions = principal_components(values[present], components)
        values = (values - mean) @ directions
    elif scaling == "l2":
        values = torch.nn.functional.normalize(values, dim=1)
    return values * present.unsqueeze(1)


def principal_components(values: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Mean [dim] and whitening directions [dim, c] of rows [n, dim]: ``(rows - mean) @ directions`` has unit variances.

    The strongest ``components`` directions, without those of (numerically) no variance; at least one. A direction's
    sign is the one that makes its largest weight positive.
    """
    mean = values.double().mean(dim=0)
    centred = values.double() - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    variances, axes = variances.flip(0)[:components], axes.flip(1)[:, :components]
    kept = variances > 1e-9 * variances[0]
    kept[0] = True
    variances, axes = variances[kept], axes[:, kept]
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    directions = axes * torch.where(largest < 0, -1.0, 1.0) / variances.clamp(min=1e-12).sqrt()
    return mean.float(), directions.float()
