"""The models of content against slow NumPy versions of their equations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.data.sampling import Batch
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.content import ContentProjections
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.loop import TrainingLoop
from pipelines.errors import UsageError
from pipelines.prepare import prepare
from tests.model_cases import array, dense, toy_batch, toy_data, unit, weighted

MODELS = ("vbpr", "lightgcn-m", "mmgcn", "grcn", "clcrec", "bm3")
#: Item 5 has no content at all, items 2 and 3 lack one modality.
ABSENT = {"visual": (2, 5), "text": (3, 5)}
#: Settings of each model that a test of the whole family also covers.
FORMS: dict[str, list[dict[str, Any]]] = {
    "vbpr": [{}],
    "lightgcn-m": [{"content_join": "sum"}, {"content_join": "concat"}],
    "mmgcn": [{"combination": "concat"}, {"combination": "elementwise"}],
    "grcn": [{}, {"integration": "max", "fusion": "mean"}, {"integration": "mean", "fusion": "id", "pruning": "hard"}],
    "clcrec": [{}],
    "bm3": [{}],
}
CASES = [(model, form) for model, forms in FORMS.items() for form in forms]


def _data(tokens: bool = False, **of_data: Any) -> InteractionData:
    data = toy_data(**{"absent": ABSENT, **of_data})
    if not tokens:
        return data
    ids = torch.from_numpy(np.random.default_rng(4).integers(0, 6, (data.num_items, 4)))
    present = ids.any(dim=1)
    present[5] = False
    ids[5] = 0
    return replace(data, features={**data.features, "taste": ids}, present={**data.present, "taste": present})


def _model(name: str, data: InteractionData, **settings: Any) -> Any:
    """A model of 8 dimensions whose parameters are all random, biases too."""
    torch.manual_seed(7)
    model = build_model(data, build_settings({"model": name, "embedding_dim": 8, **settings}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def _projected(content: ContentProjections) -> dict[str, np.ndarray]:
    """Modality -> [I, d], an item at a time."""
    rows = {}
    layers: dict[str, Any] = dict(content.layers.items())
    for name, layer in layers.items():
        raw, present = content.raw[name], array(content.present[name])
        if raw.is_floating_point():
            rows[name] = present * (array(raw) @ array(layer.weight).T + array(layer.bias))
        else:
            table = array(layer.weight)
            means = [table[[t for t in ids if t]].mean(axis=0) if any(ids) else 0 * table[0] for ids in raw.tolist()]
            rows[name] = present * np.array(means)
    return rows


def _leaky(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, 0.01 * values)


def _bpr(users: np.ndarray, items: np.ndarray, batch: Batch) -> float:
    losses = []
    for user, positive, negative in zip(batch.users, batch.positives, batch.negatives, strict=True):
        margin = users[user] @ items[positive] - users[user] @ items[negative]
        losses.append(np.log(1 + np.exp(-margin)))
    return float(np.mean(losses))


def _l2(weight: float, batch: Batch, users: list[Any], items: list[Any], negatives: bool = True) -> float:
    """weight / 2 x the mean over triples of the squared norms of their rows of each table."""
    total = sum((array(table)[batch.users.numpy()] ** 2).sum() for table in users)
    for rows in (batch.positives, batch.negatives)[: 2 if negatives else 1]:
        total += sum((array(table)[rows.numpy()] ** 2).sum() for table in items)
    return weight * total / (2 * len(batch.users))


def _check(model: Recommender, found: tuple[np.ndarray, np.ndarray]) -> None:
    for one, other in zip(model.represent(), found, strict=True):
        np.testing.assert_allclose(array(one), other, atol=2e-5)


def _check_terms(model: Recommender, batch: Batch, expected: Mapping[str, float]) -> None:
    terms = {name: term.item() for name, term in model.training_step(batch).items()}
    assert terms == pytest.approx(dict(expected), rel=1e-4, abs=1e-6)


def test_vbpr() -> None:
    data, batch = _data(tokens=True), toy_batch(toy_data())
    model = _model("vbpr", data, l2_weight=0.1)
    bags = np.zeros((data.num_items, 6))
    for item, ids in enumerate(data.features["taste"].tolist()):
        for token in ids:
            bags[item, token] += token > 0
    content = np.hstack([array(data.features["visual"]), array(data.features["text"]), unit(bags)])
    scores = np.empty((data.num_users, data.num_items))
    for user in range(data.num_users):
        for item in range(data.num_items):
            score = array(model.users)[user] @ array(model.items)[item] + array(model.item_bias)[item, 0]
            score += array(model.content_users)[user] @ (content[item] @ array(model.projection))
            scores[user, item] = score + content[item] @ array(model.content_bias)[:, 0]
    users, items = (array(part) for part in model.represent())
    np.testing.assert_allclose(users @ items.T, scores, atol=1e-5)
    own = [model.users, model.content_users], [model.items, model.item_bias]
    _check_terms(model, batch, {"bpr": _bpr(users, items, batch), "l2": _l2(0.1, batch, *own)})


@pytest.mark.parametrize("join", ["sum", "concat"])
def test_lightgcn_m(join: str) -> None:
    data, batch = _data(tokens=True), toy_batch(toy_data())
    model = _model("lightgcn-m", data, content_join=join, feature_weight=0.7, layers=2, l2_weight=0.1)
    content = [0.7 * unit(rows) for rows in _projected(model.content).values()]
    users, items = array(model.users), array(model.items)
    if join == "sum":
        items = items + sum(content)
    else:
        users, items = np.hstack([users, array(model.content_users)]), np.hstack([items, *content])
    to_users, to_items = weighted(dense(data.train, data.num_items), "sym")
    final_users = (users + to_users @ items + to_users @ to_items @ users) / 3
    final_items = (items + to_items @ users + to_items @ to_users @ items) / 3
    _check(model, (final_users, final_items))
    own = [model.users] if join == "sum" else [model.users, model.content_users]
    l2 = _l2(0.1, batch, own, [model.items])
    _check_terms(model, batch, {"bpr": _bpr(final_users, final_items, batch), "l2": l2})


@pytest.mark.parametrize("combination", ["concat", "elementwise"])
def test_mmgcn(combination: str) -> None:
    data, batch = _data(tokens=True), toy_batch(toy_data())
    model = _model("mmgcn", data, combination=combination, layers=2, l2_weight=0.1)
    matrix = dense(data.train, data.num_items)
    sums_of_users, sums_of_items = np.zeros((data.num_users, 8)), np.zeros((data.num_items, 8))
    for name, content in _projected(model.content).items():
        users, items = unit(array(model.preferences[name])), unit(content)
        for layer in model.stacks[name]:
            message, own, combine = array(layer.message.weight), layer.own, layer.combine

            def combined(node: int, rows: np.ndarray, ids: Any, neighbours: np.ndarray) -> np.ndarray:
                heard = neighbours.mean(axis=0) if len(neighbours) else np.zeros(8)
                received = _leaky(message @ heard)  # noqa: B023
                mine = _leaky(array(own.weight) @ rows[node] + array(own.bias)) + array(ids)[node]  # noqa: B023
                if combination == "concat":
                    return _leaky(array(combine.weight) @ np.hstack([received, mine]) + array(combine.bias))  # noqa: B023
                return _leaky(array(combine.weight) @ received + array(combine.bias) + mine)  # noqa: B023

            users, items = (
                np.array([combined(u, users, model.users, items[matrix[u] > 0]) for u in range(len(users))]),
                np.array([combined(i, items, model.items, users[matrix[:, i] > 0]) for i in range(len(items))]),
            )
        sums_of_users, sums_of_items = sums_of_users + users, sums_of_items + items
    _check(model, (sums_of_users, sums_of_items))
    l2 = _l2(0.1, batch, [model.users, *model.preferences.values()], [model.items])
    _check_terms(model, batch, {"bpr": _bpr(sums_of_users, sums_of_items, batch), "l2": l2})


def _shares(scores: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The softmax of each row over the entries kept; the rest is 0."""
    shares = np.zeros(scores.shape)
    for row, columns in enumerate(kept):
        if columns.any():
            powers = np.exp(scores[row, columns])
            shares[row, columns] = powers / powers.sum()
    return shares


@pytest.mark.parametrize("fusion", ["concat", "mean", "id"])
@pytest.mark.parametrize("pruning", ["soft", "hard"])
@pytest.mark.parametrize("integration", ["confidence", "max", "mean"])
def test_grcn(integration: str, pruning: str, fusion: str) -> None:
    data, batch = _data(tokens=True), toy_batch(toy_data())
    options = {"integration": integration, "pruning": pruning, "fusion": fusion}
    model = _model("grcn", data, **options, layers=2, routing_steps=2, l2_weight=0.1)
    if integration == "confidence":
        with torch.no_grad():  # of both signs, so that there is something to prune
            model.user_confidence -= 1
            model.item_confidence -= 1
    edges = dense(data.train, data.num_items) > 0
    parts, to_users, to_items, known = [], [], [], []
    for name, content in _projected(model.content).items():
        here = edges & data.present[name].numpy()
        features, prototypes = unit(_leaky(content)), unit(array(model.prototypes[name]))
        for _ in range(2):
            prototypes = unit(prototypes + _shares(prototypes @ features.T, here) @ features)
        scores = prototypes @ features.T
        to_users.append(_shares(scores, here))
        to_items.append(_shares(scores.T, here.T))
        parts.append((prototypes + to_users[-1] @ features, features + to_items[-1] @ prototypes))
        known.append(here)

    def weight(node: int, source: int, affinities: list[np.ndarray], has: list[np.ndarray], confidence: Any) -> float:
        modalities = [m for m in range(3) if has[m][node, source]]
        if not modalities:
            return 1 / (edges if len(affinities[0]) == len(edges) else edges.T)[node].sum()
        values = [affinities[m][node, source] for m in modalities]
        if integration == "confidence":
            values = [value * array(confidence)[source, m] for value, m in zip(values, modalities, strict=True)]
        value = np.mean(values) if integration == "mean" else max(values)
        return float(max(value, 0) if pruning == "hard" else value)

    refined_users, refined_items = np.zeros(edges.shape), np.zeros(edges.T.shape)
    for user, item in np.argwhere(edges):
        by_item = model.item_confidence if integration == "confidence" else None
        by_user = model.user_confidence if integration == "confidence" else None
        refined_users[user, item] = weight(user, item, to_users, known, by_item)
        refined_items[item, user] = weight(item, user, to_items, [here.T for here in known], by_user)
    users, items = unit(array(model.users)), unit(array(model.items))
    id_users = users + refined_users @ items + refined_users @ refined_items @ users
    id_items = items + refined_items @ users + refined_items @ refined_users @ items
    all_users, all_items = [id_users, *(part[0] for part in parts)], [id_items, *(part[1] for part in parts)]
    fuse: Any = {"concat": np.hstack, "mean": lambda rows: np.mean(rows, axis=0), "id": lambda rows: rows[0]}[fusion]
    _check(model, (fuse(all_users), fuse(all_items)))
    l2 = _l2(0.1, batch, [model.users, *model.prototypes.values()], [model.items])
    _check_terms(model, batch, {"bpr": _bpr(fuse(all_users), fuse(all_items), batch), "l2": l2})


def test_clcrec(monkeypatch: pytest.MonkeyPatch) -> None:
    data, batch = _data(), toy_batch(toy_data())
    settings = {"contrast_weight": 0.3, "contrast_temperature": 0.6, "num_negatives": 5, "l2_weight": 0.1}
    model = _model("clcrec", data, **settings)
    first, _, last = model.encoder
    raw = np.hstack([array(data.features["visual"]), array(data.features["text"])])
    content = _leaky(raw @ array(first.weight).T + array(first.bias)) @ array(last.weight).T + array(last.bias)
    users, items = array(model.users), array(model.items)
    ranked = items.copy()
    for item in np.flatnonzero(dense(data.train, data.num_items).sum(axis=0) == 0):
        ranked[item] = content[item]
    assert not np.allclose(ranked, items)
    _check(model, (users, ranked))

    candidates = [*batch.positives.tolist(), *batch.negatives[:5].tolist()]
    replaced = [at % 2 == 0 and item != 5 for at, item in enumerate(candidates)]
    monkeypatch.setattr(model, "_replaced", lambda present: torch.tensor(replaced))
    hybrid = [content[item] if by else items[item] for item, by in zip(candidates, replaced, strict=True)]

    def loss(anchor: np.ndarray, rows: Any, own: int, negatives: list[int]) -> float:
        powers = {at: np.exp(anchor @ rows[at] / 0.6) for at in (own, *negatives)}
        return float(-np.log(powers[own] / sum(powers.values())))

    of_content, of_users = [], []
    for at, (user, item) in enumerate(zip(batch.users.tolist(), batch.positives.tolist(), strict=True)):
        others = [n for n in range(8, 13) if candidates[n] != item]
        of_users.append(loss(users[user], hybrid, at, others))
        if item != 5:
            with_content = [n for n in others if candidates[n] != 5]
            of_content.append(loss(unit(items[[item]])[0], unit(content[candidates]), at, with_content))
    expected = {"content": 0.3 * float(np.mean(of_content)), "contrast": 0.7 * float(np.mean(of_users))}
    _check_terms(model, batch, expected | {"l2": _l2(0.1, batch, [model.users], [model.items], negatives=False)})


def test_clcrec_replaces_items_by_content_with_its_probability() -> None:
    data = _data()
    present = torch.ones(4000, dtype=torch.bool)
    present[:1000] = False
    for share in (0.0, 0.3, 1.0):
        model = _model("clcrec", data, hybrid_share=share)
        torch.manual_seed(0)
        replaced = model._replaced(present)
        assert not replaced[:1000].any()
        assert replaced[1000:].float().mean().item() == pytest.approx(share, abs=0.03)


def test_bm3(monkeypatch: pytest.MonkeyPatch) -> None:
    data, batch = _data(tokens=True), toy_batch(toy_data())
    model = _model("bm3", data, layers=2, contrast_weight=1.7, l2_weight=0.1, dropout=0.25)
    users, items = array(model.users), array(model.items)
    to_users, to_items = weighted(dense(data.train, data.num_items), "sym")
    final_users = (users + to_users @ items + to_users @ to_items @ users) / 3
    final_items = (items + to_items @ users + to_items @ to_users @ items) / 3 + items

    def predict(rows: np.ndarray) -> np.ndarray:
        return rows @ array(model.predictor.weight).T + array(model.predictor.bias)

    _check(model, (predict(final_users), predict(final_items)))

    kept = np.array([1, 1, 0, 1, 1, 1, 0, 1]) / 0.75
    monkeypatch.setattr(
        "mmssl_cli.models.bm3.dropout", lambda rows, p: rows * torch.from_numpy(kept).float() * (0.75 / (1 - p))
    )

    def distance(online: np.ndarray, target: np.ndarray) -> float:
        view = target * kept
        predicted = predict(online)
        lengths = float(np.linalg.norm(predicted) * np.linalg.norm(view))
        return float(1 - predicted @ view / lengths)

    pairs = list(zip(batch.users.tolist(), batch.positives.tolist(), strict=True))
    graph = [distance(final_users[u], final_items[i]) + distance(final_items[i], final_users[u]) for u, i in pairs]
    expected = {"reconstruction": float(np.mean(graph)), "inter": 0.0, "intra": 0.0}
    for name, rows in _projected(model.content).items():
        with_content = [i for _, i in pairs if data.present[name][i]]
        expected["inter"] += 1.7 * float(np.mean([distance(rows[i], final_items[i]) for i in with_content]))
        expected["intra"] += 1.7 * float(np.mean([distance(rows[i], rows[i]) for i in with_content]))
    _check_terms(model, batch, expected | {"l2": _l2(0.1, batch, [model.users], [model.items], negatives=False)})


def test_bm3_target_views_are_dropped_out_and_have_no_gradient() -> None:
    data = _data()
    model = _model("bm3", data, dropout=0.0)
    rows = torch.randn(3, 8, requires_grad=True)
    assert not model._view(rows).requires_grad
    torch.manual_seed(1)
    dropped = _model("bm3", data, dropout=0.4)._view(torch.ones(2000, 8))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_training_lowers_the_loss(name: str, form: dict[str, Any]) -> None:
    data = _data(tokens=True)
    torch.manual_seed(1)
    settings = build_settings({"model": name, "embedding_dim": 8, "l2_weight": 1e-4, **form})
    model = build_model(data, settings).train()
    batch = toy_batch(data)
    optimiser = torch.optim.AdamW(model.main_parameters(), lr=0.03)
    losses = []
    for step in range(12):
        torch.manual_seed(2)  # the same dropout and replacements, so that the losses compare
        loss = torch.stack(list(model.training_step(batch).values())).sum()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
        optimiser.step()
    assert losses[-1] < 0.9 * losses[0]
    assert losses[6] < losses[0]


@pytest.mark.parametrize(("name", "form"), CASES)
@pytest.mark.parametrize("modalities", [{"visual": 7}, {"visual": 7, "text": 5, "acoustic": 3}])
def test_any_number_of_modalities(name: str, form: dict[str, Any], modalities: dict[str, int]) -> None:
    data = _data(modalities=modalities)
    loop = TrainingLoop(
        build_model(data, build_settings({"model": name, "embedding_dim": 8, **form})),
        data,
        build_settings({"model": name, "embedding_dim": 8, "batch_size": 8, **form}),
    )
    record = loop.run_epoch()
    assert all(np.isfinite(value) for value in record.values())
    assert all(part.isfinite().all() for part in loop.model.represent())
    assert loop.model.num_modalities == len(modalities)


@pytest.mark.parametrize("name", MODELS)
def test_a_modality_that_every_item_lacks_leaves_numbers_finite(name: str) -> None:
    data = _data(absent={"visual": range(9), "text": range(9)})
    model = _model(name, data)
    loss = torch.stack(list(model.training_step(toy_batch(data)).values())).sum()
    loss.backward()
    assert loss.isfinite() and all(part.isfinite().all() for part in model.represent())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_weights_alone_give_the_same_representation(name: str, form: dict[str, Any]) -> None:
    data = _data(tokens=True)
    model, other = (
        _model(name, data, **form),
        build_model(data, build_settings({"model": name, "embedding_dim": 8, **form})),
    )
    assert not torch.allclose(model.represent()[0], other.represent()[0])
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.represent(), other.represent(), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_without_modalities_they_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="has no modality here"):
        _model(name, toy_data(modalities={}))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> InteractionData:
    folder = tmp_path_factory.mktemp("data")
    prepare("demo", data_dir=folder)
    return load_interactions(folder / "demo", feature_scaling="l2")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_few_epochs_on_demo_beat_chance(name: str, demo: InteractionData) -> None:
    """400 items: a list of 20 drawn by chance finds one item in twenty."""
    settings = build_settings({"model": name, "batch_size": 256, "lr": 5e-3})
    torch.manual_seed(0)
    loop = TrainingLoop(build_model(demo, settings), demo, settings)
    for _ in range(8):
        loop.run_epoch()
    with torch.no_grad():
        users, items = loop.model.eval().represent()
        metrics, _ = evaluate(users, items, demo, "validation", (20,))
    assert metrics["recall@20"] > 2 * 20 / 400
