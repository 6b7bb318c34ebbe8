"""Cost of a training step of MMSSL against the size of the data: measured, and counted as in A.3."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.models.registry import build_model
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.studies.diagnostics.record import Cost, CostPoint, Part
from mmssl_cli.training.device import device_name, peak_memory, reset_peak_memory
from mmssl_cli.training.loop import TrainingLoop

FRACTIONS = (0.125, 0.25, 0.5, 1.0, 2.0)
WARM_UP, TIMED = 2, 15
#: Fewest users and items whose step is timed.
FEWEST = 20


def measure_cost(
    data: InteractionData,
    settings: Any,
    device: torch.device,
    on_progress: Callable[[str], None],
    fractions: Sequence[float] = FRACTIONS,
) -> Cost:
    """Time training steps on data of growing size with the run's settings; nothing is written.

    Args:
        data: data set of the run.
        settings: of MMSSL; the spectral filter, which no step uses, is left out, and no step is recorded.
        on_progress: called with a description of each size before it is measured.
        fractions: sizes as multiples of the data, ascending.
    """
    settings = settings.model_copy(update={"spectral_weight": 0.0, "cuda_graph": False})
    points = []
    for fraction in fractions:
        if min(data.num_users, data.num_items) * fraction < FEWEST:
            continue
        sized = resized(data, fraction).to(device)
        on_progress(
            f"Timing {WARM_UP + TIMED} training steps with {sized.num_users:,} users and {sized.num_items:,} items"
        )
        points.append(measure_point(sized, settings, fraction))
    return Cost(device=device_name(device), timed_steps=TIMED, points=tuple(points))


def resized(data: InteractionData, fraction: float, seed: int = 0) -> InteractionData:
    """Return data with ``fraction`` times the users, items and training interactions, for timing only.

    Below 1, users are sampled and the items folded into fewer, so that a user keeps nearly all interactions; whole
    multiples are copies side by side that share no user and no item.

    Raises:
        ValueError: the fraction is above 1 and not whole.
    """
    if fraction > 1 and fraction != int(fraction):
        raise ValueError(f"expected a fraction of at most 1 or a whole number, not {fraction}")
    copies = max(1, int(fraction))
    users, items = (max(2, round(n * min(fraction, 1))) for n in (data.num_users, data.num_items))
    chance = np.random.default_rng(seed)
    kept = torch.from_numpy(np.sort(chance.choice(data.num_users, users, replace=False)))
    number = torch.from_numpy(chance.permutation(data.num_items))
    drawn = data.train.select(kept)
    pairs = torch.unique(torch.stack([drawn.row_of_each(), number[drawn.indices] % items], dim=1), dim=0)
    tiled = torch.cat([pairs + torch.tensor([copy * users, copy * items]) for copy in range(copies)])
    of_item = torch.argsort(number)[:items].repeat(copies)
    empty = CSR.from_pairs(np.empty((0, 2), dtype=np.int64), users * copies)
    return replace(
        data,
        num_users=users * copies,
        num_items=items * copies,
        train=CSR.from_pairs(tiled, users * copies),
        validation=empty,
        test=empty,
        features={name: values[of_item] for name, values in data.features.items()},
        present={name: mask[of_item] for name, mask in data.present.items()},
    )


def complexity(model: MMSSL, interactions: int, batch: int, distinct: int) -> tuple[Part, ...]:
    """Return the terms of A.3 for one step: multiplications as printed, and the leading ones of this implementation.

    Parts that the model's variant or its data lack are left out.

    Args:
        interactions: size of the training split.
        batch: triples per step.
        distinct: distinct users among them.
    """
    s, m, d = model.settings, model.num_modalities, model.settings.embedding_dim
    users, items = model.num_users, model.num_items
    moved = s.layers * interactions * d
    parts = _adversarial_parts(model, interactions, batch, distinct)
    if m:
        edges = m * users * model.neighbours.shape[2] * d
        own = (users + items) * (2 * m * d * d + m * m * d)
        parts.append(_part("Modality views", "|M| |Â| d", edges, 2 * edges))
        parts.append(_part("Attention", "|U| |M|² d", users * m * m * d, own))
    parts.append(_part("Propagation", "L |A| d", moved, 2 * moved))
    parts.append(_part("Recommendation loss", "B d", batch * d, 2 * batch * d))
    if model.contrasts:
        compared = users if s.contrast_users == "all" else distinct
        parts.append(_part("Contrast, numerator", "|M| B d", m * batch * d, m * compared * d))
        own = 2 * m * compared * compared * d
        parts.append(_part("Contrast, denominator", "|M| B |U| d", m * batch * users * d, own))
    return tuple(parts)


def _adversarial_parts(model: MMSSL, interactions: int, batch: int, distinct: int) -> list[Part]:
    s, m, d = model.settings, model.num_modalities, model.settings.embedding_dim
    items, hidden = model.num_items, model.settings.discriminator_hidden
    parts = []
    if model.generates or (m and s.omega):
        mapped = items * sum(values.shape[1] for values in model.generator.raw.values()) * d
        parts.append(_part("Feature transformation", "|I| Σ d_m d", mapped, mapped))
    if model.generates:
        # Through thin factors no B x |I| block is formed; the auto-encoder scores the batch's pairs alone.
        own = m * (items + distinct) * d * hidden if model.adversary is not None else 2 * m * batch * d
        parts.append(_part("Relation generation", "B |M| |I| d", batch * m * items * d, own))
    if model.adversary is not None:
        dense = model.adversary.gumbel_transform
        entries = distinct * items if dense else round(distinct * interactions / model.num_users)
        parts.append(_part("Discriminator", "B |I|", batch * items, s.discriminator_steps * entries * hidden))
    return parts


def _part(name: str, formula: str, printed: int, own: int) -> Part:
    return Part(name=name, formula=formula, printed=printed, own=own)


def growth(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the least-squares slope of log ``values`` against log ``sizes``; NaN with fewer than two sizes."""
    if len(set(sizes)) < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure_point(data: InteractionData, settings: Any, fraction: float = 1.0, timed: int = TIMED) -> CostPoint:
    """Time ``timed`` training steps and a refresh of the modality graphs on data of one size."""
    device = data.train.indices.device
    reset_peak_memory(device)
    torch.manual_seed(settings.seed)
    model = build_model(data, settings)
    assert isinstance(model, MMSSL)
    loop = TrainingLoop(model, data, settings)
    model.train()
    refresh = _seconds(lambda: model.begin_epoch(1), device)
    batches = _batches(loop, WARM_UP + timed)
    # The loop's own step, so that what is timed is what a training does.
    seconds = [_seconds(lambda batch=batch: loop._step(batch), device) for batch in batches][WARM_UP:]  # type: ignore[misc]
    distinct = round(sum(len(batch.distinct_users) for batch in batches) / len(batches))
    return CostPoint(
        fraction=fraction,
        users=data.num_users,
        items=data.num_items,
        interactions=len(data.train),
        batch=loop.sampler.batch_size,
        steps=loop.sampler.steps,
        seconds=min(seconds),  # what else the machine does only adds to it
        median=float(np.median(seconds)),
        refresh_seconds=refresh if model.num_modalities else None,
        peak_memory_bytes=peak_memory(device),
        parts=complexity(model, len(data.train), loop.sampler.batch_size, distinct),
    )


def _batches(loop: TrainingLoop, count: int) -> list[Batch]:
    """Batches for warm-up and timing, from several epochs of a small data set."""
    batches: list[Batch] = []
    while len(batches) < count:
        batches += loop.sampler.epoch(loop.generator)
    return batches[:count]


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
