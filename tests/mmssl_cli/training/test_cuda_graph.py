"""Steps recorded as CUDA graphs: when one is recorded and replayed, and on a GPU that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from mmssl_cli.config import build_settings
from mmssl_cli.config.registry import MODELS
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.registry import build_model, model_class
from mmssl_cli.training import cuda_graph as recorded
from mmssl_cli.training.cuda_graph import RecordedStep
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.trainer import _check_recordable
from pipelines.errors import UsageError
from tests.conftest import Answer
from tests.helpers.model_cases import toy_batch, toy_data, toy_model

STATIC = [name for name in MODELS if model_class(name).static_shapes]
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


class _Counting:
    """A step that adds up what it saw; under a pretended recording it only says where its losses will be."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.recording = False
        self.recorded: Batch | None = None
        self.loss = torch.zeros(())

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        if self.recording:
            self.recorded = batch
            return {"sum": self.loss}
        return {"sum": self.run(batch)}

    def run(self, batch: Batch) -> Tensor:
        self.seen.append(int(batch.users.sum()))
        return torch.tensor(float(self.seen[-1]))


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> _Counting:
    step = _Counting()

    class Graph:
        def replay(self) -> None:
            assert step.recorded is not None
            step.loss.copy_(step.run(step.recorded))

    @contextmanager
    def recording(graph: Graph, stream: object) -> Any:
        step.recording = True
        yield
        step.recording = False

    stream = SimpleNamespace(wait_stream=lambda other: None)
    pretended = SimpleNamespace(
        Stream=lambda device: stream,
        current_stream=lambda: stream,
        stream=lambda given: nullcontext(),
        CUDAGraph=Graph,
        graph=recording,
    )
    monkeypatch.setattr(recorded.torch, "cuda", pretended)
    return step


def _batches(count: int, size: int) -> list[Batch]:
    return [Batch(*(torch.full((size,), n + 1) for _ in range(4))) for n in range(count)]


def test_a_step_is_called_at_first_and_then_replayed_on_each_batch(step: _Counting) -> None:
    recorded_step = RecordedStep(step, torch.device("cpu"))
    losses = [recorded_step(batch)["sum"] for batch in _batches(7, 2)]
    assert step.seen == [2, 4, 6, 8, 10, 12, 14]  # each batch once, none for the recording
    assert step.recorded is not None and recorded_step.graph is not None
    assert [int(loss) for loss in losses] == step.seen  # kept apart from where the next step writes


def test_a_batch_of_another_shape_is_recorded_anew(step: _Counting) -> None:
    recorded_step = RecordedStep(step, torch.device("cpu"))
    for batch in _batches(5, 2):
        recorded_step(batch)
    first = recorded_step.graph
    for batch in _batches(5, 3):
        recorded_step(batch)
    assert step.seen == [2, 4, 6, 8, 10, 3, 6, 9, 12, 15]
    assert recorded_step.graph is not None and recorded_step.graph is not first
    masked = replace(_batches(1, 3)[0], mask=torch.ones(3, dtype=torch.bool))
    recorded_step(masked)
    assert recorded_step.graph is None and step.seen[-1] == 3


def test_training_records_only_where_it_can(demo: Path, cli: Callable[..., Answer]) -> None:
    shown = cli("train", "--data-dir", demo.parent, "--epochs", 1, "--cuda-graph", "--device", "cpu")
    assert shown.code == 2 and "and this run is trained on the CPU; leave it out." in shown.words
    settings = build_settings({"model": "sgl", "cuda_graph": True})
    with pytest.raises(UsageError, match="steps of sgl vary in shape"):
        _check_recordable(settings, toy_data(), torch.device("cuda"))
    settings = build_settings({"model": "vbpr", "cuda_graph": True})
    with pytest.raises(UsageError, match="features are too large for the GPU"):
        _check_recordable(settings, toy_data(), torch.device("cuda"))


def test_a_rate_from_a_checkpoint_comes_to_the_device() -> None:
    data = toy_data()
    model = toy_model(data, lr=0.01, lr_decay=0.5, lr_decay_every=1)
    loop = TrainingLoop(model, data, model.settings)
    loop.cuda_graph = cast(Any, object())
    loop.optimizer.param_groups[0]["lr"] = torch.empty((), device="meta")  # as a file on another device has it
    loop._set_rates(loop.optimizer, loop.learning_rates, 1.0)
    rate = loop.optimizer.param_groups[0]["lr"]
    loop._set_rates(loop.optimizer, loop.learning_rates, 0.5)
    assert loop.optimizer.param_groups[0]["lr"] is rate  # a recorded step reads it from there
    assert rate.device == loop.device and rate.item() == pytest.approx(0.005)
    assert all(group["capturable"] for group in loop.optimizer.param_groups)


def _on(data: InteractionData, device: str) -> InteractionData:
    return data.to(torch.device(device))


@on_gpu
@pytest.mark.parametrize("name", [name for name in STATIC if name != "clcrec"])  # which draws its negatives
def test_one_step_on_cuda_is_that_of_the_cpu(name: str) -> None:
    data = toy_data()
    form = {"model": name, "embedding_dim": 8}
    still = ("dropout", "discriminator_dropout", "gumbel_scale", "gradient_penalty", "node_dropout")
    settings = build_settings(form)
    settings = settings.model_copy(update={key: 0.0 for key in still if hasattr(settings, key)})
    found: dict[str, dict[str, Tensor]] = {}
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-6)
    torch.manual_seed(0)
    start = build_model(data, settings).state_dict()
    for device in ("cpu", "cuda"):
        model = build_model(_on(data, device), settings)
        model.load_state_dict(start)
        model.begin_epoch(1)
        batch = toy_batch(data)
        count = len(batch.distinct_users)
        if device == "cuda" and name == "mmssl":
            batch = replace(batch, distinct_users=batch.distinct_users.repeat(2), mask=torch.arange(2 * count) < count)
        moved = [None if part is None else part.to(device) for part in vars(batch).values()]
        terms = model.training_step(Batch(*cast(Any, moved)))
        torch.stack(list(terms.values())).sum().backward()
        found[device] = {key: term.detach().cpu() for key, term in terms.items()}
        found[device] |= {key: p.grad.cpu() for key, p in model.named_parameters() if p.grad is not None}
    for key, value in found["cpu"].items():
        close(found["cuda"][key], value, msg=lambda text, key=key: f"{key}: {text}")


@on_gpu
@pytest.mark.parametrize("name", STATIC)
def test_recorded_epochs_are_those_of_single_steps(name: str) -> None:
    data = _on(toy_data(users=200, items=50), "cuda")
    records = []
    for graph in (False, True):
        form = {"model": name, "embedding_dim": 8, "batch_size": 16, "cuda_graph": graph, "lr_decay_every": 1}
        if name == "mmssl":
            form |= {"dropout": 0.0, "discriminator_dropout": 0.0, "gumbel_scale": 0.0, "gradient_penalty": 0.0}
        settings = build_settings(form)
        torch.manual_seed(0)
        loop = TrainingLoop(build_model(data, settings), data, settings)
        records.append([loop.run_epoch() for _ in range(3)])
        assert (loop.cuda_graph is not None and loop.cuda_graph.graph is not None) == graph
    for single, replayed in zip(*records, strict=True):
        for key, value in single.items():
            if "seconds" not in key and not (name == "clcrec" and key.startswith("loss")):  # draws its negatives
                assert replayed[key] == pytest.approx(value, rel=1e-3), key


@on_gpu
def test_steps_on_cuda_never_wait_for_the_device() -> None:
    data = _on(toy_data(users=200, items=50), "cuda")
    model = toy_model(data)
    loop = TrainingLoop(model, data, model.settings)
    loop.run_epoch()
    batches = list(loop.sampler.epoch(loop.generator))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            loop._step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
