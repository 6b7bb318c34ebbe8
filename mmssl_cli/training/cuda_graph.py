"""Record a training step as a CUDA graph and replay it: one launch in place of hundreds of small ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from mmssl_cli.data.sampling import Batch

# The steps before the recording are meant to run without one.
warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")

Losses = dict[str, Tensor]


class RecordedStep:
    """A step that is called as it is at first, then recorded; from then on each batch is copied in and replayed.

    The step must have the same shapes each time, wait for nothing and change tensors in place (see
    ``Recommender.static_shapes``); its optimisers must be capturable. Its random draws continue the
    device's own generator. A batch of other shapes has it recorded anew.
    """

    #: Steps on a stream of its own before the recording: libraries set up their handles and workspaces in them.
    WARM_UP = 3

    def __init__(self, step: Callable[[Batch], Losses], device: torch.device) -> None:
        self.step = step
        self.stream = torch.cuda.Stream(device)
        self.shapes: list[torch.Size | None] = []
        self.graph: torch.cuda.CUDAGraph | None = None
        self.losses: Losses = {}
        self.calls = 0

    def __call__(self, batch: Batch) -> Losses:
        """Train one step on the batch; its losses are the caller's to keep."""
        shapes = [None if part is None else part.shape for part in _parts(batch)]
        if shapes != self.shapes:
            self.shapes, self.graph, self.losses, self.calls = shapes, None, {}, 0
        if self.calls < self.WARM_UP:
            self.calls += 1
            return self._aside(batch)
        if self.graph is None:
            graph = torch.cuda.CUDAGraph()
            self.batch = Batch(*(None if part is None else part.clone() for part in _parts(batch)))  # type: ignore[arg-type]
            with torch.cuda.graph(graph, stream=self.stream):
                self.losses = self.step(self.batch)
            self.graph = graph
        for mine, given in zip(_parts(self.batch), _parts(batch), strict=True):
            if mine is not None and given is not None:
                mine.copy_(given)
        self.graph.replay()
        return {name: loss.clone() for name, loss in self.losses.items()}

    def _aside(self, batch: Batch) -> Losses:
        now = torch.cuda.current_stream()
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            losses = self.step(batch)
        now.wait_stream(self.stream)
        return losses


def _parts(batch: Batch) -> list[Tensor | None]:
    return [getattr(batch, field.name) for field in fields(batch)]
