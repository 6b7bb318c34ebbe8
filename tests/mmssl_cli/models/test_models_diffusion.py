"""DiffMM against slow NumPy forms: the diffusion, the graphs that it generates, and the model over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.models.diffmm import LoopedGraph
from mmssl_cli.models.diffusion import Denoiser, Schedule, restoration_errors
from mmssl_cli.sparse.csr import CSR
from tests.helpers.model_cases import array, dense, toy_batch, toy_data, unit
from tests.helpers.structure_cases import bpr, built, content

DIFFUSION = {"denoiser_hidden": 7, "time_dim": 5, "diffusion_steps": 4, "noise_scale": 0.5, "generated_items": 3}


def diffmm(**settings: Any) -> Any:
    return built("diffmm", toy_data(), **DIFFUSION, **settings)


def noise_schedule(steps: int, scale: float, least: float, most: float) -> tuple[np.ndarray, np.ndarray]:
    """betas [T] and the products of 1 - beta up to each step."""
    variances = np.linspace(scale * least, scale * most, steps)
    betas = np.array([1 - (1 - variances[t]) / (1 - variances[t - 1]) if t else 1e-4 for t in range(steps)])
    return betas, np.cumprod(1 - betas)


def denoise(denoiser: Any, rows: np.ndarray, step: int) -> np.ndarray:
    """The network at one step, without dropout, from its two inputs joined."""
    half = denoiser.time.in_features // 2
    angles = [step * np.exp(-np.log(10000) * number / half) for number in range(half)]
    waves = np.array([*np.cos(angles), *np.sin(angles)] + [0] * (denoiser.time.in_features % 2))
    time = array(denoiser.time.weight) @ waves + array(denoiser.time.bias)
    weight = np.hstack([array(denoiser.from_items.weight), array(denoiser.from_time.weight)])
    joined = np.hstack([rows, np.tile(time, (len(rows), 1))])
    hidden = np.tanh(joined @ weight.T + array(denoiser.from_items.bias))
    return hidden @ array(denoiser.out.weight).T + array(denoiser.out.bias)


def test_schedule() -> None:
    betas, total = noise_schedule(5, 0.1, 1e-4, 0.02)
    schedule = Schedule(5, 0.1, 1e-4, 0.02, torch.device("cpu"))
    np.testing.assert_allclose(schedule.signal, np.sqrt(total), rtol=1e-6)
    np.testing.assert_allclose(schedule.noise, np.sqrt(1 - total), rtol=1e-5)
    ratio = total / (1 - total)
    np.testing.assert_allclose(schedule.weights, [1, *(ratio[:-1] - ratio[1:])], rtol=1e-5)
    before = np.array([1, *total[:-1]])
    np.testing.assert_allclose(schedule.of_output, betas * np.sqrt(before) / (1 - total), rtol=1e-5)
    np.testing.assert_allclose(schedule.of_input, (1 - before) * np.sqrt(1 - betas) / (1 - total), rtol=1e-5)


def test_reverse_steps_in_the_hidden_layer_are_those_of_rows() -> None:
    torch.manual_seed(0)
    denoiser, schedule = Denoiser(9, 7, 5, 0.5), Schedule(4, 0.5, 1e-2, 0.5, torch.device("cpu"))
    betas, total = noise_schedule(4, 0.5, 1e-2, 0.5)
    rows = start = np.random.default_rng(0).normal(size=(3, 9))
    for step in reversed(range(4)):
        before = total[step - 1] if step else 1.0
        mean = betas[step] * np.sqrt(before) / (1 - total[step]) * denoise(denoiser, rows, step)
        rows = mean + (1 - before) * np.sqrt(1 - betas[step]) / (1 - total[step]) * rows
    hidden = torch.from_numpy(start).float() @ denoiser.from_items.weight.detach().T
    found = denoiser.denoised(hidden, schedule, denoiser.passes())
    np.testing.assert_allclose(found, rows, atol=1e-5)
    noisy, steps = torch.from_numpy(start).float(), torch.tensor([0, 2, 3])
    expected = [denoise(denoiser, start[n : n + 1], int(step))[0] for n, step in enumerate(steps)]
    np.testing.assert_allclose(array(denoiser.out(denoiser.eval()(noisy, steps))), expected, atol=1e-5)
    assert (denoiser.train()(noisy, steps) != denoiser(noisy, steps)).any()  # dropout


def test_restoration_errors_and_their_gradients_are_those_of_whole_rows() -> None:
    torch.manual_seed(0)
    out = torch.nn.Linear(6, 9).double()
    hidden = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    rows = CSR.from_pairs([(0, 3), (0, 8), (2, 0), (2, 3), (2, 4), (3, 8)], 4)  # the second row is empty
    weights, inputs = torch.tensor([0.5, 2.0, 1.5, -1.0], dtype=torch.float64), [hidden, out.weight, out.bias]
    found = restoration_errors(hidden, out, rows)
    whole = torch.zeros(4, 9, dtype=torch.float64)
    whole[rows.row_of_each(), rows.indices] = 1
    expected = (out(hidden) - whole).square().sum(dim=1)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad((weights * of).sum(), inputs) for of in (found, expected))
    torch.testing.assert_close(*gradients)


def test_diffmm_trains_denoisers_and_keeps_the_best_items(monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_data()
    model = diffmm(denoiser_dropout=0.0, signal_weight=0.3, lr=0.05)
    monkeypatch.setattr("torch.randint", lambda high, size, device: torch.arange(size[0]) % high)
    monkeypatch.setattr("torch.randn", lambda n, items, device: torch.linspace(-1, 1, n * items).view(n, items))
    _, total = noise_schedule(4, 0.5, 1e-4, 0.02)
    ratio = total / (1 - total)
    denoiser, users = model.denoisers["text"], torch.tensor([4, 0, 7, 1, 2])
    rows, items = dense(data.train, 9)[users], array(model.items)
    projected = array(model._features()[1])
    noise, losses = np.linspace(-1, 1, rows.size).reshape(rows.shape), []
    for number, row in enumerate(rows):
        step = number % 4
        noisy = np.sqrt(total[step]) * row + np.sqrt(1 - total[step]) * noise[number]
        restored = denoise(denoiser, noisy[None], step)[0]
        weight = ratio[step - 1] - ratio[step] if step else 1
        signal = np.mean((restored @ projected - row @ items) ** 2)
        losses.append(weight * np.mean((restored - row) ** 2) + 0.3 * signal)
    content, chosen = model._features()[1].detach(), data.train.select(users)
    wanted = torch.from_numpy(rows @ items).float()
    found = model._diffusion_loss(denoiser, chosen, content, wanted)
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-4)

    before = denoiser.out.weight.detach().clone()
    model.begin_epoch(1)
    assert (denoiser.out.weight != before).any()
    assert model.items.grad is None and all(p.grad is None for p in model.content.parameters())
    assert model.generated.shape == (2, 12, 3)
    betas, _ = noise_schedule(4, 0.5, 1e-4, 0.02)
    restored = dense(data.train, 9)
    for step in reversed(range(4)):
        past = total[step - 1] if step else 1.0
        mean = betas[step] * np.sqrt(past) / (1 - total[step]) * denoise(denoiser, restored, step)
        restored = mean + (1 - past) * np.sqrt(1 - betas[step]) / (1 - total[step]) * restored
    expected = [set(row.argsort()[-3:].tolist()) for row in restored]
    assert [set(row.tolist()) for row in model.generated[1]] == expected


def looped(matrix: np.ndarray) -> np.ndarray:
    """D^-1/2 (A + I) D^-1/2 of users and items together, from a 0/1 matrix [U, I]."""
    users, items = matrix.shape
    whole = np.eye(users + items)
    whole[:users, users:], whole[users:, :users] = matrix, matrix.T
    scale = 1 / np.sqrt(whole.sum(axis=1))
    return scale[:, None] * whole * scale


@pytest.mark.parametrize(("projection", "pairs"), [("leaky", "modalities"), ("linear", "final")])
def test_diffmm_propagates_over_both_kinds_of_graphs_and_contrasts(projection: str, pairs: str) -> None:
    data = toy_data()
    form: dict[str, Any] = {"projection": projection, "contrast_pairs": pairs, "contrast_anchors": 0}
    form |= {"edge_dropout": 0.0, "layers": 2, "modality_graph_weight": 0.3, "residual_weight": 0.7}
    model = diffmm(**form, contrast_weight=0.4, contrast_temperature=0.6, l2_weight=0.2)
    model.begin_epoch(1)
    with torch.no_grad():
        model.modality_weights.copy_(torch.tensor([0.4, -0.1]))
    shares = np.exp([0.4, -0.1]) / np.exp([0.4, -0.1]).sum()
    graph, ids = looped(dense(data.train, 9)), np.vstack([array(model.users), array(model.items)])
    joined, views = np.zeros_like(ids), []
    for share, rows, generated in zip(shares, content(model).values(), model.generated, strict=True):
        if projection == "leaky":
            rows = np.where(rows > 0, rows, 0.2 * rows)
        matrix = np.zeros((12, 9))
        for user, items in enumerate(generated.tolist()):
            matrix[user, items] = 1
        with_content = np.vstack([ids[:12], unit(rows)])
        near = graph @ with_content
        spread = graph @ np.vstack([near[:12], ids[12:]])
        joined += share * (near + spread + 0.3 * looped(matrix) @ ids)
        view = looped(matrix) @ with_content
        views.append(view + graph @ view + graph @ graph @ view)
    final = joined + graph @ joined + graph @ graph @ joined + 0.7 * unit(joined)
    found = model.represent()
    np.testing.assert_allclose(array(torch.cat(found)), final, atol=1e-5)

    batch = toy_batch(data)
    terms = model.training_step(batch)
    assert terms.keys() == {"bpr", "l2", "contrast"}
    assert terms["bpr"].item() == pytest.approx(bpr(final[:12], final[12:], batch).mean(), rel=1e-4)
    assert terms["l2"].item() == pytest.approx(0.2 * (ids**2).sum(), rel=1e-5)
    contrast = 0.0
    for one, other in [(final, views[0]), (final, views[1])] if pairs == "final" else [(views[0], views[1])]:
        for nodes, side in ((batch.users, slice(None, 12)), (batch.positives, slice(12, None))):
            a, b = unit(one[side]), unit(other[side])
            scores = np.exp(a[nodes] @ b.T / 0.6)
            contrast += np.mean([-np.log(row[node] / row.sum()) for row, node in zip(scores, nodes, strict=True)])
    assert terms["contrast"].item() == pytest.approx(0.4 * contrast, rel=1e-4)


def test_diffmm_draws_anchors_from_the_triples(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    model, batch = diffmm(contrast_anchors=3, contrast_weight=1.0), toy_batch(toy_data())
    views = [model._layers((torch.randn(12, 6), torch.randn(9, 6))) for _ in range(2)]
    monkeypatch.setattr("torch.randperm", lambda count, device: torch.arange(count))
    expected = 0.0
    for one, other, nodes in zip(*(map(array, of) for of in views), (batch.users, batch.positives), strict=True):
        scores = np.exp(unit(one)[nodes[:3]] @ unit(other).T / 0.5)
        expected += np.mean([-np.log(row[node] / row.sum()) for row, node in zip(scores, nodes[:3], strict=True)])
    assert model._contrast(*views, batch).item() == pytest.approx(expected, rel=1e-5)


def test_diffmm_generates_on_a_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rounds = diffmm(graph_refresh=2), []
    monkeypatch.setattr(model, "_train_denoisers", lambda: rounds.append(epoch))
    for epoch in (1, 2, 3, 4):
        model.begin_epoch(epoch)
    assert rounds == [1, 3]


def test_generated_edges_are_left_out_in_training_alone() -> None:
    model = diffmm(edge_dropout=0.5)
    model.begin_epoch(1)
    trained, whole = model._graphs(), model.eval()._graphs()
    edges = [array(graph.graph.to_users.matrix.to_dense()) for graph in (trained[0], whole[0])]
    kept = edges[0] > 0
    np.testing.assert_allclose(edges[0][kept], 2 * edges[1][kept], rtol=1e-6)
    assert 0 < kept.sum() < (edges[1] > 0).sum() == 36
    loops = array(trained[0].of_users)
    assert 0 < (loops == 0).sum() < 12 and (whole[0].of_users > 0).all()


def test_looped_graph_without_edges_is_the_identity() -> None:
    none = torch.empty(0, dtype=torch.int64)
    users, items = LoopedGraph.from_edges(none, none, 3, 2)(torch.ones(3, 2), torch.ones(2, 2))
    assert users.eq(1).all() and items.eq(1).all()
