"""Every model of the registry: it learns, from any content; its weights and its state are all it is."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config import SETTINGS, build_settings
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation.metrics import evaluate_ranking
from mmssl_cli.models.registry import build_model, model_class
from mmssl_cli.runs.folder import RunFolder
from mmssl_cli.training.fitting import FittingLoop
from mmssl_cli.training.loop import TrainingLoop
from pipelines.errors import UsageError
from tests.helpers.content_cases import content_data
from tests.helpers.model_cases import toy_batch, toy_data

#: Settings of a model under which every term of its loss is there from the first epoch, and its other forms.
FORMS: dict[str, list[dict[str, Any]]] = {
    "mmssl": [{"omega": 0.3}],
    "ngcf": [{"dropout": 0.0}],
    "ncl": [{"prototype_warmup": 0, "clusters": 3}],
    "hccf": [{"hyperedges": 4, "edge_dropout": 0.2}],
    "lightgcn-m": [{"content_join": "sum"}, {"content_join": "concat"}, {"asl": True, "cl": True}],
    "mmgcn": [{}, {"combination": "elementwise", "content_width": "embedding", "train_ids": True, "fusion": "sum"}],
    "mmgcl": [{}, {"contrast_pairs": "versions", "optimizer": "adamw"}, {"asl": True, "cl": True}],
    "grcn": [
        {},
        {"routing_steps": 3, "confidence_init": "ones", "pruning": "soft"},
        {"routing_steps": 3, "integration": "max", "fusion": "mean", "pruning": "soft"},
        {"integration": "mean", "fusion": "id"},
    ],
    "lattice": [{}, {"ranking_graph": "epoch"}, {"asl": True, "cl": True}],
    **{
        name: [{}, {"asl": True, "cl": True}]
        for name in ("slmrec", "freedom", "mgcn", "bm3", "smore", "lgmrec", "gume")
    },
}
CASES = [(name, form) for name in SETTINGS if not model_class(name).has_fit() for form in FORMS.get(name, [{}])]
FITTED = [name for name in SETTINGS if model_class(name).has_fit()]
#: Settings that suit a set as sparse as `demo`, where the paper's do not.
ON_DEMO: dict[str, dict[str, Any]] = {"sgl": {"contrast_weight": 0.01}, "hccf": {"hyper_scale": 0.1}}
CONTENT: dict[str, Any] = {
    "one modality": {"modalities": {"acoustic": 4}},
    "three, one absent everywhere": {
        "modalities": {"visual": 3, "text": 4, "acoustic": 5},
        "absent": {"text": range(9)},
    },
    "two, both absent everywhere": {"absent": {"visual": range(9), "text": range(9)}},
    "tokens": {"tokens": True},
}


def _loop(name: str, data: InteractionData, seed: int = 3, **settings: Any) -> TrainingLoop:
    torch.manual_seed(seed)
    small = {"embedding_dim": 8, "batch_size": 8, "graph_topk": 3, "lr": 0.02}
    known = {key: value for key, value in small.items() if key in SETTINGS[name].model_fields}
    built = build_settings({"model": name, **known, **settings})
    model = build_model(data, built)
    return (FittingLoop if model.has_fit() else TrainingLoop)(model, data, built)


@pytest.mark.parametrize(("name", "form"), CASES, ids=str)
def test_training_lowers_the_loss(name: str, form: dict[str, Any]) -> None:
    data = content_data(tokens=True)
    loop = _loop(name, data, l2_weight=1e-4, **form)
    model, batch = loop.model, toy_batch(data)
    users, items = model.represent()
    assert (len(users), len(items)) == (data.num_users, data.num_items)
    assert users.shape[1] == items.shape[1] >= 8  # wider where a model ranks by content beside the ids

    def loss() -> torch.Tensor:
        torch.manual_seed(5)  # the same dropout and views, so that the losses compare
        return torch.stack(list(model.training_step(batch).values())).sum()

    model.begin_epoch(1)
    before = loss()
    before.backward()
    # FREEDOM compares content with content alone, where the biases of its projections cancel.
    unused = {"content.layers.visual.bias", "content.layers.text.bias"} if (name, form) == ("freedom", {}) else set()
    gradients = {parameter: of.grad for parameter, of in model.named_parameters() if of.requires_grad}
    assert {parameter for parameter, of in gradients.items() if of is None} == unused
    assert all(of.isfinite().all() for of in gradients.values() if of is not None)
    records = [loop.run_epoch() for _ in range(15)]
    assert np.isfinite([value for record in records for value in record.values()]).all()
    assert loss().item() < before.item() - 0.1 * abs(before.item())
    if "loss/bpr" in records[0]:
        first, last = (np.mean([r["loss/bpr"] for r in part]) for part in (records[:3], records[-3:]))
        assert last < 0.8 * first


@pytest.mark.parametrize("content", CONTENT)
@pytest.mark.parametrize(("name", "form"), CASES, ids=str)
def test_any_content_gives_finite_numbers(name: str, form: dict[str, Any], content: str) -> None:
    data = content_data(**{"absent": {}, **CONTENT[content]})
    loop = _loop(name, data, **form)
    assert np.isfinite(list(loop.run_epoch().values())).all()
    assert all(part.isfinite().all() for part in loop.model.represent())


@pytest.mark.parametrize(("name", "form"), CASES, ids=str)
def test_a_model_is_its_weights_and_a_training_its_state(name: str, form: dict[str, Any]) -> None:
    data = content_data()
    loop, other = _loop(name, data, **form), _loop(name, data, seed=4, **form)
    loop.run_epoch()
    other.model.load_state_dict(loop.model.state_dict())
    pairs = zip(loop.model.eval().represent(), other.model.eval().represent(), strict=True)
    assert all(torch.equal(one, same) for one, same in pairs)

    state = copy.deepcopy(loop.state())
    after = loop.run_epoch()
    resumed = _loop(name, data, seed=5, **form)
    resumed.restore(state)
    assert {**resumed.run_epoch(), "train_seconds": 0} == {**after, "train_seconds": 0}


@pytest.mark.parametrize(("name", "form"), CASES, ids=str)
def test_bfloat16_trains_close_to_float32(name: str, form: dict[str, Any]) -> None:
    records = []
    for precision in ("float32", "bfloat16"):
        loop = _loop(name, content_data(), precision=precision, lr=0.005, **form)
        records.append([loop.run_epoch() for _ in range(2)][-1])
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in loop.model.parameters())
    exact, rounded = records
    assert exact.keys() == rounded.keys()
    assert rounded["loss/total"] == pytest.approx(exact["loss/total"], rel=0.05)
    assert rounded != exact


@pytest.mark.parametrize("name", [name for name, settings in SETTINGS.items() if settings.needs_content])
def test_a_model_of_content_refuses_data_without(name: str) -> None:
    with pytest.raises(UsageError, match="has no modality here"):
        _loop(name, toy_data(modalities={}))


@pytest.mark.parametrize("name", FITTED)
def test_a_fitted_model_is_what_it_saves(name: str, tmp_path: Path) -> None:
    data = toy_data()
    loop, fresh = _loop(name, data), _loop(name, data, seed=4)
    assert "train_seconds" in loop.run_epoch()
    (tmp_path / "config.toml").touch()
    run = RunFolder(tmp_path)
    run.save_model(loop.model.state_dict())
    fresh.model.load_fitted(run.load_model())
    users = torch.tensor([3, 0, 11, 3])
    scores = loop.model.score(users)
    assert scores.shape == (4, data.num_items)
    assert scores.dtype == torch.float32
    assert torch.equal(scores[0], scores[3])
    assert torch.equal(scores, fresh.model.score(users))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_few_epochs_on_the_demo_beat_chance(name: str, demo: Path) -> None:
    """400 items: a list of 20 drawn by chance finds one item in twenty."""
    content = SETTINGS[name].needs_content or SETTINGS[name].uses_content
    data = load_interactions(demo, modalities=None if content else (), feature_scaling="l2")
    on_demo = {"batch_size": 256, "graph_topk": 10, "embedding_dim": 32, "lr": 5e-3, **ON_DEMO.get(name, {})}
    loop = _loop(name, data, **{key: value for key, value in on_demo.items() if key in SETTINGS[name].model_fields})
    for _ in range(1 if loop.model.has_fit() else 12):
        loop.run_epoch()
    with torch.no_grad():
        found, _ = evaluate_ranking(loop.model.eval().ranking(), data.train, data.validation, (20,))
    assert found["recall@20"] > 2 * 20 / 400
