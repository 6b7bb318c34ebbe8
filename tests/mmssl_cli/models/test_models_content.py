"""The models of content as a family: they learn, from any number of modalities, and their weights are all they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.data.interactions import InteractionData, load_interactions
from mmssl_cli.evaluation.metrics import evaluate
from mmssl_cli.models.registry import build_model
from mmssl_cli.training.loop import TrainingLoop
from pipelines.errors import UsageError
from pipelines.prepare import prepare
from tests.helpers.content_cases import content_data, content_model
from tests.helpers.model_cases import toy_batch, toy_data

MODELS = ("vbpr", "lightgcn-m", "mmgcn", "grcn", "clcrec", "bm3")
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


@pytest.mark.parametrize(("name", "form"), CASES)
def test_training_lowers_the_loss(name: str, form: dict[str, Any]) -> None:
    data = content_data(tokens=True)
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
    data = content_data(modalities=modalities)
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
def test_bfloat16_trains_close_to_float32(name: str) -> None:
    data, records = content_data(), []
    for precision in ("float32", "bfloat16"):
        settings = build_settings({"model": name, "embedding_dim": 8, "batch_size": 8, "precision": precision})
        torch.manual_seed(1)
        loop = TrainingLoop(build_model(data, settings), data, settings)
        records.append(loop.run_epoch())
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in loop.model.parameters())
    assert records[1]["loss/total"] == pytest.approx(records[0]["loss/total"], rel=0.05)
    assert records[1] != records[0]


@pytest.mark.parametrize("name", MODELS)
def test_a_modality_that_every_item_lacks_leaves_numbers_finite(name: str) -> None:
    data = content_data(absent={"visual": range(9), "text": range(9)})
    model = content_model(name, data)
    loss = torch.stack(list(model.training_step(toy_batch(data)).values())).sum()
    loss.backward()
    assert loss.isfinite() and all(part.isfinite().all() for part in model.represent())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_weights_alone_give_the_same_representation(name: str, form: dict[str, Any]) -> None:
    data = content_data(tokens=True)
    model, other = (
        content_model(name, data, **form),
        build_model(data, build_settings({"model": name, "embedding_dim": 8, **form})),
    )
    assert not torch.allclose(model.represent()[0], other.represent()[0])
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.represent(), other.represent(), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_without_modalities_they_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="has no modality here"):
        content_model(name, toy_data(modalities={}))


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
    for _ in range(10):
        loop.run_epoch()
    with torch.no_grad():
        users, items = loop.model.eval().represent()
        metrics, _ = evaluate(users, items, demo.train, demo.validation, (20,))
    assert metrics["recall@20"] > 2 * 20 / 400
