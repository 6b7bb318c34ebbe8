"""NCL and its k-means against slow NumPy versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.models.clustering import k_means
from tests.helpers.collaborative_cases import DATA, layers_of, made, mean, nodes_of_batch, slow_bpr, slow_info_nce
from tests.helpers.model_cases import array, dense, toy_batch


def test_k_means_is_lloyds_algorithm() -> None:
    points = np.random.default_rng(2).normal(size=(40, 3))
    given = torch.from_numpy(points)
    found, nearest = k_means(given, 5, torch.Generator().manual_seed(4), iterations=6, block_rows=7)
    centres = points[torch.randperm(40, generator=torch.Generator().manual_seed(4))[:5].numpy()]
    for _ in range(6):
        of_each = [int(np.argmin([np.sum((point - centre) ** 2) for centre in centres])) for point in points]
        centres = np.array([points[np.equal(of_each, c)].mean(axis=0) for c in range(5)])
    np.testing.assert_allclose(array(found), centres)
    assert nearest.tolist() == [int(np.argmin(((point - centres) ** 2).sum(axis=1))) for point in points]


def test_k_means_with_more_clusters_than_places_to_be() -> None:
    """Centres that no point is nearest to stay; there are never more than points."""
    points = torch.tensor([[0.0, 1.0]] * 6 + [[5.0, 5.0]])
    centres, nearest = k_means(points, 100, torch.Generator().manual_seed(0))
    assert centres.shape == (7, 2) and centres.isfinite().all()
    torch.testing.assert_close(centres[nearest], points)


@pytest.mark.parametrize("negatives", ["batch", "all"])
@pytest.mark.parametrize("hops", [1, 2])
def test_ncl_contrasts_with_both_kinds_of_neighbours(negatives: str, hops: int) -> None:
    settings = {"layers": 3, "structure_hops": hops, "contrast_negatives": negatives, "item_weight": 0.7}
    model = made("ncl", **settings, contrast_weight=0.4, prototype_weight=0.6, contrast_temperature=0.3)
    layers = layers_of(model, [dense(DATA.train, DATA.num_items)] * 4)
    final, users_and_items = mean(layers[:4]), nodes_of_batch()
    structure, prototype = [], []
    for side, (nodes, name) in enumerate(zip(users_and_items, ("user", "item"), strict=True)):
        first, later = layers[0][side], layers[2 * hops][side]
        others, positives = (first, nodes) if negatives == "all" else (first[nodes], np.arange(len(nodes)))
        structure.append(slow_info_nce(later[nodes], others, positives, 0.3))
        centres, clusters = array(getattr(model, f"{name}_centres")), getattr(model, f"{name}_clusters").numpy()
        nearest = [int(np.argmin(((row - centres) ** 2).sum(axis=1))) for row in first]
        assert clusters.tolist() == nearest and len(centres) == 3
        prototype.append(slow_info_nce(first[nodes], centres, clusters[nodes], 0.3))

    terms = model.training_step(toy_batch(DATA))

    assert set(terms) == {"bpr", "l2", "structure", "prototype"}
    assert terms["bpr"].item() == pytest.approx(slow_bpr(*final), rel=1e-5)
    assert terms["structure"].item() == pytest.approx(0.4 * (structure[0] + 0.7 * structure[1]), rel=1e-5)
    assert terms["prototype"].item() == pytest.approx(0.6 * (prototype[0] + 0.7 * prototype[1]), rel=1e-5)
    for found, expected in zip(model.represent(), final, strict=True):
        np.testing.assert_allclose(array(found), expected, atol=1e-6)


def test_ncl_clusters_in_as_many_rounds_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[int] = []

    def remembered(points: torch.Tensor, clusters: int, generator: torch.Generator, iterations: int) -> object:
        rounds.append(iterations)
        return k_means(points, clusters, generator, iterations)

    monkeypatch.setattr("mmssl_cli.models.ncl.k_means", remembered)
    made("ncl")
    made("ncl", cluster_rounds=7)
    assert rounds == [25, 25, 7, 7]


def test_ncl_clusters_on_its_schedule() -> None:
    model = made("ncl", prototype_warmup=2, prototype_refresh=3)
    clustered = []
    for epoch in range(1, 10):
        with torch.no_grad():
            model.users.add_(0.1)
        before = model.user_centres.clone()
        model.begin_epoch(epoch)
        if not torch.equal(before, model.user_centres):
            clustered.append(epoch)
        assert (model.training_step(toy_batch(DATA))["prototype"] > 0) == (epoch > 2)
    assert clustered == [3, 6, 9]
