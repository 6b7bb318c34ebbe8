"""HCCF against a slow NumPy version."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.data.graph import BipartiteGraph
from tests.helpers.collaborative_cases import DATA, made, nodes_of_batch, slow_bpr, slow_info_nce
from tests.helpers.model_cases import array, dense, toy_batch, weighted


def slow_hccf(model: Any, graphs: list[tuple[np.ndarray, np.ndarray]], masks: list[list[np.ndarray]]) -> Any:
    """Final users and items, and the local and global embeddings of each layer.

    ``graphs`` has a layer's weights to users and to items, ``masks`` the factors on its two incidence matrices.
    """

    def leaky(rows: np.ndarray) -> np.ndarray:
        return np.where(rows > 0, rows, model.settings.leaky_slope * rows)

    nodes = [array(model.users), array(model.items)]
    hypergraphs = (model.user_hypergraph, model.item_hypergraph)
    scale = model.settings.hyper_scale
    incidences = [scale * rows @ array(h.hyperedges) for rows, h in zip(nodes, hypergraphs, strict=True)]
    layers = [nodes]
    views = []
    for number, (to_users, to_items) in enumerate(graphs):
        local = [leaky(to_users @ layers[-1][1]), leaky(to_items @ layers[-1][0])]
        spread = []
        for side, h in enumerate(hypergraphs):
            incidence = incidences[side] * masks[number][side]
            gathered = leaky(incidence.T @ layers[-1][side])
            for level in range(model.settings.hyper_levels):
                mixing = array(h.mixing[number * model.settings.hyper_levels + level])
                gathered = leaky(mixing @ gathered) + gathered
            spread.append(leaky(incidence @ gathered))
        before = layers[-1] if model.settings.residual else [np.zeros(1)] * 2
        layers.append([a + b + c for a, b, c in zip(local, spread, before, strict=True)])
        views.append((local, spread))
    return [sum(of_side) for of_side in zip(*layers, strict=True)], views


def slow_local_global(views: Any, temperature: float, negatives: str) -> float:
    total = 0.0
    for local, spread in views:
        for one, other, nodes in zip(local, spread, nodes_of_batch(), strict=True):
            if negatives == "all":
                total += slow_info_nce(one[nodes], other, nodes, temperature)
            else:
                total += slow_info_nce(one[nodes], other[nodes], np.arange(len(nodes)), temperature)
    return total


@pytest.mark.parametrize("negatives", ["batch", "all"])
@pytest.mark.parametrize("form", [{}, {"hyper_levels": 0, "residual": False, "leaky_slope": 1.0, "hyper_scale": 0.5}])
def test_hccf_joins_the_graph_and_the_hypergraph(negatives: str, form: dict[str, Any]) -> None:
    settings = {"layers": 2, "edge_dropout": 0.0, "contrast_negatives": negatives, **form}
    model = made("hccf", **settings, contrast_weight=0.4, contrast_temperature=0.3)
    graph = weighted(dense(DATA.train, DATA.num_items), "sym")
    final, views = slow_hccf(model, [graph] * 2, [[np.ones(1)] * 2] * 2)

    terms = model.training_step(toy_batch(DATA))

    assert set(terms) == {"bpr", "l2", "contrast"}
    assert terms["bpr"].item() == pytest.approx(slow_bpr(*final), rel=1e-5)
    assert terms["contrast"].item() == pytest.approx(0.4 * slow_local_global(views, 0.3, negatives), rel=1e-5)
    for found, expected in zip(model.represent(), final, strict=True):
        np.testing.assert_allclose(array(found), expected, rtol=1e-5, atol=1e-6)


def test_hccf_moves_the_local_side_of_the_contrast_where_told() -> None:
    for detached in (True, False):
        model = made("hccf", layers=1, edge_dropout=0.0, residual=False, detach_local=detached, contrast_weight=0.4)
        local, spread = model._propagated()[2][0]
        seen: list[tuple[bool, bool]] = []

        def remembered(one: Any, other: Any, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
            seen.append((one[0].requires_grad, other[0].requires_grad))  # noqa: B023
            assert torch.equal(one[0], local[0]) and torch.equal(other[1], spread[1])  # noqa: B023
            return (one[0] * other[0]).sum(), (one[1] * other[1]).sum()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mmssl_cli.models.hccf.contrast_batch", remembered)
            model.training_step(toy_batch(DATA))
        assert seen == [(not detached, True)]


def test_hccf_leaves_out_other_edges_and_hyperedges_in_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("hccf", layers=2, edge_dropout=0.3, contrast_weight=0.4, contrast_temperature=0.3)
    graphs, masks, draw = [], [], model.edge_dropout.draw

    def remembered_draw(share: float) -> BipartiteGraph:
        graph = draw(share)
        graphs.append((array(graph.to_users.matrix.to_dense()), array(graph.to_items.matrix.to_dense())))
        return graph

    def remembered_mask(incidence: torch.Tensor, share: float) -> torch.Tensor:
        masks.append(array(torch.nn.functional.dropout(torch.ones_like(incidence), share)))
        return incidence * torch.from_numpy(masks[-1]).float()

    monkeypatch.setattr(model.edge_dropout, "draw", remembered_draw)
    monkeypatch.setattr("mmssl_cli.models.hccf.dropout", remembered_mask)
    terms = model.train().training_step(toy_batch(DATA))
    final, views = slow_hccf(model, graphs, [masks[:2], masks[2:]])
    assert terms["bpr"].item() == pytest.approx(slow_bpr(*final), rel=1e-5)
    assert terms["contrast"].item() == pytest.approx(0.4 * slow_local_global(views, 0.3, "batch"), rel=1e-5)
    assert not np.array_equal(graphs[0][0], graphs[1][0]) and not np.array_equal(masks[0], masks[2])
    assert set(np.unique(masks[0].round(4))) == {0, np.round(1 / 0.7, 4)}
    del graphs[:]
    model.eval().represent()
    whole = weighted(dense(DATA.train, DATA.num_items), "sym")
    np.testing.assert_allclose(graphs[1][1], whole[1], atol=1e-6)
