"""The loop of a model that is fitted at once: one epoch without steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmssl_cli.config import TrainSettings
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.distributed.collectives import is_rank_zero
from mmssl_cli.models.base import Recommender
from mmssl_cli.training.loop import DivergedError, TrainingLoop
from pipelines.errors import UsageError


class FittingLoop(TrainingLoop):
    """A model without optimiser and sampler, whose one epoch is ``fit``; of several processes rank 0 fits and ranks."""

    def __init__(self, model: Recommender, data: InteractionData, settings: TrainSettings) -> None:
        self.model, self.data, self.settings = model, data, settings
        self.device = data.train.indices.device
        self.average = None
        self.epoch = 0

    def run_epoch(self) -> dict[str, float]:
        """Fit the model and return ``train_seconds``.

        Raises:
            UsageError: ``fit`` set an attribute that cannot be saved.
            DivergedError: a tensor that it set is not finite.
        """
        started = time.perf_counter()
        self.epoch += 1
        if is_rank_zero():
            before = dict(vars(self.model))
            self.model.train()
            with torch.no_grad():
                self.model.fit(self.data)
            fitted = {name: value for name, value in vars(self.model).items() if value is not before.get(name)}
            for name, value in fitted.items():
                self._keep(name, value)
            self._check_weights()
        return {"train_seconds": time.perf_counter() - started}

    def _keep(self, name: str, value: Any) -> None:
        if name == "training":
            return
        if not isinstance(value, Tensor) or value.layout not in {torch.strided, torch.sparse_csr}:
            kind = f"a tensor of layout {value.layout}" if isinstance(value, Tensor) else f"of {type(value).__name__}"
            raise UsageError(
                f"fit() of {type(self.model).__name__} set the attribute {name!r} ({kind}), which cannot be saved with "
                "the run; expected dense or sparse CSR tensors, such as torch.from_numpy(array)."
            )
        self.model.set_buffer(name, value.to(self.device))

    def _check_weights(self) -> None:
        for name, value in self.model.state_dict().items():
            values = value.values() if value.layout == torch.sparse_csr else value
            if values.is_floating_point() and not bool(values.isfinite().all()):
                raise DivergedError(f"fit() of {type(self.model).__name__} made infinite or NaN values in {name!r}")

    def state(self) -> dict[str, Any]:
        """Return the epoch: the fitted model is in the file of the best one."""
        return {
            "epoch": self.epoch,
            "cuda_random": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the epoch of a ``state()``."""
        self.epoch = state["epoch"]
