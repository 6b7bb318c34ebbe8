"""The collaborative models against slow NumPy versions of their papers' equations, and what their training reaches."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.data.graph import BipartiteGraph
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.models.clustering import k_means
from mmssl_cli.models.losses import contrast_nodes
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.loop import TrainingLoop
from pipelines.prepare import prepare
from tests.model_cases import array, dense, toy_batch, toy_data, unit, weighted

#: Settings under which every term of a model's loss is there from the first epoch.
MODELS: dict[str, dict[str, Any]] = {
    "sgl": {},
    "ngcf": {"dropout": 0.0},
    "ncl": {"prototype_warmup": 0, "clusters": 3},
    "hccf": {"hyperedges": 4, "edge_dropout": 0.2},
}
#: Settings that suit a set as sparse as `demo`, where the paper's do not.
ON_DEMO: dict[str, dict[str, Any]] = {"sgl": {"contrast_weight": 0.01}, "hccf": {"hyper_scale": 0.1}}
DATA = toy_data(modalities={})


def made(name: str, data: InteractionData = DATA, **settings: Any) -> Any:
    """The model of 8 dimensions, ready for the first step of its first epoch."""
    torch.manual_seed(7)
    model = build_model(data, build_settings({"model": name, "embedding_dim": 8, **MODELS[name], **settings}))
    model.begin_epoch(1)
    return model


def layers_of(model: Any, graphs: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Users and items at layer 0 and after each layer, by dense 0/1 matrices [U, I]."""
    layers = [(array(model.users), array(model.items))]
    for matrix in graphs:
        to_users, to_items = weighted(matrix, "sym")
        users, items = layers[-1]
        layers.append((to_users @ items, to_items @ users))
    return layers


def mean(layers: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    return [np.mean(np.stack(of_each), axis=0) for of_each in zip(*layers, strict=True)]


def slow_info_nce(anchors: np.ndarray, others: np.ndarray, positives: np.ndarray, temperature: float) -> float:
    """The mean over anchors of -log softmax at their positive, one anchor at a time."""
    losses = []
    for anchor, positive in zip(unit(anchors), positives, strict=True):
        scores = np.exp(unit(others) @ anchor / temperature)
        losses.append(-np.log(scores[positive] / scores.sum()))
    return float(np.mean(losses))


def slow_bpr(users: np.ndarray, items: np.ndarray) -> float:
    batch = toy_batch(DATA)
    triples = zip(*map(array, (batch.users, batch.positives, batch.negatives)), strict=True)
    margins = [users[int(u)] @ (items[int(p)] - items[int(n)]) for u, p, n in triples]
    return float(np.mean(np.log1p(np.exp(-np.array(margins)))))


def nodes_of_batch() -> list[np.ndarray]:
    batch = toy_batch(DATA)
    return [np.unique(batch.users.numpy()), np.unique(batch.positives.numpy())]


def edges_of(graph: BipartiteGraph) -> np.ndarray:
    """The 0/1 matrix [U, I] of a graph."""
    return (graph.to_users.to_dense().numpy() > 0).astype(float)


@pytest.mark.parametrize("negatives", ["batch", "all"])
def test_contrast_of_nodes(negatives: str) -> None:
    anchors, others = np.random.default_rng(0).normal(size=(2, 6, 3))
    nodes = np.array([1, 4, 5])
    if negatives == "all":
        expected = slow_info_nce(anchors[nodes], others, nodes, 0.3)
    else:
        expected = slow_info_nce(anchors[nodes], others[nodes], np.arange(3), 0.3)
    given = (torch.from_numpy(anchors), torch.from_numpy(others), torch.from_numpy(nodes))
    assert contrast_nodes(*given, 0.3, negatives).item() == pytest.approx(expected)


# --- SGL


@pytest.mark.parametrize("augmentation", ["edge-drop", "node-drop", "random-walk"])
@pytest.mark.parametrize("negatives", ["batch", "all"])
def test_sgl_contrasts_two_damaged_graphs(augmentation: str, negatives: str) -> None:
    settings = {"augmentation": augmentation, "edge_dropout": 0.3, "layers": 2, "contrast_negatives": negatives}
    model = made("sgl", **settings, contrast_weight=0.4, contrast_temperature=0.3, l2_weight=0.2)
    matrix = dense(DATA.train, DATA.num_items)
    final = mean(layers_of(model, [matrix, matrix]))
    views = [mean(layers_of(model, [edges_of(graph) for graph in graphs])) for graphs in model.views]
    contrast = 0.0
    for first, second, nodes in zip(*views, nodes_of_batch(), strict=True):
        if negatives == "all":
            contrast += slow_info_nce(first[nodes], second, nodes, 0.3)
        else:
            contrast += slow_info_nce(first[nodes], second[nodes], np.arange(len(nodes)), 0.3)

    terms = model.training_step(toy_batch(DATA))

    assert set(terms) == {"bpr", "l2", "contrast"}
    assert terms["bpr"].item() == pytest.approx(slow_bpr(*final), rel=1e-5)
    assert terms["contrast"].item() == pytest.approx(0.4 * contrast, rel=1e-5)
    for found, expected in zip(model.represent(), final, strict=True):
        np.testing.assert_allclose(array(found), expected, atol=1e-6)


def test_sgl_damages_what_its_augmentation_says() -> None:
    whole = dense(DATA.train, DATA.num_items)
    for augmentation in ("edge-drop", "node-drop", "random-walk"):
        model = made("sgl", augmentation=augmentation, edge_dropout=0.4, layers=2)
        drawn = [[edges_of(graph) for graph in graphs] for graphs in model.views]
        assert all((matrix <= whole).all() and matrix.sum() < whole.sum() for view in drawn for matrix in view)
        assert not np.array_equal(drawn[0][0], drawn[1][0])
        assert np.array_equal(drawn[0][0], drawn[0][1]) == (augmentation != "random-walk")
        if augmentation == "node-drop":  # an edge goes if, and only if, one of its ends does
            left = drawn[0][0]
            ends = np.outer(left.any(axis=1), left.any(axis=0))
            assert np.array_equal(left, whole * ends)
        before = model.views
        model.begin_epoch(2)
        assert not np.array_equal(edges_of(before[0][0]), edges_of(model.views[0][0]))


def test_sgl_leaves_out_the_share_it_is_told() -> None:
    data = toy_data(users=400, items=60, modalities={})
    for share in (0.0, 0.25, 0.6):
        model = made("sgl", data, edge_dropout=share)
        left = model.views[0][0].to_users.values().numel() / len(data.train)
        assert left == pytest.approx(1 - share, abs=0.06)


# --- NGCF


def slow_ngcf(model: Any, scaling: str, blocked: tuple[int, ...] = (), grown: float = 1) -> list[np.ndarray]:
    """The joined layers, node by node; ``blocked`` users and items send nothing, the others ``grown`` times as much."""
    matrix = dense(DATA.train, DATA.num_items)
    sides = [array(model.users), array(model.items)]
    joined = [[side] for side in sides]
    for first, second in zip(model.of_sums, model.of_products, strict=True):
        new = [np.zeros_like(side) for side in sides]
        for side, edges in ((0, matrix), (1, matrix.T)):
            for node, own in enumerate(sides[side]):
                total = (own @ array(first)).copy()
                for other in np.flatnonzero(edges[node]):
                    if other not in blocked:
                        weight = grown / np.sqrt(edges[node].sum() * edges[:, other].sum())
                        sent = sides[1 - side][other]
                        total += weight * (sent @ array(first) + (sent * own) @ array(second))
                new[side][node] = np.where(total > 0, total, 0.2 * total)
        sides = new
        for side in (0, 1):
            joined[side].append(unit(sides[side]) if scaling == "l2" else sides[side])
    return [np.concatenate(of_side, axis=1) for of_side in joined]


@pytest.mark.parametrize("scaling", ["l2", "none"])
def test_ngcf_is_the_papers_propagation(scaling: str) -> None:
    model = made("ngcf", layers=2, layer_scaling=scaling, l2_weight=0.2)
    expected = slow_ngcf(model, scaling)
    terms = model.training_step(toy_batch(DATA))
    assert set(terms) == {"bpr", "l2"}
    assert terms["bpr"].item() == pytest.approx(slow_bpr(*expected), rel=1e-5)
    for found, right in zip(model.represent(), expected, strict=True):
        assert right.shape[1] == 24
        np.testing.assert_allclose(array(found), right, atol=1e-6)


def test_ngcf_blocks_the_messages_of_dropped_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nodes 1 and 4 of either side dropped in every layer; nothing is in evaluation."""

    def two_dropped(ones: torch.Tensor, share: float, training: bool) -> torch.Tensor:
        if ones.shape[1] > 1 or not training:  # message dropout
            return ones
        return (ones / (1 - share)).index_fill(0, torch.tensor([1, 4]), 0)

    model = made("ngcf", layers=2, node_dropout=0.25)
    monkeypatch.setattr("mmssl_cli.models.ngcf.dropout", two_dropped)
    cases = ((True, slow_ngcf(model, "l2", (1, 4), 1 / 0.75)), (False, slow_ngcf(model, "l2")))
    for training, expected in cases:
        for found, right in zip(model.train(training).represent(), expected, strict=True):
            np.testing.assert_allclose(array(found), right, atol=1e-6)


def test_ngcf_drops_messages_and_nodes_in_training_alone() -> None:
    for settings in ({"dropout": 0.5, "layers": 1}, {"dropout": 0.0, "node_dropout": 0.5, "layers": 1}):
        model = made("ngcf", **settings)
        torch.manual_seed(1)
        users = model.train().represent()[0]
        assert not torch.equal(users, model.represent()[0])
        assert torch.equal(model.eval().represent()[0], model.represent()[0])
    zeros = (made("ngcf", dropout=0.5, layers=1).represent()[0][:, 8:] == 0).double().mean().item()
    assert zeros == pytest.approx(0.5, abs=0.2)


# --- NCL


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


# --- HCCF


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


def test_hccf_leaves_out_other_edges_and_hyperedges_in_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("hccf", layers=2, edge_dropout=0.3, contrast_weight=0.4, contrast_temperature=0.3)
    graphs, masks, draw = [], [], model.edge_dropout.draw

    def remembered_draw(share: float) -> BipartiteGraph:
        graph = draw(share)
        graphs.append((array(graph.to_users.to_dense()), array(graph.to_items.to_dense())))
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


# --- what holds for all


@pytest.mark.parametrize("name", MODELS)
def test_training_lowers_every_loss(name: str) -> None:
    torch.manual_seed(3)
    settings = build_settings({"model": name, "embedding_dim": 8, "batch_size": 8, "lr": 0.03, **MODELS[name]})
    loop = TrainingLoop(build_model(DATA, settings), DATA, settings)
    records = [loop.run_epoch() for _ in range(15)]
    first, last = (np.mean([r["loss/bpr"] for r in part]) for part in (records[:3], records[-3:]))
    assert last < 0.8 * first
    first, last = (np.mean([r["loss/total"] for r in part]) for part in (records[:3], records[-3:]))
    assert last < first


@pytest.mark.parametrize("name", MODELS)
def test_weights_that_are_loaded_represent_the_same(name: str) -> None:
    settings = build_settings({"model": name, "embedding_dim": 8, "batch_size": 8, "lr": 0.03, **MODELS[name]})
    loop = TrainingLoop(build_model(DATA, settings), DATA, settings)
    loop.run_epoch()
    fresh = build_model(DATA, settings)
    fresh.load_state_dict(loop.model.state_dict())
    pairs = list(zip(loop.model.eval().represent(), fresh.eval().represent(), strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("name", MODELS)
def test_training_that_was_interrupted_goes_on_with_the_same_numbers(name: str) -> None:
    settings = build_settings({"model": name, "embedding_dim": 8, "batch_size": 8, **MODELS[name]})
    torch.manual_seed(3)
    loop = TrainingLoop(build_model(DATA, settings), DATA, settings)
    loop.run_epoch()
    state = copy.deepcopy(loop.state())
    after = loop.run_epoch()
    other = TrainingLoop(build_model(DATA, settings), DATA, settings)
    other.restore(state)
    assert {**other.run_epoch(), "train_seconds": 0} == {**after, "train_seconds": 0}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    prepare("demo", data_dir=folder)
    return folder / "demo"


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_few_epochs_beat_random_ranking_on_demo(name: str, demo: Path) -> None:
    """400 items: a list of 20 drawn by chance finds one item in twenty."""
    data = load_interactions(demo, modalities=())
    torch.manual_seed(2023)
    settings = build_settings({"model": name, "batch_size": 256, "lr": 5e-3, **ON_DEMO.get(name, {})})
    loop = TrainingLoop(build_model(data, settings), data, settings)
    for _ in range(8):
        loop.run_epoch()
    with torch.no_grad():
        found = evaluate(*loop.model.eval().represent(), data, "validation", (20,))[0]["recall@20"]
    assert found > 2 * 20 / 400
