"""Parts of a training of the full MMSSL model, timed in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

from benchmarks.timing import Stopwatch
from mmssl_cli.training.loop import TrainingLoop

VIEWS = "views, attention, propagation (Eq. 8 to 10)"
REFRESH = "refresh of the neighbours, once an epoch (Eq. 8)"
SAMPLING = "sampling, once an epoch"


@contextmanager
def in_parts(loop: TrainingLoop, watch: Stopwatch) -> Iterator[None]:
    """Time the parts of ``loop.run_epoch`` and of a step for a ``with`` block, each without those inside it."""
    model: Any = loop.model
    draw = loop.sampler.epoch
    parts = [
        (model, "begin_epoch", REFRESH),
        (model, "views", VIEWS),
        (model, "_final", VIEWS),
        (model.generator, "forward", "generated relations (Eq. 2)"),
        (model.adversary, "transformed_rows", "Gumbel transform (Eq. 5)"),
        (model.adversary, "discriminator_step", "discriminator, both passes (Eq. 4, 7)"),
        # Its share of the backward pass is the discriminator's.
        (model.adversary.discriminator, "gradient_penalty", "gradient penalty, forward (Eq. 7)"),
        (model.adversary, "generator_loss", "generator's loss (Eq. 7)"),
        (model, "_contrast", "contrast (Eq. 11)"),
        (loop.optimizer, "step", "optimiser"),
    ]
    with ExitStack() as stack:

        def put(owner: Any, name: str, function: Callable[..., Any]) -> None:
            stack.enter_context(mock.patch.object(owner, name, function))

        for owner, name, part in parts:
            put(owner, name, watch.timed(getattr(owner, name), part))
        put(loop.sampler, "epoch", watch.timed(lambda generator: list(draw(generator)), SAMPLING))
        # The discriminator's own backward pass is part of its update.
        backward = watch.timed(torch.Tensor.backward, "backward pass of all terms", nested=False)
        put(torch.Tensor, "backward", lambda *a, **k: backward(*a, **k))
        yield
