"""The training loop in memory: schedule, divergence, and that nothing but training interactions reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch

from mmssl_cli.config import build_settings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.registry import build_model
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.training import loop as loop_module
from mmssl_cli.training.loop import DivergedError, TrainingLoop, pick_device
from pipelines.errors import UsageError
from tests.helpers.model_cases import dense, held_out_pairs, toy_data, toy_model, toy_pairs


def _loop(model: str, data: InteractionData, **settings: Any) -> TrainingLoop:
    values = {"model": model, "embedding_dim": 8, "batch_size": 8, "lr": 0.01, **settings}
    if model == "mmssl":
        values |= {"graph_topk": 3, "omega": 0.3}
    built = build_settings(values)
    torch.manual_seed(built.seed)
    return TrainingLoop(build_model(data, built), data, built)


def _numbers(record: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in record.items() if "seconds" not in name}


def _states_equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _trained(model: str, data: InteractionData) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Two epochs from the seed on: their numbers and the weights."""
    loop = _loop(model, data)
    return [_numbers(loop.run_epoch()) for _ in range(2)], loop.model.state_dict()


def _held_out(kind: str) -> InteractionData:
    data = toy_data()
    if kind == "none":
        empty = CSR.from_pairs([], data.num_users)
        return replace(data, validation=empty, test=empty)
    if kind == "swapped":
        return replace(data, validation=data.test, test=data.validation)
    pairs = held_out_pairs(99, toy_pairs())
    return replace(data, validation=CSR.from_pairs(pairs[0], 12), test=CSR.from_pairs(pairs[1], 12))


@pytest.mark.parametrize("kind", ["none", "swapped", "others"])
@pytest.mark.parametrize("model", ["mf", "lightgcn", "mmssl"])
def test_validation_and_test_pairs_do_not_reach_training(model: str, kind: str) -> None:
    perturbed = _held_out(kind)
    assert toy_data().test.indices.tolist() != perturbed.test.indices.tolist()
    (records, state), (same_records, same_state) = (_trained(model, data) for data in (toy_data(), perturbed))
    assert records == same_records
    assert _states_equal(state, same_state)


def test_a_change_of_the_training_pairs_does_reach_training() -> None:
    other = replace(toy_data(), train=toy_data(1).train)
    assert _trained("mmssl", toy_data())[0] != _trained("mmssl", other)[0]


@pytest.mark.parametrize("user_sampling", ["interaction", "user"])
def test_positives_graph_and_adversary_hold_training_pairs_alone(user_sampling: str) -> None:
    data = toy_data()
    train = torch.from_numpy(dense(data.train, data.num_items)).bool()
    held_out = torch.from_numpy(dense(data.validation, 9) + dense(data.test, 9)).bool()
    assert held_out.any() and not (held_out & train).any()
    model = toy_model(data, gumbel_scale=0.0, gumbel_temperature=0.1)
    loop = TrainingLoop(model, data, model.settings.model_copy(update={"user_sampling": user_sampling}))

    for seed in range(5):
        for batch in loop.sampler.epoch(torch.Generator().manual_seed(seed)):
            assert train[batch.users, batch.positives].all()
    for weights in (model.graph.to_users.matrix, model.graph.to_users.transpose.to_dense().T.to_sparse()):
        assert torch.equal(weights.to_dense() != 0, train)
    for weights in (model.graph.to_items.matrix, model.graph.to_items.transpose.to_dense().T.to_sparse()):
        assert torch.equal(weights.to_dense() != 0, train.T)
    assert model.adversary is not None
    rows = model.adversary.transformed_rows(BatchRows(torch.arange(data.num_users)))
    assert rows is not None
    assert torch.equal(rows == rows.max(dim=1, keepdim=True).values, train)


def test_the_learning_rate_falls_by_its_factor_on_schedule() -> None:
    loop = _loop("mf", toy_data(), lr=0.02, lr_decay=0.5, lr_decay_every=2)
    rates = []
    for _ in range(5):
        record = loop.run_epoch()
        assert [group["lr"] for group in loop.optimizer.param_groups] == [record["lr"]]
        rates.append(record["lr"])
    assert rates == pytest.approx([0.02, 0.02, 0.01, 0.01, 0.005])


def test_the_learning_rate_is_the_one_that_moves_the_weights() -> None:
    loop = _loop("mf", toy_data(), lr=0.01, lr_decay=1e-6, lr_decay_every=1)
    start = loop.model.users.detach().clone()  # type: ignore[operator, union-attr]
    loop.run_epoch()
    after = loop.model.users.detach().clone()  # type: ignore[operator, union-attr]
    loop.run_epoch()
    second = (loop.model.users.detach() - after).abs().max()  # type: ignore[operator, union-attr]
    assert (after - start).abs().max() > 5e-3
    assert 0 < second < 1e-6


def test_a_record_has_the_mean_of_each_term_and_their_sum() -> None:
    loop = _loop("mmssl", toy_data())
    steps: list[dict[str, torch.Tensor]] = []
    inner = loop._step
    loop._step = lambda batch: steps.append(inner(batch)) or steps[-1]  # type: ignore[method-assign, func-returns-value]
    record = loop.run_epoch()
    assert len(steps) == loop.sampler.steps > 1
    terms = {"bpr", "contrast", "adversarial", "total"}
    assert terms <= steps[0].keys()
    for name in steps[0]:
        assert record[f"loss/{name}"] == pytest.approx(sum(step[name].item() for step in steps) / len(steps))
    assert record["loss/total"] == pytest.approx(sum(record[f"loss/{name}"] for name in terms - {"total"}))


def test_a_term_of_some_steps_alone_has_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = _loop("mf", toy_data())
    inner, number = loop.model.training_step, count()

    def step(batch: Batch) -> dict[str, torch.Tensor]:
        terms, at = inner(batch), next(number)
        return {**terms, "reg": terms["bpr"] * 0 + at} if at else terms

    monkeypatch.setattr(loop.model, "training_step", step)
    record = loop.run_epoch()
    later = range(1, loop.sampler.steps)
    assert len(later) > 1 and record["loss/reg"] == pytest.approx(sum(later) / len(later))


@pytest.mark.parametrize("model", ["mf", "lightgcn", "mmssl"])
def test_a_restored_loop_goes_on_as_if_nothing_had_been(model: str) -> None:
    settings = {"user_sampling": "user", "negative_sampler": "popularity"}
    if model == "mmssl":
        settings |= {"graph_refresh": 2}  # type: ignore[dict-item]
    whole = _loop(model, toy_data(), **settings)
    whole.run_epoch()
    state = whole.state()
    saved = {name: tensor.clone() for name, tensor in state["model"].items()}
    state["model"] = saved
    state = torch.load(_through_file(state), weights_only=True)
    expected = [_numbers(whole.run_epoch()) for _ in range(3)]

    resumed = _loop(model, toy_data(), **settings)
    torch.manual_seed(12345)
    resumed.restore(state)

    assert [_numbers(resumed.run_epoch()) for _ in range(3)] == expected
    assert _states_equal(resumed.model.state_dict(), whole.model.state_dict())


def _through_file(state: dict[str, Any]) -> Any:
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def test_a_term_that_is_not_finite_is_named_with_its_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = _loop("mmssl", toy_data())
    loop.run_epoch()
    inner = loop.model.training_step
    calls = iter(range(100))

    def broken(batch: Any) -> dict[str, torch.Tensor]:
        terms = inner(batch)
        return terms | {"contrast": terms["contrast"] * torch.nan} if next(calls) == 1 else terms

    monkeypatch.setattr(loop.model, "training_step", broken)
    with pytest.raises(DivergedError, match=r"loss term 'contrast' became nan in epoch 2 \(step 2\); a smaller"):
        loop.run_epoch()


def test_an_infinite_weight_after_the_last_step_is_named() -> None:
    loop = _loop("lightgcn", toy_data(), batch_size=1000)
    loop.run_epoch()
    inner = loop.optimizer.step

    def broken(*arguments: Any) -> Any:
        inner(*arguments)
        with torch.no_grad():
            loop.model.items[3, 2] = torch.inf  # type: ignore[index, operator]

    loop.optimizer.step = broken  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match="weights 'items' became infinite or NaN in epoch 2"):
        loop.run_epoch()


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module.torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == pick_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="--device cuda needs a CUDA GPU, and PyTorch finds none here"):
        pick_device("cuda")
    monkeypatch.setattr(loop_module.torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == pick_device("cuda").type == "cuda"
    assert pick_device("cpu").type == "cpu"
