"""The training loop in memory: epochs of steps, and the state that a checkpoint needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mmssl_cli.config import TrainSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch, TripleSampler
from mmssl_cli.distributed.collectives import all_reduce_mean, average_gradients, broadcast_tensors, world_size
from mmssl_cli.models.base import Recommender
from mmssl_cli.models.optimizers import Adam, AdamW
from mmssl_cli.models.rows import RowGradients, sparse_gradients
from mmssl_cli.training.cuda_graph import RecordedStep
from mmssl_cli.training.device import local_gpu
from pipelines.errors import MmsslError, UsageError


class DivergedError(MmsslError):
    """A loss term, a weight or a score became infinite or NaN."""


def pick_device(wanted: str) -> torch.device:
    """Return the device to train on: ``auto`` takes a GPU if there is one; each of several processes takes its own.

    Raises:
        UsageError: ``cuda`` was asked for and there is none, or there are fewer GPUs than processes here.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UsageError("--device cuda needs a CUDA GPU, and PyTorch finds none here; use --device cpu or auto.")
    if wanted == "cpu" or not available:
        return torch.device("cpu")
    return local_gpu() if world_size() > 1 else torch.device("cuda")


class TrainingLoop:
    """Model, optimisers, sampler and random state of a run; ``run_epoch`` trains one epoch.

    Attributes:
        on_step: called after each step with the number of steps done, and of all steps of the epoch.
    """

    def __init__(self, model: Recommender, data: InteractionData, settings: TrainSettings) -> None:
        self.model, self.data, self.settings = model, data, settings
        self.device = data.train.indices.device
        if not model.main_parameters():
            raise UsageError(
                f"Model {settings.model!r} has no parameters to train; make its embeddings nn.Parameter, or define "
                "fit(data) in place of training_step(batch)."
            )
        groups = model.parameter_groups(settings.lr)
        optimizer = AdamW if settings.optimizer == "adamw" else Adam
        self.optimizer = optimizer(groups, weight_decay=settings.weight_decay, fused=True)
        self.row_gradients = RowGradients()
        self.learning_rates = [group["lr"] for group in self.optimizer.param_groups]
        auxiliary = model.auxiliary_optimizer
        self.auxiliary_rates = [group["lr"] for group in auxiliary.param_groups] if auxiliary else []
        # Shapes that vary make a GPU wait for the host at each step; the CPU is quicker without the padding.
        padded = model.static_shapes and self.device.type == "cuda" and world_size() == 1
        self.sampler = TripleSampler(
            data.train,
            data.num_items,
            settings.batch_size,
            settings.user_sampling,
            settings.negative_sampler,
            padded,
            trained_negatives=data.new_items,
        )
        self.cuda_graph = self._make_cuda_graph()
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.epoch = 0
        self.steps_done = 0
        self.on_step: Callable[[int, int], None] = lambda done, total: None
        self.average = [p.detach().clone() for p in model.main_parameters()] if settings.weight_averaging else None

    def run_epoch(self) -> dict[str, float]:
        """Train one epoch.

        Returns:
            ``loss/<term>`` (means over the steps), ``loss/total``, ``diagnostics/<name>``, ``lr`` and
            ``train_seconds``.

        Raises:
            DivergedError: a term, or a weight after the last step, is not finite.
        """
        started = time.perf_counter()
        self.epoch += 1
        decays = (self.epoch - 1) // self.settings.lr_decay_every
        decay = self.settings.lr_decay**decays
        self._set_rates(self.optimizer, self.learning_rates, decay)
        if self.model.auxiliary_optimizer:
            self._set_rates(self.model.auxiliary_optimizer, self.auxiliary_rates, self.model.auxiliary_lr_decay**decays)
        self.model.train()
        self.model.begin_epoch(self.epoch)
        # What is found by comparing sums of floats, as nearest items are, could differ from one device to the next.
        broadcast_tensors(self.model.state_dict().values())
        steps: list[dict[str, Tensor]] = []
        for batch in self.sampler.epoch(self.generator):
            steps.append(self._step(batch))
            self.on_step(len(steps), self.sampler.steps)
        record = self._means(steps)  # here the program waits for the device
        self._check_weights()
        measures = self.model.diagnose(batch)
        record.update({f"diagnostics/{name}": value for name, value in measures.items()})
        record.update({"lr": self.settings.lr * decay, "train_seconds": time.perf_counter() - started})
        return record

    def _make_cuda_graph(self) -> RecordedStep | None:
        return RecordedStep(self._update, self.device) if self.settings.cuda_graph else None

    def _set_rates(self, optimizer: torch.optim.Optimizer, rates: Sequence[float], decay: float) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            if self.cuda_graph is None:
                group["lr"] = rate * decay
            else:  # a recorded step reads the rate from where it was
                held = group["lr"]
                if not isinstance(held, Tensor) or held.device != self.device:  # as it comes from a checkpoint
                    held = torch.empty((), device=self.device)
                group["lr"] = held.fill_(rate * decay)
            group["capturable"] = self.cuda_graph is not None

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        losses = self._update(batch) if self.cuda_graph is None else self.cuda_graph(batch)
        self.steps_done += 1
        if self.average is not None:
            # A plain mean until it spans as many steps as the decay does, so that the start is soon forgotten.
            decay = min(self.settings.weight_averaging, 1 - 1 / self.steps_done)
            get_ema_multi_avg_fn(decay)(self.average, self.model.main_parameters(), self.steps_done)
        return losses

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        # Without its cache: the discriminator's weights change within a step.
        half = self.settings.precision == "bfloat16"
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=half, cache_enabled=False)
        with autocast, sparse_gradients():
            terms = self.model.training_step(batch)
        _check_terms(terms, type(self.model).__name__)
        if "total" in terms:
            raise UsageError(
                f"training_step() of {type(self.model).__name__} names a loss term 'total', which is the name of the "
                "sum of all; choose another one."
            )
        total = torch.stack([term.float() for term in terms.values()]).sum()
        if not total.requires_grad:
            raise UsageError(
                f"No loss term of training_step() of {type(self.model).__name__} depends on a weight; expected terms "
                "that are not detached, of parameters that require gradients."
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.row_gradients.gather(parameters)
        average_gradients(parameters)
        self.optimizer.step()
        logged = {name: term.detach() for name, term in terms.items()}
        return {**logged, **self.model.monitored, "total": total.detach()}

    def _means(self, steps: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """Return the mean of each term over the steps that have it."""
        names = list(dict.fromkeys(name for step in steps for name in step))
        none = torch.zeros((), dtype=torch.float64, device=self.device)
        terms = [torch.stack([step[name].double() if name in step else none for name in names]) for step in steps]
        table = all_reduce_mean(torch.stack(terms))
        counts = torch.tensor([sum(name in step for step in steps) for name in names], device=self.device)
        bad = torch.nonzero(~table.isfinite())
        if len(bad):  # once a weight is NaN every term is: the first of the first step is where it began
            step, term = bad[0].tolist()
            raise DivergedError(
                f"The loss term {names[term]!r} became {float(table[step, term])} in epoch {self.epoch} "
                f"(step {step + 1}); a smaller --lr or larger temperatures usually help"
            )
        return {f"loss/{name}": mean for name, mean in zip(names, (table.sum(dim=0) / counts).tolist(), strict=True)}

    def _check_weights(self) -> None:
        """Check the weights after the last step, which no loss has seen yet, so that a checkpoint holds finite ones."""
        weights = {name: value for name, value in self.model.state_dict().items() if value.is_floating_point()}
        # A sum is finite only if every weight is; it may overflow where all are.
        sums = torch.stack([value.sum() for value in weights.values()]).isfinite().tolist()
        bad = [name for name, finite in zip(weights, sums, strict=True) if not finite]
        bad = [name for name in bad if not weights[name].isfinite().all()]
        if bad:
            raise DivergedError(
                f"The weights {bad[0]!r} became infinite or NaN in epoch {self.epoch}; a smaller --lr usually helps"
            )

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Give the model its averaged weights for the length of the block, where averaging is on."""
        if self.average is None:
            yield
            return
        parameters = self.model.main_parameters()
        kept = [p.detach().clone() for p in parameters]
        _assign(parameters, self.average)
        try:
            yield
        finally:
            _assign(parameters, kept)

    def state(self) -> dict[str, Any]:
        """Return everything that the next epochs depend on, as tensors and plain values."""
        auxiliary = self.model.auxiliary_optimizer
        return {
            "epoch": self.epoch,
            "steps_done": self.steps_done,
            "average": self.average,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "adversary_optimizer": auxiliary.state_dict() if auxiliary else None,
            "diagnostics": self.model.diagnostic_state,
            "sampler_random": self.generator.get_state(),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a ``state()``; training then continues with the same numbers as if it had not stopped."""
        self.epoch, self.steps_done = state["epoch"], state["steps_done"]
        if self.average is not None:
            _assign(self.average, state["average"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.cuda_graph = self._make_cuda_graph()  # one made before reads what the optimisers had
        if self.model.auxiliary_optimizer:
            self.model.auxiliary_optimizer.load_state_dict(state["adversary_optimizer"])
        self.model.diagnostic_state = dict(state.get("diagnostics", {}))
        self.generator.set_state(state["sampler_random"])
        torch.set_rng_state(state["torch_random"])
        if state["cuda_random"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_random"])


def _check_terms(terms: object, model: str) -> None:
    if not isinstance(terms, dict) or not terms:
        returned = "an empty dictionary" if terms == {} else f"a {type(terms).__name__}"
    else:
        wrong = [(name, term) for name, term in terms.items() if getattr(term, "shape", None) != ()]
        if not wrong:
            return
        name, term = wrong[0]
        kind = f"of the shape {list(term.shape)}" if isinstance(term, Tensor) else f"a {type(term).__name__}"
        returned = f"the loss term {name!r}, which is {kind}"
    raise UsageError(
        f"training_step() of {model} returned {returned}; expected a dictionary from names to scalar tensors, such as "
        '{"bpr": loss}.'
    )


@torch.no_grad()
def _assign(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)
