"""The models of content against slow NumPy versions of their equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.models.bm3 import cosines
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.loop import TrainingLoop
from tests.helpers.content_cases import (
    bpr_of,
    check_representation,
    check_terms,
    content_data,
    content_model,
    l2_of_rows,
    leaky,
    projected_content,
)
from tests.helpers.model_cases import array, dense, toy_batch, toy_data, unit, weighted


@pytest.mark.parametrize(("weight", "rows"), [(None, "modality"), (0.3, "modality"), (0.3, "joined")])
def test_vbpr(weight: float | None, rows: str) -> None:
    data, batch = content_data(tokens=True), toy_batch(toy_data())
    model = content_model("vbpr", data, l2_weight=0.1, feature_weight=weight, feature_rows=rows)
    bags = np.zeros((data.num_items, 6))
    for item, ids in enumerate(data.features["taste"].tolist()):
        for token in ids:
            bags[item, token] += token > 0
    modalities = [array(data.features["visual"]), array(data.features["text"]), unit(bags)]
    if weight is not None and rows == "modality":
        modalities = [weight * unit(of_one) for of_one in modalities]
    content = np.hstack(modalities)
    if weight is not None and rows == "joined":
        content = weight * unit(content)
    scores = np.empty((data.num_users, data.num_items))
    for user in range(data.num_users):
        for item in range(data.num_items):
            score = array(model.users)[user] @ array(model.items)[item] + array(model.item_bias)[item, 0]
            score += array(model.content_users)[user] @ (content[item] @ array(model.projection))
            scores[user, item] = score + content[item] @ array(model.content_bias)[:, 0]
    users, items = (array(part) for part in model.represent())
    np.testing.assert_allclose(users @ items.T, scores, atol=1e-5)
    own = [model.users, model.content_users], [model.items, model.item_bias]
    check_terms(model, batch, {"bpr": bpr_of(users, items, batch), "l2": l2_of_rows(0.1, batch, *own)})


@pytest.mark.parametrize("join", ["sum", "concat"])
def test_lightgcn_m(join: str) -> None:
    data, batch = content_data(tokens=True), toy_batch(toy_data())
    model = content_model("lightgcn-m", data, content_join=join, feature_weight=0.7, layers=2, l2_weight=0.1)
    content = [0.7 * unit(rows) for rows in projected_content(model.content).values()]
    users, items = array(model.users), array(model.items)
    if join == "sum":
        items = items + sum(content)
    else:
        users, items = np.hstack([users, array(model.content_users)]), np.hstack([items, *content])
    to_users, to_items = weighted(dense(data.train, data.num_items), "sym")
    final_users = (users + to_users @ items + to_users @ to_items @ users) / 3
    final_items = (items + to_items @ users + to_items @ to_users @ items) / 3
    check_representation(model, (final_users, final_items))
    own = [model.users] if join == "sum" else [model.users, model.content_users]
    l2 = l2_of_rows(0.1, batch, own, [model.items])
    check_terms(model, batch, {"bpr": bpr_of(final_users, final_items, batch), "l2": l2})


@pytest.mark.parametrize("combination", ["concat", "elementwise"])
@pytest.mark.parametrize("content_width", ["program", "embedding"])
@pytest.mark.parametrize("fusion", ["mean", "sum"])
def test_mmgcn(combination: str, content_width: str, fusion: str) -> None:
    data, batch = content_data(tokens=True), toy_batch(toy_data())
    form = {"combination": combination, "content_width": content_width, "fusion": fusion}
    model = content_model("mmgcn", data, **form, layers=2, l2_weight=0.1)
    layer0 = projected_content(model.content)
    if content_width == "program":
        assert layer0.keys() == {"visual", "taste"} and layer0["visual"].shape[1] == 256
        layer0["text"] = array(data.features["text"])
    matrix = dense(data.train, data.num_items)
    sums_of_users, sums_of_items = np.zeros((data.num_users, 8)), np.zeros((data.num_items, 8))
    for name, content in layer0.items():
        users, items = unit(array(model.preferences[name])), unit(content)
        for layer in model.stacks[name]:
            message, own, combine = array(layer.message.weight), layer.own, layer.combine

            def combined(node: int, rows: np.ndarray, ids: Any, neighbours: np.ndarray) -> np.ndarray:
                heard = neighbours.mean(axis=0) if len(neighbours) else np.zeros(neighbours.shape[1])
                received = leaky(message @ heard)  # noqa: B023
                mine = leaky(array(own.weight) @ rows[node] + array(own.bias)) + array(ids)[node]  # noqa: B023
                if combination == "concat":
                    return leaky(array(combine.weight) @ np.hstack([received, mine]) + array(combine.bias))  # noqa: B023
                return leaky(array(combine.weight) @ received + array(combine.bias) + mine)  # noqa: B023

            users, items = (
                np.array([combined(u, users, model.users, items[matrix[u] > 0]) for u in range(len(users))]),
                np.array([combined(i, items, model.items, users[matrix[:, i] > 0]) for i in range(len(items))]),
            )
        share = 1 / 3 if fusion == "mean" else 1
        sums_of_users, sums_of_items = sums_of_users + share * users, sums_of_items + share * items
    check_representation(model, (sums_of_users, sums_of_items))
    l2 = l2_of_rows(0.1, batch, [model.users, *model.preferences.values()], [model.items])
    check_terms(model, batch, {"bpr": bpr_of(sums_of_users, sums_of_items, batch), "l2": l2})


def test_mmgcn_leaves_ids_and_preferences_as_drawn_unless_told() -> None:
    data = content_data()
    for trained in (False, True):
        model = content_model("mmgcn", data, train_ids=trained)
        tables = {"users", "items", "preferences.visual", "preferences.text"}
        learnt = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert learnt & tables == (tables if trained else set())
        settings = model.settings
        loop = TrainingLoop(model, data, settings.model_copy(update={"batch_size": 8, "lr": 0.1, "weight_decay": 0.1}))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        loop.run_epoch()
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert moved & tables == (tables if trained else set()) and len(moved) > 10
        assert model.state_dict().keys() >= tables  # a frozen table is saved all the same


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
    data, batch = content_data(tokens=True), toy_batch(toy_data())
    options = {"integration": integration, "pruning": pruning, "fusion": fusion}
    model = content_model("grcn", data, **options, layers=2, routing_steps=2, l2_weight=0.1)
    if integration == "confidence":  # of both signs, so that there is something to prune
        assert model.user_confidence.min() < 0 < model.user_confidence.max()
        assert model.item_confidence.min() < 0 < model.item_confidence.max()
    edges = dense(data.train, data.num_items) > 0
    parts, to_users, to_items, known = [], [], [], []
    for name, content in projected_content(model.content).items():
        here = edges & data.present[name].numpy()
        features, prototypes = unit(leaky(content)), unit(array(model.prototypes[name]))
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
    check_representation(model, (fuse(all_users), fuse(all_items)))
    l2 = l2_of_rows(0.1, batch, [model.users, *model.prototypes.values()], [model.items])
    check_terms(model, batch, {"bpr": bpr_of(fuse(all_users), fuse(all_items), batch), "l2": l2})


def test_grcn_begins_as_in_mmrec_by_default() -> None:
    data, deviation = content_data(), (2 / (12 + 9 + 2)) ** 0.5
    torch.manual_seed(7)
    model: Any = build_model(data, build_settings({"model": "grcn", "embedding_dim": 8}))
    assert (model.settings.pruning, model.settings.routing_steps) == ("hard", 0)
    confidences = torch.cat([model.user_confidence, model.item_confidence]).detach()
    assert confidences.shape == (21, 2) and abs(confidences.mean().item()) < deviation / 2
    assert confidences.std().item() == pytest.approx(deviation, rel=0.3)
    before: Any = build_model(data, build_settings({"model": "grcn", "confidence_init": "ones"}))
    assert bool((torch.cat([before.user_confidence, before.item_confidence]) == 1).all())


def test_clcrec(monkeypatch: pytest.MonkeyPatch) -> None:
    data, batch = content_data(), toy_batch(toy_data())
    settings = {"contrast_weight": 0.3, "contrast_temperature": 0.6, "num_negatives": 5, "l2_weight": 0.1}
    model = content_model("clcrec", data, **settings)
    first, _, last = model.encoder
    raw = np.hstack([array(data.features["visual"]), array(data.features["text"])])
    content = leaky(raw @ array(first.weight).T + array(first.bias)) @ array(last.weight).T + array(last.bias)
    users, items = array(model.users), array(model.items)
    ranked = items.copy()
    for item in np.flatnonzero(dense(data.train, data.num_items).sum(axis=0) == 0):
        ranked[item] = content[item]
    assert not np.allclose(ranked, items)
    check_representation(model, (users, ranked))

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
    check_terms(model, batch, expected | {"l2": l2_of_rows(0.1, batch, [model.users], [model.items], negatives=False)})


def test_clcrec_replaces_items_by_content_with_its_probability() -> None:
    data = content_data()
    present = torch.ones(4000, dtype=torch.bool)
    present[:1000] = False
    for share in (0.0, 0.3, 1.0):
        model = content_model("clcrec", data, hybrid_share=share)
        torch.manual_seed(0)
        replaced = model._replaced(present)
        assert not replaced[:1000].any()
        assert replaced[1000:].float().mean().item() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("l2_on", ["final", "layer0"])
def test_bm3(l2_on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, batch = content_data(tokens=True), toy_batch(toy_data())
    model = content_model("bm3", data, layers=2, contrast_weight=1.7, l2_weight=0.1, l2_on=l2_on, dropout=0.25)
    users, items = array(model.users), array(model.items)
    to_users, to_items = weighted(dense(data.train, data.num_items), "sym")
    final_users = (users + to_users @ items + to_users @ to_items @ users) / 3
    final_items = (items + to_items @ users + to_items @ to_users @ items) / 3 + items

    def predict(rows: np.ndarray) -> np.ndarray:
        return rows @ array(model.predictor.weight).T + array(model.predictor.bias)

    check_representation(model, (predict(final_users), predict(final_items)))

    kept = np.array([1, 1, 0, 1, 1, 1, 0, 1]) / 0.75
    mask = torch.from_numpy(kept > 0)
    monkeypatch.setattr("mmssl_cli.models.bm3.dropout_mask", lambda *_: mask)

    def distance(online: np.ndarray, target: np.ndarray) -> float:
        view = target * kept
        predicted = predict(online)
        lengths = float(np.linalg.norm(predicted) * np.linalg.norm(view))
        return float(1 - predicted @ view / lengths)

    pairs = list(zip(batch.users.tolist(), batch.positives.tolist(), strict=True))
    graph = [distance(final_users[u], final_items[i]) + distance(final_items[i], final_users[u]) for u, i in pairs]
    expected = {"reconstruction": float(np.mean(graph)), "inter": 0.0, "intra": 0.0}
    for name, rows in projected_content(model.content).items():
        with_content = [i for _, i in pairs if data.present[name][i]]
        expected["inter"] += 1.7 * float(np.mean([distance(rows[i], final_items[i]) for i in with_content]))
        expected["intra"] += 1.7 * float(np.mean([distance(rows[i], rows[i]) for i in with_content]))
    l2 = l2_of_rows(0.1, batch, [model.users], [model.items], negatives=False)
    if l2_on == "final":
        lengths = [np.sqrt(sum(value**2 for value in table.ravel())) for table in (final_users, final_items)]
        l2 = 0.1 * sum(lengths) / data.num_items
    check_terms(model, batch, expected | {"l2": l2})


def test_bm3_begins_with_xavier_normal_projections_and_pytorchs_own_biases() -> None:
    data = toy_data(modalities={"visual": 400})
    torch.manual_seed(2)
    model: Any = build_model(data, build_settings({"model": "bm3", "embedding_dim": 200}))
    for layer, columns in ((model.content.layers["visual"], 400), (model.predictor, 200)):
        weight = layer.weight.detach()
        assert weight.std().item() == pytest.approx(np.sqrt(2 / (columns + 200)), rel=0.02)
        assert weight.abs().max() > 3.5 * weight.std()  # no uniform distribution reaches so far
        bound = 1 / np.sqrt(columns)
        assert 0.9 * bound < layer.bias.abs().max() <= bound


@pytest.mark.parametrize("name", ["bm3", "mgcn", "freedom", "lattice"])
def test_raw_features_are_trained_where_asked(name: str) -> None:
    data = content_data(tokens=True)
    for trained in (True, False):
        model: Any = content_model(name, data, train_features=trained, **({} if name == "bm3" else {"graph_topk": 3}))
        features = {f"content.trained.{modality}" for modality in ("visual", "text")}
        assert {key for key, _ in model.named_parameters() if "trained" in key} == (features if trained else set())
        model.begin_epoch(1)
        sum(model.training_step(toy_batch(data)).values()).backward()
        if trained:
            gradient = model.content.trained["visual"].grad
            assert gradient.abs().sum() > 0 and not gradient[[2, 5]].any()  # the items without
        assert torch.equal(data.features["visual"], content_data().features["visual"])


def test_bm3_target_views_are_dropped_out_and_have_no_gradient() -> None:
    data = content_data()
    model = content_model("bm3", data, dropout=0.0)
    rows = torch.randn(3, 8, requires_grad=True)
    assert not model._view(rows, torch.arange(3), 5).requires_grad
    nodes = torch.arange(1000).repeat(2)
    torch.manual_seed(1)
    dropped = content_model("bm3", data, dropout=0.4)._view(torch.ones(2000, 8), nodes, 1000)
    assert torch.equal(dropped[:1000], dropped[1000:])  # alike wherever a node is repeated
    model = content_model("bm3", data, dropout=0.4, dropout_masks="triple")
    assert not torch.equal(*model._view(torch.ones(2000, 8), nodes, 1000).split(1000))
    lengths = dropped.norm(dim=1)
    torch.testing.assert_close(lengths[lengths > 0], torch.ones(int((lengths > 0).sum())))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.02)


def test_bm3_cosine_and_its_gradient_are_those_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(3)
    rows, target = torch.randn(2, 6, 8, generator=generator, dtype=torch.float64)
    rows = rows.requires_grad_()
    expected = torch.nn.functional.cosine_similarity(rows, target) * target.norm(dim=1)
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    (wanted,) = torch.autograd.grad((weights * expected).sum(), rows)
    found = cosines(rows, target)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad((weights * found).sum(), rows)[0], wanted)


def test_differences_of_content_are_those_of_its_projections() -> None:
    data = content_data(tokens=True)
    model: Any = content_model("freedom", data, train_features=True, graph_topk=3)
    rows = torch.randn(4, 8, generator=torch.Generator().manual_seed(5), requires_grad=True)
    of = torch.tensor([0, 1, 1, 2, 3, 3, 0])
    items, others = torch.tensor([0, 1, 2, 3, 4, 5, 6]), torch.tensor([3, 2, 1, 5, 0, 4, 0])
    weights = torch.arange(1.0, 8.0)
    parameters = [rows, *(of for name, of in model.content.named_parameters() if not name.endswith("bias"))]
    for name, content in model.content().items():
        present = model.content.present[name]
        both = present[items] & present[others]
        expected = (rows[of] * both * (content[items] - content[others])).sum(dim=1)
        found = model.content.differences(name, rows, of, items, others)
        torch.testing.assert_close(found, expected)
        wanted = torch.autograd.grad((weights * expected).sum(), parameters, allow_unused=True, materialize_grads=True)
        gradients = torch.autograd.grad((weights * found).sum(), parameters, allow_unused=True, materialize_grads=True)
        for one, other in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(one, other)
        assert any(gradient.any() for gradient in wanted)
