"""Base classes of the recommenders, and the ranking loss they share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mmssl_cli.config import GraphSettings, TrainSettings
from mmssl_cli.data.graph import BipartiteGraph, ItemGraph
from mmssl_cli.data.interactions import InteractionData
from mmssl_cli.data.sampling import Batch
from mmssl_cli.evaluation.ranking import Ranking, embedding_ranking, ranked_scores
from mmssl_cli.models.content import nearest_warm_items
from mmssl_cli.models.losses import bpr_loss, l2_of, softmax_loss
from mmssl_cli.models.rows import take
from mmssl_cli.models.spectral import SpectralFilter
from mmssl_cli.sparse.csr import CSR
from mmssl_cli.text import pluralize
from pipelines.errors import UsageError


class Recommender(nn.Module):
    """A model that scores the items for a user.

    It scores by the inner product of its embeddings (``represent``), or in any way of its own (``score``). It is
    trained in steps (``training_step``), or at once (``fit``), then with settings derived from ``FittedSettings``.

    A model with parts that a second optimiser trains (an adversary) lists their names in ``auxiliary_modules`` and
    keeps that optimiser in ``auxiliary_optimizer``; it steps it inside ``training_step``.
    """

    auxiliary_modules: ClassVar[tuple[str, ...]] = ()
    #: True if a step can be recorded as a CUDA graph: with padded batches all its tensors have the same shapes each
    #: time, none replaces another between steps, and a step never waits for the device.
    static_shapes: ClassVar[bool] = False
    #: Ranking of new items (``InteractionData.new_items``), whose ids were never trained: by ``content``, as the
    #: model's equations give their embeddings with ids of zeros; by their ``neighbours`` in content, where content does
    #: not reach an item's embedding (``models.content.nearest_warm_items``); None where ids alone make an embedding.
    cold_items: ClassVar[Literal["content", "neighbours"] | None] = None
    #: In a subclass the annotation names the settings class of the model.
    settings: TrainSettings

    def __init__(self, data: InteractionData, settings: TrainSettings) -> None:
        super().__init__()
        self.settings = settings
        self.num_users, self.num_items = data.num_users, data.num_items
        self.auxiliary_optimizer: torch.optim.Optimizer | None = None
        #: Factor on the learning rate of ``auxiliary_optimizer`` every ``lr_decay_every`` epochs.
        self.auxiliary_lr_decay = 1.0
        #: Learning rates of submodules that do not use the trainer's, by name.
        self.learning_rates: dict[str, float] = {}
        #: Scalars worth logging that are no part of the loss, as of the last ``training_step``; detached.
        self.monitored: dict[str, Tensor] = {}
        #: What ``diagnose`` compares with, kept in checkpoints but not with the weights.
        self.diagnostic_state: dict[str, Tensor] = {}
        #: Sentences for the person who trains, which the trainer shows after an epoch and takes away.
        self.warnings: list[str] = []

    def represent(self) -> tuple[Tensor, Tensor]:
        """Return final user [U, d] and item [I, d] embeddings."""
        raise TypeError(f"{type(self).__name__} must define represent() or score()")

    def score(self, users: Tensor) -> Tensor:
        """Return the scores of all items for users, int64 [n], as a new array [n, I]; -inf leaves an item out.

        By default the inner products of ``represent``.
        """
        all_users, items = self.represent()
        return all_users[users] @ items.T

    def score_from_items(self, items: CSR) -> Tensor:
        """Return the scores of all items [n, I] for n new users, given the items of each; a new array.

        A model without ``represent`` that defines it recommends to new users, and has similar items.
        """
        raise TypeError(f"{type(self).__name__} does not score items for new users")

    def similar_to(self, items: CSR) -> Tensor:
        """Return how similar all items are to those of each row, [n, I], -inf where not at all; a new array.

        By default ``score_from_items``.
        """
        return self.score_from_items(items)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return named, weighted loss terms of a batch; the trainer adds them up and steps its optimiser."""
        raise TypeError(f"{type(self).__name__} must define training_step() or fit()")

    def fit(self, data: InteractionData) -> None:
        """Compute the model from ``data.train`` at once, in place of training steps.

        The tensors that it sets as attributes, dense or sparse CSR, become buffers and are saved with the run.
        """
        raise TypeError(f"{type(self).__name__} must define fit() or training_step()")

    def set_buffer(self, name: str, value: Tensor) -> None:
        """Make a tensor of ``fit`` a buffer, which is saved with the run.

        Raises:
            KeyError: the name is taken by something else than a tensor.
        """
        if isinstance(vars(self).get(name), Tensor | None):
            vars(self).pop(name, None)
        self._buffers.pop(name, None)
        self.register_buffer(name, value)

    def load_fitted(self, state: Mapping[str, Tensor]) -> None:
        """Load a ``state_dict`` of a fitted model into one that has not been fitted.

        Raises:
            RuntimeError, KeyError: it does not fit the model.
        """
        fixed = dict(self.named_parameters())
        buffers = {name: value for name, value in state.items() if name not in fixed and "." not in name}
        for name, value in buffers.items():
            self.set_buffer(name, value)
        missing = self.load_state_dict({k: v for k, v in state.items() if k not in buffers}, strict=False)
        if missing.unexpected_keys or set(missing.missing_keys) - set(buffers):
            raise RuntimeError(str(missing))

    @classmethod
    def has_embeddings(cls) -> bool:
        """Return whether the model defines ``represent``."""
        return cls.represent is not Recommender.represent

    @classmethod
    def scores_new_users(cls) -> bool:
        """Return whether the model defines ``score_from_items``."""
        return cls.score_from_items is not Recommender.score_from_items

    @classmethod
    def has_fit(cls) -> bool:
        """Return whether the model is fitted at once, and not trained in steps."""
        return cls.fit is not Recommender.fit

    def ranking(self, candidates: Tensor | None = None) -> Ranking:
        """Return a function that ranks items for given users: by blocked inner products, or by ``score``.

        Args:
            candidates: the items to rank, bool [I]; by default all.
        """
        if type(self).score is Recommender.score:
            pair = self.represent()
            self._check_shapes("represent", pair)
            return embedding_ranking(*pair, candidates)
        return partial(ranked_scores, self.score, self.num_items, candidates=candidates)

    def _check_shapes(self, method: str, pair: tuple[Tensor, Tensor]) -> None:
        shapes = [list(getattr(one, "shape", [])) for one in pair] if isinstance(pair, tuple | list) else []
        d = shapes[-1][-1] if shapes and shapes[-1] else 0
        if shapes != [[self.num_users, d], [self.num_items, d]]:
            given = f"arrays of the shapes {' and '.join(map(str, shapes))}" if shapes else f"a {type(pair).__name__}"
            raise UsageError(
                f"{method}() of {type(self).__name__} returned {given}; expected embeddings of users and items, "
                f"[{self.num_users}, d] and [{self.num_items}, d]."
            )

    def begin_epoch(self, epoch: int) -> None:
        """Refresh what has a schedule; called before the steps of each epoch, which count from 1."""

    def diagnose(self, batch: Batch) -> dict[str, float]:
        """Return measures for an epoch's record, with the last of its batches; the training's numbers stay the same."""
        return {}

    def main_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the trainer's optimiser updates."""
        return [parameter for group in self.parameter_groups(0) for parameter in group["params"]]

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Group ``main_parameters`` by learning rate: first those at ``lr``, then those with a rate of their own."""
        groups: dict[float, list[nn.Parameter]] = {lr: []}
        for name, parameter in self.named_parameters():
            module = name.split(".")[0]
            if parameter.requires_grad and module not in self.auxiliary_modules:
                groups.setdefault(self.learning_rates.get(module, lr), []).append(parameter)
        return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


class EmbeddingRecommender(Recommender):
    """A recommender with user and item embeddings of its own, trained by the ranking loss unless it says otherwise."""

    def __init__(self, data: InteractionData, settings: TrainSettings) -> None:
        super().__init__(data, settings)
        self.users = embedding(data.num_users, settings.embedding_dim)
        self.items = embedding(data.num_items, settings.embedding_dim)
        self.from_neighbours: ItemGraph | None = None
        if data.new_items and self.cold_items is not None:
            without_ids(self.items, data.cold)
            if self.cold_items == "neighbours" and data.features and bool(data.cold.any()):
                self.from_neighbours = nearest_warm_items(data)
                self._tell_of_lonely(data.cold)

    def _tell_of_lonely(self, cold: Tensor) -> None:
        assert self.from_neighbours is not None
        weights = (self.from_neighbours @ torch.ones(self.num_items, 1, device=cold.device)).squeeze(1)
        if lonely := int((cold & (weights <= 0)).sum()):
            self.warnings.append(
                f"{lonely:,} of {pluralize(int(cold.sum()), 'new item')} have no content, or resemble no item with "
                "training interactions; their embeddings are zeros."
            )

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the final embeddings that are trained, [U, n] and [I, n]: by default the model's own."""
        return self.users, self.items

    def ego_embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the embeddings [U, n] and [I, m] whose rows in a batch have the L2 term."""
        return self.users, self.items

    def represent(self) -> tuple[Tensor, Tensor]:
        """Return ``embeddings``, those of new items from their neighbours where the model ranks them so."""
        return self._with_new_items(*self.embeddings())

    def _with_new_items(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        return users, items if self.from_neighbours is None else self.from_neighbours @ items

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the ranking loss on ``embeddings`` and, where weighted, L2 on ``ego_embeddings``."""
        final = self.embeddings()
        self._check_shapes("embeddings", final)
        return ranking_terms(self.settings, *final, batch, self.ego_embeddings())


class GraphRecommender(EmbeddingRecommender):
    """A recommender with user and item embeddings of its own and the training graph to propagate them over."""

    settings: GraphSettings

    def __init__(self, data: InteractionData, settings: GraphSettings) -> None:
        super().__init__(data, settings)
        self.graph = BipartiteGraph.from_edges(
            *data.train.entries(), data.num_users, data.num_items, settings.adjacency
        )
        self.filter: SpectralFilter | None = None
        if settings.spectral_weight:
            self.filter = SpectralFilter(data, settings)

    def represent(self) -> tuple[Tensor, Tensor]:
        """Return ``embeddings``, with the columns of the low-pass filter where it is on."""
        return self._ranked(self.embeddings())

    def _ranked(self, final: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return self._with_new_items(*(final if self.filter is None else self.filter(*final)))


def embedding(rows: int, dim: int) -> nn.Parameter:
    """Return Xavier-initialised embeddings [rows, dim] (Glorot and Bengio, AISTATS 2010)."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, dim)))


def without_ids(items: nn.Parameter, cold: Tensor) -> None:
    """Set the id embeddings of cold items (bool [I]) to zeros, which training leaves as they are."""
    with torch.no_grad():
        items[cold.to(items.device)] = 0
    kept = (~cold).unsqueeze(1)
    items.register_hook(lambda gradient: gradient * kept)


def ranking_terms(
    settings: TrainSettings,
    users: Tensor,
    items: Tensor,
    batch: Batch,
    layer0: tuple[Tensor, Tensor],
    of_users: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the ranking loss of a batch on final embeddings [U, d], [I, d], and the L2 term on its rows of ``layer0``.

    ``of_users`` are the rows of ``users`` in the batch [B, d], where the model has taken them already.
    """
    # Rows are taken once from each table: every time costs a gradient of the whole table.
    of_users = take(users, batch.users) if of_users is None else of_users
    pairs = torch.cat([batch.positives, batch.negatives])
    if settings.loss == "softmax":
        rows = of_users, take(items, batch.positives)
        terms = {"softmax": softmax_loss(*rows, batch.positives, settings.softmax_temperature)}
    else:
        rows = of_users, take(items, pairs)
        terms = {"bpr": bpr_loss(of_users, *rows[1].chunk(2))}
    if settings.l2_weight:
        if layer0[0] is not users or layer0[1] is not items or settings.loss == "softmax":
            rows = take(layer0[0], batch.users), take(layer0[1], pairs)
        terms["l2"] = settings.l2_weight * l2_of(*rows)
    return terms
