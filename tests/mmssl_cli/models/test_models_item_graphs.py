"""Models of 2024 and 2025 with several graphs among items, against slow NumPy forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.models import losses
from tests.helpers.model_cases import array, dense, toy_batch, toy_data, unit, weighted
from tests.helpers.structure_cases import (
    bpr,
    built,
    content,
    info_nce,
    l2_of_batch,
    lightgcn,
    nearest,
    normalised,
    sigmoid_of,
)

# MMHCL


def nearest_sets(data: InteractionData, k: int) -> list[tuple[int, set[int]]]:
    """Item and those joined by its hyperedge, per modality: its ``k`` nearest of cosine above 0."""
    edges = []
    for rows in data.features.values():
        of = unit(array(rows))
        for item in range(data.num_items):
            cosines = of @ of[item]
            edges.append((item, {int(other) for other in np.argsort(-cosines)[:k] if cosines[other] > 0}))
    return edges


def mmhcl_tables(model: Any, data: InteractionData, k: int) -> tuple[np.ndarray, ...]:
    matrix = dense(data.train, 9)
    shared = matrix @ matrix.T
    np.fill_diagonal(shared, 0)
    shared /= np.maximum(shared.sum(axis=1, keepdims=True), 1)
    hyper_users = shared @ shared @ shared @ array(model.hyper_users)

    # Two items are joined once for each item and modality that is near to both.
    near = nearest_sets(data, k)
    joined = np.zeros((9, 9))
    for start in range(0, len(near), 9):
        of_modality = dict(near[start : start + 9])
        for one in range(9):
            for other in range(9):
                joined[one, other] += len(of_modality[one] & of_modality[other])
    scale = 1 / np.sqrt(np.where(joined.sum(axis=1) > 0, joined.sum(axis=1), 1))
    joined = scale[:, None] * joined * scale
    hyper_items = joined @ joined @ array(model.hyper_items)

    users, items = lightgcn(array(model.users), array(model.items), matrix, 2)
    return users + unit(hyper_users), items + unit(hyper_items), hyper_users, hyper_items


def mmhcl_contrast(final: np.ndarray, hyper: np.ndarray, anchors: list[int], temperature: float) -> float:
    own, other, found = unit(final), unit(hyper), []
    for node in anchors:
        across = np.exp(other @ own[node] / temperature)
        within = np.exp(own @ own[node] / temperature)
        found.append(-np.log(across[node] / (across.sum() + within.sum() - within[node])))
    return float(np.mean(found))


def test_mmhcl_adds_hypergraphs_and_contrasts_every_node() -> None:
    data = toy_data()
    form = {"user_contrast_weight": 0.3, "item_contrast_weight": 0.7, "contrast_temperature": 0.4, "l2_weight": 0.2}
    model = built("mmhcl", data, contrast_anchors=0, **form)
    users, items, hyper_users, hyper_items = mmhcl_tables(model, data, 3)
    found = model.represent()
    np.testing.assert_allclose(array(found[0]), users, atol=1e-6)
    np.testing.assert_allclose(array(found[1]), items, atol=1e-6)

    batch = toy_batch(data)
    terms = model.training_step(batch)
    assert terms.keys() == {"bpr", "l2", "contrast_users", "contrast_items"}
    assert terms["bpr"].item() == pytest.approx(bpr(users, items, batch).mean(), rel=1e-5)
    assert terms["l2"].item() == pytest.approx(l2_of_batch(0.2, users, items, batch), rel=1e-5)
    of_users = mmhcl_contrast(users, hyper_users, list(range(12)), 0.4)
    of_items = mmhcl_contrast(items, hyper_items, list(range(9)), 0.4)
    assert terms["contrast_users"].item() == pytest.approx(0.3 * of_users, rel=1e-5)
    assert terms["contrast_items"].item() == pytest.approx(0.7 * of_items, rel=1e-5)
    by_ids = built("mmhcl", data, user_contrast_weight=0, item_contrast_weight=0, l2_on="layer0", l2_weight=0.2)
    terms = by_ids.training_step(batch)
    assert terms.keys() == {"bpr", "l2"}
    expected = l2_of_batch(0.2, array(by_ids.users), array(by_ids.items), batch)
    assert terms["l2"].item() == pytest.approx(expected, rel=1e-5)


def test_mmhcl_anchors_are_drawn_and_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_data()
    model = built("mmhcl", data, contrast_anchors=4, user_contrast_weight=1.0)
    users, _, hyper_users, _ = mmhcl_tables(model, data, 3)
    monkeypatch.setattr("torch.randperm", lambda count, device: torch.arange(count).flip(0))
    found = model.training_step(toy_batch(data))["contrast_users"]
    assert found.item() == pytest.approx(mmhcl_contrast(users, hyper_users, [11, 10, 9, 8], 0.6), rel=1e-5)


# SMORE


def fourier(rows: np.ndarray, filters: list[np.ndarray]) -> np.ndarray:
    """Circular convolution of each row with each of the real filters, by its definition."""
    n = rows.shape[1]
    for of in filters:
        rows = np.array([[sum(row[k] * of[(j - k) % n] for k in range(n)) for j in range(n)] for row in rows])
    return rows


def smore_sides(model: Any, data: InteractionData, matrix: np.ndarray) -> tuple[np.ndarray, ...]:
    n, rows = 6, list(content(model).values())
    filters = [np.fft.irfft(of[:, 0] + 1j * of[:, 1], n=n) for of in array(model.spectrum.filters)]
    filtered = [fourier(of, [filters[number]]) for number, of in enumerate(rows)]
    # The orthonormal transform divides each spectrum by sqrt(n), and the product of M of them by it M - 1 times more.
    fused = []
    for item in range(9):
        row = rows[0][item : item + 1]
        for other in rows[1:]:
            row = fourier(row, [other[item]]) / np.sqrt(n)
        fused.append(fourier(row, [filters[-1]])[0])
    filtered.append(np.array(fused))
    graphs = [nearest(array(values), 3) for values in data.features.values()]
    graphs.append(np.max(graphs, axis=0))
    item_views = [
        graph @ graph @ (array(model.items) * sigmoid_of(gate, of))
        for graph, gate, of in zip(graphs, model.gates, filtered, strict=True)
    ]
    user_views = [weighted(matrix, "sym")[0] @ view for view in item_views]
    behaviour = lightgcn(array(model.users), array(model.items), matrix, 3)
    sides = []
    for own, views in zip(behaviour, (user_views, item_views), strict=True):
        parts = []
        for query, preference, view in zip(model.fuser.queries, model.fuser.preferences, views[:-1], strict=False):
            key = np.tanh(views[-1] @ array(query[0].weight).T + array(query[0].bias)) @ array(query[2].weight).T
            attention = np.exp(key) / np.exp(key).sum(axis=1, keepdims=True)
            parts.append(sigmoid_of(preference, own) * attention * view)
        parts.append(sigmoid_of(model.fuser.preferences[-1], own) * views[-1])
        sides.append(np.mean(parts, axis=0))
    return *behaviour, *sides


@pytest.mark.parametrize("modalities", [{"text": 5}, {"visual": 7, "text": 5, "acoustic": 3}])
@pytest.mark.parametrize(("contrast_rows", "l2_on"), [("triples", "final"), ("distinct", "layer0")])
def test_smore_filters_spectra_fuses_and_contrasts(modalities: dict[str, int], contrast_rows: str, l2_on: str) -> None:
    data = toy_data(modalities=modalities)
    form = {"item_layers": 2, "contrast_rows": contrast_rows, "l2_on": l2_on, "l2_weight": 0.2}
    model = built("smore", data, contrast_weight=0.3, contrast_temperature=0.4, **form)
    of_users, of_items, side_users, side_items = smore_sides(model, data, dense(data.train, 9))
    users, items = of_users + side_users, of_items + side_items
    found = model.represent()
    np.testing.assert_allclose(array(found[0]), users, atol=1e-5)
    np.testing.assert_allclose(array(found[1]), items, atol=1e-5)

    batch = toy_batch(data)
    terms = model.training_step(batch)
    assert terms.keys() == {"bpr", "l2", "contrast"}
    assert terms["bpr"].item() == pytest.approx(bpr(users, items, batch).mean(), rel=1e-4)
    contrast = 0.0
    for nodes, side, of in zip(
        (batch.users, batch.positives), (side_users, side_items), (of_users, of_items), strict=True
    ):
        of_batch = nodes.tolist() if contrast_rows == "triples" else sorted(set(nodes.tolist()))
        contrast += info_nce(side[of_batch], of[of_batch], 0.4)
    tables = (users, items) if l2_on == "final" else (array(model.users), array(model.items))
    assert terms["l2"].item() == pytest.approx(l2_of_batch(0.2, *tables, batch), rel=1e-4)
    assert terms["contrast"].item() == pytest.approx(0.3 * contrast, rel=1e-4)


def test_smore_drops_preferences_in_training_alone() -> None:
    model = built("smore", toy_data(), preference_dropout=0.5)
    first, second = model.represent()[1], model.represent()[1]
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model.represent()[1], model.represent()[1])


# DA-MRS


def damrs_graphs(data: InteractionData, k: int, k_behaviour: int, least: int) -> list[np.ndarray]:
    """Normalised graphs [I, I] of each modality and of behaviour."""
    names, items = list(data.features), range(data.num_items)
    rows = {name: unit(array(data.features[name])) for name in names}
    has = {name: data.present[name].numpy() for name in names}
    cosines = {name: rows[name] @ rows[name].T for name in names}
    means = {
        name: np.mean([cosines[name][i, j] for i in items for j in items if has[name][[i, j]].all()]) for name in names
    }
    graphs = []
    for name in names:
        graph = np.zeros((data.num_items, data.num_items))
        for i in items:
            near = [
                j
                for j in items
                if all(cosines[other][i, j] >= means[other] for other in names if has[other][[i, j]].all())
                and cosines[name][i, j] > 0
            ]
            for j in sorted(near, key=lambda j: -cosines[name][i, j])[:k]:
                graph[i, j] = 1
        graphs.append(normalised(graph))
    matrix = dense(data.train, data.num_items)
    behaviour = np.eye(data.num_items)
    for i in items:
        shared = {j: (matrix[:, i] * matrix[:, j]).sum() for j in items if j != i}
        for j in sorted(shared, key=lambda j: (-shared[j], j))[:k_behaviour]:
            behaviour[i, j] = shared[j] >= least
    return [*graphs, normalised(behaviour)]


def damrs_loss_of_items(views: np.ndarray, anchors: list[int], labels: int, temperature: float) -> float:
    found, shares = [], []
    for view in views:
        scores = np.exp(unit(view) @ unit(view).T)
        shares.append(scores / scores.sum(axis=1, keepdims=True))
    for own, view in zip(shares, views, strict=True):
        scores = np.exp(unit(view) @ unit(view).T / temperature)
        for item in anchors:
            order = np.argsort(-(sum(shares) + own)[item])[:labels]
            rest = [other for other in np.argsort(-own[item]) if other not in order][:labels]
            agreed, single, total = scores[item, order].sum(), scores[item, rest].sum(), scores[item].sum()
            found.append(-np.log(agreed / total) - np.log(single / (total - agreed)))
    return float(np.mean(found))


def bernoulli_kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


@pytest.mark.parametrize("modalities", [{"text": 5}, {"visual": 7, "text": 5, "acoustic": 3}])
def test_damrs_denoises_weights_and_aligns(modalities: dict[str, int]) -> None:
    data = toy_data(modalities=modalities)
    form = {"align_users_weight": 0.3, "align_items_weight": 0.7, "contrast_temperature": 0.4, "pseudo_labels": 3}
    model = built("damrs", data, contrast_anchors=0, l2_weight=0.2, layers=3, item_layers=2, shared_users=1, **form)
    users, behaviour = lightgcn(array(model.users), array(model.items), dense(data.train, 9), 3)
    graphs = damrs_graphs(data, 3, 2, 1)
    views = np.array([graph @ graph @ array(model.items) for graph in graphs])
    items = behaviour + views.mean(axis=0)
    found = model.represent()
    np.testing.assert_allclose(array(found[0]), users, atol=1e-6)
    np.testing.assert_allclose(array(found[1]), items, atol=1e-6)

    # Larger embeddings, with which views disagree and some feedback is doubted.
    with torch.no_grad():
        model.users.normal_().mul_(3)
    users, behaviour = lightgcn(array(model.users), array(model.items), dense(data.train, 9), 3)
    items = behaviour + views.mean(axis=0)
    batch = toy_batch(data)
    of = zip(batch.users.tolist(), batch.positives.tolist(), batch.negatives.tolist(), strict=True)
    triples = list(of)
    average = np.mean([[sigmoid(users[u] @ unit(view)[n]) for view in views] for u, _, n in triples])
    ranking, doubts = [], 0
    for u, p, n in triples:
        likes = np.array([sigmoid(users[u] @ unit(view)[p]) for view in views])
        right = likes.mean() * np.exp(-likes.var(ddof=1)) ** 2
        doubt = np.clip(likes.max() - average, 0, 1) if likes.mean() < average else 0
        doubts += doubt > 0
        gap = users[u] @ (items[p] - items[n])
        ranking.append(-right * np.log(sigmoid(gap)) - doubt * np.log(sigmoid(-gap)))
    assert doubts
    terms = model.training_step(batch)
    assert terms.keys() == {"bpr", "l2", "align_users", "align_items"}
    assert terms["bpr"].item() == pytest.approx(np.mean(ranking), rel=1e-4)
    expected = l2_of_batch(0.2, array(model.users), array(model.items), batch)
    assert terms["l2"].item() == pytest.approx(expected, rel=1e-5)

    of_users, of_items = sorted(set(batch.users.tolist())), sorted({i for _, p, n in triples for i in (p, n)})
    one = sigmoid(users[of_users] @ unit(behaviour[of_items]).T)
    other = sigmoid(users[of_users] @ unit(views.mean(axis=0)[of_items]).T)
    divergence = np.mean(bernoulli_kl(one, other) + bernoulli_kl(other, one))
    assert terms["align_users"].item() == pytest.approx(0.3 * divergence, rel=1e-4)
    contrast = damrs_loss_of_items(views, of_items, 3, 0.4)
    assert terms["align_items"].item() == pytest.approx(0.7 * contrast, rel=1e-4)


def test_damrs_draws_anchors_from_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_data()
    model = built("damrs", data, contrast_anchors=2, pseudo_labels=3, align_items_weight=1.0)
    views = np.array([graph @ array(model.items) for graph in damrs_graphs(data, 3, 2, 2)])
    monkeypatch.setattr("torch.randperm", lambda count, device: torch.arange(count))
    batch = toy_batch(data)
    first = torch.cat([batch.positives, batch.negatives]).unique()[:2].tolist()
    found = model.training_step(batch)["align_items"].item()
    assert found == pytest.approx(damrs_loss_of_items(views, first, 3, 0.2), rel=1e-4)
    bare = built("damrs", data, align_items_weight=0, align_users_weight=0, behaviour_topk=0)
    assert bare.training_step(batch).keys() == {"bpr"}


def test_log_sums_in_blocks_have_the_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setitem(losses.BLOCK_ELEMENTS, "cpu", 20)
    monkeypatch.setattr(losses, "_LEAST_ANCHORS", 1)
    anchors, others = torch.randn(5, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    found = losses.log_sum_of_scores(anchors, others, 0.3)
    expected = (anchors @ others.T / 0.3).logsumexp(dim=1)
    torch.testing.assert_close(found, expected)
    weights = torch.arange(5.0)
    gradients = [torch.autograd.grad((of * weights).sum(), (anchors, others)) for of in (found, expected)]
    torch.testing.assert_close(*gradients)


# PGL


def test_pgl_learns_on_a_subgraph_and_ranks_over_all_interactions(monkeypatch: pytest.MonkeyPatch) -> None:
    data, kept = toy_data(), torch.tensor([1, 4, 7, 9, 10])
    monkeypatch.setattr("mmssl_cli.models.freedom.drawn", lambda weights, count: kept[:count])
    model = built("pgl", data, edge_dropout=1 - 5 / len(data.train), layers=3, item_layers=2, l2_weight=0.2)
    model.begin_epoch(1)
    assert not hasattr(model, "items")
    rows = np.hstack([unit(of) for of in content(model).values()])
    assert model.users.shape == (12, 12)
    graphs = [nearest(array(data.features[name]), 3, binary=True) for name in ("visual", "text")]
    graph = 0.1 * graphs[0] + 0.9 * graphs[1]
    users, items = lightgcn(array(model.users), rows, dense(data.train, 9), 3)
    found = model.represent()
    np.testing.assert_allclose(array(found[0]), users, atol=1e-6)
    np.testing.assert_allclose(array(found[1]), items + graph @ graph @ rows, atol=1e-6)

    pruned = np.zeros((12, 9))
    pruned[data.train.row_of_each()[kept], data.train.indices[kept]] = 1
    users, items = lightgcn(array(model.users), rows, pruned, 3)
    items = items + graph @ graph @ rows
    batch = toy_batch(data)
    terms = model.training_step(batch)
    assert terms.keys() == {"bpr", "l2"}
    assert terms["bpr"].item() == pytest.approx(bpr(users, items, batch).mean(), rel=1e-5)
    assert terms["l2"].item() == pytest.approx(l2_of_batch(0.2, array(model.users), rows, batch), rel=1e-5)


def test_pgl_contrasts_rows_with_themselves_under_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    data, batch, masks = toy_data(), toy_batch(toy_data()), []

    def mask(rows: torch.Tensor, share: float, training: bool) -> torch.Tensor:
        assert share == 0.3 and training
        masks.append(torch.arange(rows.numel()).view_as(rows) % (3 + len(masks)) > 0)
        return rows * masks[-1]

    monkeypatch.setattr("mmssl_cli.models.pgl.dropout", mask)
    form = {"contrast_weight": 0.4, "contrast_temperature": 0.5, "contrast_dropout": 0.3}
    model = built("pgl", data, edge_dropout=0.0, **form)
    found = model.training_step(batch)["contrast"].item()
    users, items = (array(of) for of in model.represent())
    rows = [users[batch.users]] * 2 + [items[batch.positives]] * 2
    versions = [of * array(mask_) for of, mask_ in zip(rows, masks, strict=True)]
    expected = (info_nce(*versions[:2], 0.5) + info_nce(*versions[2:], 0.5)) / 2
    assert found == pytest.approx(0.4 * expected, rel=1e-4)
