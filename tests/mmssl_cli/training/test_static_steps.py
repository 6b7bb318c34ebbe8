"""Steps of one shape: padded users count for nothing, and what may be recorded as a CUDA graph can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmssl_cli.config import build_settings
from mmssl_cli.config.registry import MODELS
from mmssl_cli.data.sampling import Batch, TripleSampler
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.mmssl import generator as generator_module
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.models.registry import build_model, model_class
from mmssl_cli.sparse.csr import CSR
from tests.helpers.model_cases import MODALITIES, toy_batch, toy_data, toy_model


def _padded(batch: Batch, extra: int) -> Batch:
    users = torch.cat([batch.distinct_users, batch.distinct_users[:1].expand(extra)])
    return replace(batch, distinct_users=users, mask=torch.arange(len(users)) < len(batch.distinct_users))


def _stepped(model: MMSSL, batch: Batch) -> dict[str, Tensor]:
    """Everything that a step gives: the terms, what is monitored, the gradients, the discriminator after it."""
    model.begin_epoch(1)
    torch.manual_seed(5)
    terms = model.training_step(batch)
    torch.stack(list(terms.values())).sum().backward()
    found = {name: term.detach() for name, term in terms.items()} | model.monitored
    found |= {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found | {name: value for name, value in model.state_dict().items() if name.startswith("adversary")}


#: Random numbers are drawn row by row, so that those of the first rows are the same for more rows; the next draw's
#: are not, so that the penalty's are compared where nothing is drawn before, and for one modality.
CASES = [
    {"gradient_penalty": 0.0},
    {"gradient_penalty": 0.0, "discriminator_steps": 2, "discriminator_lr": 1e-5},
    {"gradient_penalty": 0.0, "variant": "w/o-CL"},
    {"gradient_penalty": 5.0, "variant": "w/o-GT", "modalities": {"visual": 7}},
    {"variant": "r/p-GAE"},
    {"variant": "w/o-ASL"},
]


@pytest.mark.parametrize("settings", CASES, ids=str)
@pytest.mark.parametrize("extra", [1, 5])
def test_padded_users_count_for_nothing(settings: dict[str, Any], extra: int) -> None:
    settings = {"contrast_weight": 0.5, "adversarial_weight": 0.5, "discriminator_lr": 1e-2, **settings}
    data = toy_data(modalities=settings.pop("modalities", MODALITIES))
    batch = toy_batch(data)
    expected = _stepped(toy_model(data, **settings), batch)

    found = _stepped(toy_model(data, **settings), _padded(batch, extra))

    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", [name for name in MODELS if model_class(name).static_shapes])
def test_padding_changes_no_model(name: str) -> None:
    data = toy_data()
    losses = []
    for batch in (toy_batch(data), _padded(toy_batch(data), 3)):
        torch.manual_seed(1)
        off = {"gradient_penalty": 0.0, "discriminator_dropout": 0.0, "dropout": 0.0} if name == "mmssl" else {}
        model = build_model(data, build_settings({"model": name, "embedding_dim": 8} | off))
        model.begin_epoch(1)
        torch.manual_seed(2)
        losses.append(model.training_step(batch))
    for term, loss in losses[0].items():
        torch.testing.assert_close(losses[1][term], loss)


@pytest.mark.parametrize("user_sampling", ["interaction", "user"])
def test_padded_batches_have_the_same_triples_and_users(user_sampling: str) -> None:
    data = toy_data(users=200, items=50)
    samplers = [
        TripleSampler(data.train, data.num_items, 32, user_sampling, "uniform", padded) for padded in (False, True)
    ]
    plain, padded = (list(sampler.epoch(torch.Generator().manual_seed(1))) for sampler in samplers)

    assert {len(batch.distinct_users) for batch in padded} == {samplers[1].width}
    assert len({len(batch.distinct_users) for batch in plain}) > 1 or user_sampling == "user"
    for one, other in zip(plain, padded, strict=True):
        assert one.mask is None and other.mask is not None
        assert one.distinct_users.tolist() == other.distinct_users[other.mask].tolist()
        for name in ("users", "positives", "negatives"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_users_are_padded_to_fewer_than_a_batch_has_triples_where_few_are_expected() -> None:
    pairs = [(user, item) for user in range(100) for item in range(200)]
    sampler = TripleSampler(CSR.from_pairs(pairs, 100), 300, 2000, "interaction", "uniform", padded=True)
    assert sampler.width == 100  # of 2,000 triples
    few = [(user, item) for user in range(4000) for item in range(3)]
    sampler = TripleSampler(CSR.from_pairs(few, 4000), 300, 2000, "interaction", "uniform", padded=True)
    expected = 4000 * (1 - (1 - 3 / 12000) ** 2000)
    assert sampler.width is not None and expected < sampler.width < expected + 8 * 4000**0.5 / 2 + 64
    drawn = [int(batch.mask.sum()) for batch in sampler.epoch(torch.Generator()) if batch.mask is not None]
    assert 0.9 * expected < min(drawn) < max(drawn) <= sampler.width


def test_more_users_than_expected_widen_the_batches() -> None:
    data = toy_data(users=200, items=50)
    sampler = TripleSampler(data.train, data.num_items, 32, "interaction", "uniform", padded=True)
    sampler.width = 3
    batches = list(sampler.epoch(torch.Generator().manual_seed(0)))
    assert sampler.width == max(len(set(batch.users.tolist())) for batch in batches)
    for batch in batches:
        assert batch.distinct_users[batch.mask].tolist() == sorted(set(batch.users.tolist()))


class _Trace(TorchDispatchMode):
    """The operators of a step with the shapes of what they gave, and those that a device would have to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[str, tuple[torch.Size, ...]]] = []
        self.waits: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        parts = result if isinstance(result, tuple | list) else [result]
        self.shapes.append((str(function), tuple(part.shape for part in parts if isinstance(part, Tensor))))
        by_mask = function in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default) and any(
            index is not None and index.dtype == torch.bool for index in arguments[1]
        )
        tags = {torch.Tag.data_dependent_output}
        if function is not torch.ops.aten.index.Tensor:
            tags.add(torch.Tag.dynamic_output_shape)
        if by_mask or tags & set(function.tags):
            self.waits.add(str(function))
        return result


def _static(name: str, **settings: Any) -> bool:
    """Return True if steps on different batches have the same operators and shapes, and wait for nothing."""
    data = toy_data(users=60, items=25)
    built = build_settings({"model": name, "embedding_dim": 8, "batch_size": 16, **settings})
    torch.manual_seed(0)
    model = build_model(data, built)
    sampler = TripleSampler(data.train, data.num_items, 16, "interaction", "uniform", model.static_shapes)
    model.begin_epoch(1)
    traces = []
    batches = list(sampler.epoch(torch.Generator().manual_seed(0)))
    _ = model.training_step(batches[0])  # what is set up at first use
    for batch in batches[1:4]:
        model.zero_grad()
        with _Trace() as trace:
            terms = model.training_step(batch)
            torch.stack(list(terms.values())).sum().backward()
        traces.append(trace)
    assert len(traces) == 3 and len(traces[0].shapes) > 5
    return not any(trace.waits for trace in traces) and all(trace.shapes == traces[0].shapes for trace in traces)


@pytest.mark.parametrize("name", [name for name in MODELS if not model_class(name).has_fit()])
def test_models_that_say_so_have_steps_of_one_shape_and_never_wait(name: str) -> None:
    of_model = model_class(name)
    changes = of_model.begin_epoch is not Recommender.begin_epoch and of_model is not MMSSL
    assert of_model.static_shapes == (_static(name) and not changes)


@pytest.mark.parametrize(
    "settings",
    [
        *({"variant": variant} for variant in ("w/o-ASL", "w/o-CL", "w/o-GT", "r/p-GAE")),
        {"contrast_users": "all"},
        {"omega": 0.5, "loss": "softmax", "l2_weight": 0.1},
    ],
    ids=str,
)
def test_mmssl_has_them_in_every_form(settings: dict[str, Any]) -> None:
    assert _static("mmssl", **settings)


def test_a_trace_tells_what_waits_from_what_does_not() -> None:
    numbers = torch.arange(6)
    for waits in (
        lambda: numbers[numbers > 2],
        lambda: numbers.unique(),
        lambda: numbers.sum().item(),
        lambda: torch.nonzero(numbers),
        lambda: torch.repeat_interleave(numbers, numbers),
    ):
        with _Trace() as trace:
            _ = waits()
        assert trace.waits
    with _Trace() as trace:
        _ = numbers[torch.tensor([1, 1])].sort().values.cumsum(0)
    assert not trace.waits


def test_the_graphs_are_those_gathered_from_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    led = torch.tensor([0, 1, 2]).repeat(2, 12, 1)
    monkeypatch.setattr(generator_module, "gather_rows", lambda own, count: led[0].to(own))
    model = toy_model(toy_data())
    for epoch in (1, 2):
        model.begin_epoch(epoch)
        model.views()
        assert model.modality_graphs is not None
        for graph in model.modality_graphs:
            assert (graph.to_users.matrix.to_dense() != 0).nonzero()[:, 1].view(12, 3).tolist() == led[0].tolist()


def test_the_graphs_of_an_epoch_take_the_place_of_the_last_ones() -> None:
    model = toy_model(toy_data())
    model.begin_epoch(1)
    model.views()
    assert model.modality_graphs is not None
    parts = [
        part(graph.to_users.matrix) for graph in model.modality_graphs for part in (Tensor.values, Tensor.col_indices)
    ]
    before = model.modality_graphs[0].to_items.matrix.to_dense()
    with torch.no_grad():
        for weight in model.generator.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))

    model.begin_epoch(2)

    after = [
        part(graph.to_users.matrix) for graph in model.modality_graphs for part in (Tensor.values, Tensor.col_indices)
    ]
    assert [part.data_ptr() for part in after] == [part.data_ptr() for part in parts]
    assert not torch.equal(model.modality_graphs[0].to_items.matrix.to_dense(), before)
    views = [view.detach() for of_nodes in model.views() for view in of_nodes]
    model.forget_graphs()
    for view, anew in zip(views, [view for of_nodes in model.views() for view in of_nodes], strict=True):
        torch.testing.assert_close(view, anew)
