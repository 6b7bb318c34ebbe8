"""Diagnostics of a trained MMSSL: gradients of its negatives (Fig. 5), transferability (Eq. 24), cost (A.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmssl_cli.config import MMSSLSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.evaluation.gradients import gradient_weight, negative_gradients, share_of_hardest, weight_peak
from mmssl_cli.evaluation.transferability import rho_1, rho_2, transfer_bound, transferred_share
from mmssl_cli.models.mmssl.model import MMSSL
from mmssl_cli.models.registry import build_model
from mmssl_cli.runs.folder import MODEL
from mmssl_cli.runs.results import FinishedRun
from mmssl_cli.studies.diagnostics.cost import measure_cost
from mmssl_cli.studies.diagnostics.interaction_gradients import margin_gradients
from mmssl_cli.studies.diagnostics.record import Analysis, Bin, Kind, Negatives, Transfer
from mmssl_cli.training.loading import load_model
from mmssl_cli.training.loop import pick_device
from pipelines.io.files import sha256_of

#: Edges of the bins of cosines.
EDGES = np.linspace(-1, 1, 81)
HARDEST = (0.01, 0.1)
#: Squared sine below which two embeddings count as equal: users with the same neighbours differ by rounding alone.
NO_ANGLE = 1e-9


def analyse(
    run: FinishedRun,
    data_dir: Path,
    users: int,
    cost: bool,
    on_progress: Callable[[str], None],
) -> Analysis:
    """Analyse the model of a run on the CPU, and time training steps on the device that a training would take.

    Args:
        run: of MMSSL.
        users: most users to sample; the same ones each time.
        cost: True to measure the cost of training steps too.
        on_progress: called with a description of each step.

    Raises:
        InputError: the run or its data set is damaged, or they do not fit each other.
    """
    model, data, settings = load_model(run.folder.path, data_dir)
    assert isinstance(model, MMSSL) and isinstance(settings, MMSSLSettings)
    sample = sample_users(data, users)
    # First, while the process is small: its memory is a part of what is measured.
    cost_of_steps = measure_cost(data, settings, pick_device("auto"), on_progress) if cost else None
    left_out = []
    negatives: dict[str, Negatives] = {}
    transfer: dict[str, dict[Kind, Transfer]] = {}
    if not model.contrasts:
        left_out.append(f"{run.label} is trained without a contrast: it has no negatives to measure gradients of.")
    elif len(sample):
        on_progress(f"Gradients of the negatives of {len(sample):,} users")
        negatives = measure_negatives(model, data, sample)
    if not model.num_modalities:
        left_out.append("Without modalities there is no modality's view to measure transferability from.")
    elif not settings.layers and not settings.omega:
        left_out.append(
            "Without layers of propagation no user's embedding depends on the user's interactions: rho is undefined."
        )
    else:
        on_progress(f"Transferability for {len(sample):,} users")
        transfer = measure_transfer(model, data, sample)
    return Analysis(
        run=run.id,
        model_sha256=sha256_of(run.folder.path / MODEL),
        label=run.label,
        dataset=settings.dataset,
        seed=settings.seed,
        users=len(sample),
        temperature=settings.contrast_temperature,
        negatives=negatives,
        transfer=transfer,
        cost=cost_of_steps,
        left_out=tuple(left_out),
    )


def sample_users(data: InteractionData, most: int) -> Tensor:
    """Return at most ``most`` users, int64 ascending, with a training item and another item; always the same ones."""
    degrees = data.train.degrees()
    usable = torch.nonzero((degrees > 0) & (degrees < data.num_items)).squeeze(1).numpy()
    chosen = np.random.default_rng(0).permutation(usable)[:most]
    return torch.from_numpy(np.sort(chosen))


@torch.no_grad()
def measure_negatives(model: MMSSL, data: InteractionData, anchors: Tensor) -> dict[str, Negatives]:
    """Measure Eq. 20 per modality; the negatives of an anchor are all other users of the data set, as in Eq. 11."""
    final, _ = model.embeddings()
    views = dict(zip(data.features, model.views()[0], strict=True))
    found = {}
    for name, view in views.items():
        directed = anchors[view[anchors].norm(dim=1) > 0]
        measured = _negatives(final, view, directed, model.settings.contrast_temperature) if len(directed) else None
        if measured is not None:
            found[name] = measured
    return found


def _negatives(final: Tensor, view: Tensor, anchors: Tensor, temperature: float) -> Negatives | None:
    counts, logs, squares, ratios = (np.zeros(len(EDGES) - 1) for _ in range(4))
    total = similarity = beyond = 0.0
    hardest: dict[float, list[Tensor]] = {fraction: [] for fraction in HARDEST}
    for x, norms in negative_gradients(final, view, anchors, temperature):
        for fraction, shares in hardest.items():
            shares.append(share_of_hardest(x, norms, fraction))
        total, similarity = total + x.numel(), similarity + float(x.sum())
        beyond += float((x > weight_peak(temperature)).sum())
        pulling = (1 - x.square() > NO_ANGLE) & (norms > 0)  # what is left of the others is rounding
        flat, log = x[pulling].numpy(), norms[pulling].log().numpy()
        at = np.clip(np.digitize(flat, EDGES) - 1, 0, len(counts) - 1)
        weights = np.log(gradient_weight(flat, temperature))
        for sums, values in ((counts, None), (logs, log), (squares, log**2), (ratios, log - weights)):
            sums += np.bincount(at, values, minlength=len(sums))
    bins = []
    for place in np.flatnonzero(counts):
        n, mean = counts[place], logs[place] / counts[place]
        spread = math.sqrt(max(squares[place] / n - mean**2, 0))
        centre = float(EDGES[place] + EDGES[place + 1]) / 2
        bins.append(Bin(similarity=centre, count=int(n), norm=math.exp(mean), deviation=math.exp(spread)))
    if not bins:
        return None
    return Negatives(
        anchors=len(anchors),
        negatives=int(total),
        mean_similarity=similarity / total,
        scale=float(np.exp(ratios.sum() / counts.sum())),
        hardest={f"{fraction:g}": float(torch.cat(shares).mean()) for fraction, shares in hardest.items()},
        beyond_peak=beyond / total,
        equal=1 - float(counts.sum()) / total,
        bins=tuple(bins),
    )


def measure_transfer(model: MMSSL, data: InteractionData, users: Tensor) -> dict[str, dict[Kind, Transfer]]:
    """Measure Eq. 24 per modality for the trained model, the untrained model of the same seed and random directions.

    Users without a gradient in a view are left out, and a modality with fewer than two users.
    """
    torch.manual_seed(model.settings.seed)
    untrained = build_model(data, model.settings)
    assert isinstance(untrained, MMSSL)
    untrained.eval()
    untrained.begin_epoch(1)
    found: dict[str, dict[Kind, Transfer]] = {}
    models: tuple[tuple[Kind, MMSSL], ...] = (("trained", model), ("untrained", untrained))
    for kind, each in models:
        target, sources = margin_gradients(each, data.train, users)
        for name, source in sources.items():
            pair = _both_known(source.numpy(), target.numpy())
            if pair is None:
                continue
            found.setdefault(name, {})[kind] = _transfer(*pair)
            if kind == "trained":
                found[name]["random"] = _transfer(_random_like(pair[0]), pair[1])
    return found


def _both_known(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    lengths = np.linalg.norm(source, axis=1) * np.linalg.norm(target, axis=1)
    known = np.isfinite(lengths) & (lengths > 0)
    return (source[known], target[known]) if known.sum() > 1 else None


def _random_like(rows: np.ndarray) -> np.ndarray:
    """Random directions with the norms of ``rows``."""
    random = np.random.default_rng(0).standard_normal(rows.shape)
    return random * (np.linalg.norm(rows, axis=1) / np.linalg.norm(random, axis=1))[:, None]


def _transfer(source: np.ndarray, target: np.ndarray) -> Transfer:
    of_each = rho_1(source, target)
    return Transfer(
        users=len(of_each),
        rho_1=float(of_each.mean()),
        rho_1_deviation=float(of_each.std(ddof=1)),
        rho_2=min(rho_2(source, target), 1.0),
        share=min(transferred_share(source, target), 1.0),
        bound=transfer_bound(source, target),
    )
