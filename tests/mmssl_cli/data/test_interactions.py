"""A prepared data set as tensors: splits, features, their scaling and the choice of modalities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl_cli.data.interactions import load_interactions, scale_features
from pipelines.errors import InputError, UsageError
from pipelines.prepared import read_prepared
from pipelines.prepared.manifest import read_manifest
from tests.helpers.model_cases import array, write_toy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_toy(tmp_path) / "toy"


def test_splits_and_features_are_those_on_disk(folder: Path) -> None:
    data, prepared = load_interactions(folder), read_prepared(folder)
    assert (data.name, data.num_users, data.num_items) == ("toy", 30, 25)
    for split in ("train", "validation", "test"):
        csr = getattr(data, split)
        pairs = torch.stack([csr.row_of_each(), csr.indices], dim=1)
        assert pairs.tolist() == prepared.pairs(split).tolist()
    assert list(data.features) == list(data.present) == list(prepared.features)
    for name, features in prepared.features.items():
        assert data.features[name].dtype == torch.float32 and data.present[name].dtype == torch.bool
        np.testing.assert_array_equal(data.features[name].numpy(), features.values)
        np.testing.assert_array_equal(data.present[name].numpy(), features.present)
    assert data.manifest_digest == read_manifest(folder).digest


@pytest.mark.parametrize("chosen", [(), ("text",), ("text", "visual")])
def test_only_the_chosen_modalities_are_read(folder: Path, chosen: tuple[str, ...]) -> None:
    data = load_interactions(folder, chosen)
    assert set(data.features) == set(data.present) == set(chosen)


def test_an_unknown_modality_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"'toy' has no modality 'visal' for --modalities: did you mean visual"):
        load_interactions(folder, ("visal",))
    with pytest.raises(InputError):
        load_interactions(folder.parent / "nothing")


def _features() -> tuple[torch.Tensor, torch.Tensor]:
    values = 4 + 3 * torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    values[:, 2] = 1.5
    present = torch.tensor([True, True, False, True, True, False])
    return values, present


def test_standard_scaling_knows_the_present_items_alone() -> None:
    values, present = _features()
    known = array(values)[present.numpy()]
    scaled = array(scale_features(values, present, "standard"))
    deviation = known.std(axis=0)
    deviation[2] = 1  # a constant column becomes zero, not infinite
    np.testing.assert_allclose(scaled[present.numpy()], (known - known.mean(axis=0)) / deviation, atol=1e-5)
    assert not scaled[~present.numpy()].any()


def test_l2_scaling_makes_rows_of_length_one() -> None:
    values, present = _features()
    values[0] = 0
    scaled = array(scale_features(values, present, "l2"))
    lengths = np.sqrt((array(values) ** 2).sum(axis=1, keepdims=True))
    expected = array(values) / np.where(lengths > 0, lengths, 1)
    np.testing.assert_allclose(scaled[present.numpy()], expected[present.numpy()], atol=1e-6)
    assert not scaled[~present.numpy()].any()


@pytest.mark.parametrize("components", [2, 64])
def test_whitening_gives_principal_components_of_unit_variance(components: int) -> None:
    random = torch.Generator().manual_seed(0)
    values = torch.randn(30, 4, generator=random) @ torch.randn(4, 6, generator=random) + 5  # of rank four
    present = torch.ones(30, dtype=torch.bool)
    present[[3, 8]] = False
    known = array(values)[present.numpy()].astype(np.float64)
    centred = known - known.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    rank = min(components, 4)
    assert singular[4] < 1e-4 * singular[0]

    scaled = array(scale_features(values, present, "whiten", components))

    assert scaled.shape == (30, rank) and not scaled[~present.numpy()].any()
    expected = left[:, :rank] * np.sqrt(len(known))
    signs = np.sign((scaled[present.numpy()] * expected).sum(axis=0))
    np.testing.assert_allclose(scaled[present.numpy()], expected * signs, atol=1e-3)


def test_whitening_keeps_items_alike() -> None:
    """With as many components as items, every two of them would have the same cosine, -1 / (n - 1)."""
    random = torch.Generator().manual_seed(1)
    kinds = torch.randn(4, 50, generator=random).repeat_interleave(5, dim=0)  # five items of each kind
    values = kinds + 0.3 * torch.randn(20, 50, generator=random)
    scaled = scale_features(values, torch.ones(20, dtype=torch.bool), "whiten")
    assert scaled.shape == (20, 10)
    rows = torch.nn.functional.normalize(scaled, dim=1)
    cosines = (rows @ rows.T).fill_diagonal_(-1)
    assert (cosines.argmax(dim=1) // 5 == torch.arange(20) // 5).float().mean() > 0.8


def test_whitening_a_constant_modality_gives_zeros() -> None:
    scaled = scale_features(torch.full((5, 3), 2.0), torch.ones(5, dtype=torch.bool), "whiten")
    assert scaled.shape == (5, 1) and not scaled.abs().gt(1e-3).any()


@pytest.mark.parametrize("scaling", ["none", "standard", "l2", "whiten"])
def test_a_modality_that_nothing_has_stays_zero(scaling: str) -> None:
    values, _ = _features()
    assert not scale_features(values, torch.zeros(6, dtype=torch.bool), scaling).any()


def test_no_scaling_keeps_the_rows(folder: Path) -> None:
    values, present = _features()
    assert torch.equal(scale_features(values, present, "none")[present], values[present])
    raw, scaled = load_interactions(folder), load_interactions(folder, None, "l2")
    found = raw.features["visual"].norm(dim=1), scaled.features["visual"].norm(dim=1)
    here = raw.present["visual"]
    assert not torch.allclose(found[0][here], torch.ones(int(here.sum())))
    torch.testing.assert_close(found[1][here], torch.ones(int(here.sum())))
