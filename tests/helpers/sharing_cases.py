"""Cases in which one process and several must agree: losses, statistics and trainings of small cases.

Each case is a function without arguments that returns tensors by name; it is run alone, and again by two processes
that share it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor

from mmssl_cli.config import build_settings
from mmssl_cli.config.registry import MODELS
from mmssl_cli.distributed.collectives import all_gather, all_reduce_mean, average_gradients, is_rank_zero, local_slice
from mmssl_cli.distributed.process_group import check_same, fail_together
from mmssl_cli.evaluation.ranking import ranked_blocks
from mmssl_cli.models.losses import bpr_loss, info_nce, softmax_loss
from mmssl_cli.models.mmssl import generator
from mmssl_cli.models.mmssl.adversarial import AdversarialSelfAugmentation, low_rank_factors
from mmssl_cli.models.mmssl.batch_rows import BatchRows
from mmssl_cli.models.mmssl.contrastive import cross_modal_contrast
from mmssl_cli.models.registry import model_class
from mmssl_cli.training import shared_ranking as sharing
from mmssl_cli.training.device import device_name
from mmssl_cli.training.epochs import evaluate_model, evaluate_on_test
from mmssl_cli.training.loop import TrainingLoop
from mmssl_cli.training.trainer import make_loop
from pipelines.errors import MmsslError
from tests.helpers.model_cases import toy_batch, toy_data, toy_model

Answer = dict[str, Tensor]
CPU = torch.device("cpu")
#: Rows of the losses: no two processes can have equal parts.
ROWS = 7


def _loss(function: Callable[..., Tensor], count: int) -> Answer:
    """A loss of ``count`` random arguments [7, 5] and its gradients."""
    random = torch.Generator().manual_seed(3)
    rows = [torch.randn(ROWS, 5, generator=random, dtype=torch.float64).requires_grad_() for _ in range(count)]
    value = function(*rows)
    value.backward()
    average_gradients(rows)
    return {"value": all_reduce_mean(value)} | {
        f"gradient {n}": row.grad for n, row in enumerate(rows) if row.grad is not None
    }


def _softmax(users: Tensor, positives: Tensor) -> Tensor:
    return softmax_loss(users, positives, torch.tensor([0, 1, 2, 1, 4, 0, 0]), 0.3)


def _to_chosen(anchors: Tensor, others: Tensor) -> Tensor:
    return info_nce(anchors, others, 0.4, torch.tensor([6, 6, 0, 1, 2, 5, 3]))


def _contrast(final: Tensor, one: Tensor, other: Tensor, block_rows: int) -> Tensor:
    return cross_modal_contrast(final, [one, other], 0.5, block_rows=block_rows)


def _adversary(**settings: Any) -> tuple[AdversarialSelfAugmentation, tuple[Any, ...]]:
    data = toy_data()
    model = toy_model(data, **settings)
    assert model.adversary is not None
    users = toy_batch(data).distinct_users
    torch.manual_seed(4)
    generated = [(u.detach().requires_grad_(), i.detach()) for u, i in low_rank_factors(users, model.generator())]
    (final,) = low_rank_factors(users, [(model.users, model.items)])
    return model.adversary, (BatchRows(users), generated, final)


def _discriminator(**settings: Any) -> Answer:
    """The discriminator's objective, gradients and running statistics, then those after a step of it."""
    adversary, rows_and_factors = _adversary(**settings)
    optimizer = torch.optim.SGD(adversary.discriminator.parameters(), lr=0.1)
    scalars = adversary.discriminator_step(optimizer, *rows_and_factors)
    found = {f"scalar {name}": all_reduce_mean(value) for name, value in scalars.items()}
    found |= {name: p.grad.clone() for name, p in adversary.named_parameters() if p.grad is not None}
    return found | {f"after {name}": value for name, value in adversary.state_dict().items()}


def _generator() -> Answer:
    adversary, (rows, generated, _) = _adversary()
    loss = adversary.generator_loss(rows, generated)
    loss.backward()
    leaves = [of_users for of_users, _ in generated]
    average_gradients(leaves)
    return {"loss": all_reduce_mean(loss)} | {
        f"gradient {n}": leaf.grad for n, leaf in enumerate(leaves) if leaf.grad is not None
    }


def _neighbours() -> Answer:
    """The nearest items of each user, and for how many users this process compared."""
    model, compared = toy_model(toy_data(users=21)), []
    search = generator.cosine_topk

    def counted(queries: Tensor, *rest: Any) -> Tensor:
        compared.append(len(queries))
        return search(queries, *rest)

    with mock.patch.object(generator, "cosine_topk", counted):
        found = model.generator.neighbours(3)
    own = local_slice(21)
    assert compared == [own.stop - own.start] * 2
    return {"neighbours": found.double()}


def _ranking() -> Answer:
    """The lists and scores of users, a row without enough items among them, and for how many this process ranked."""
    data, ranked = toy_data(users=21, items=12), []
    random = torch.Generator().manual_seed(2)
    ranking = partial(ranked_blocks, torch.randn(21, 4, generator=random), torch.randn(12, 4, generator=random))

    def counted(users: Tensor, *rest: Any) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        ranked.append(len(users))
        yield from ranking(users, *rest)

    found: Answer = {}
    with mock.patch.object(sharing, "GATHERED_USERS", 8):  # chunks of 8, 8 and 5 users, and of one alone
        for name, users in ("all", torch.arange(21)), ("one", torch.tensor([20])):
            blocks = list(sharing.shared_ranking(counted)(users, 12, data.train))
            rows, items, scores = map(torch.cat, zip(*blocks, strict=True))
            assert torch.equal(rows, users)
            found |= {f"items of {name}": items.double(), f"scores of {name}": scores.nan_to_num(neginf=-9.0)}
    parts = [local_slice(count) for count in (8, 8, 5, 1)] if dist.is_initialized() else [slice(21), slice(1)]
    assert ranked == [part.stop - (part.start or 0) for part in parts]
    return found


def _evaluation(model: str) -> Answer:
    """Metrics on validation of a trained model, and on test with the weights of rank 0, those of an earlier epoch."""
    settings = {"model": model, "embedding_dim": 8, "batch_size": 9, "seed": 5, "ks": (3, 5), "select_on": "ndcg@3"}
    if model == "mmssl":
        settings |= {"heads": 2, "graph_topk": 3, "discriminator_hidden": 6}
    if model == "diffmm":
        settings |= {"lr": 0.05}
    loop = make_loop(build_settings(settings), toy_data(), CPU)
    loop.run_epoch()
    best = {name: value.clone() for name, value in loop.model.state_dict().items()}
    for _ in range(3):
        loop.run_epoch()
    validation, _ = evaluate_model(loop, "validation")
    if is_rank_zero():
        loop.model.load_state_dict(best)
    means, table = evaluate_on_test(loop)
    columns = {name: torch.tensor(table[name].tolist()) for name in table}
    return columns | {f"mean {name}": torch.tensor(value) for name, value in (validation | means).items()}


def _training(**settings: Any) -> Answer:
    """The losses of each epoch and the weights at the end."""
    common: dict[str, Any] = {"embedding_dim": 8, "batch_size": 9, "lr": 0.005, "seed": 5}
    if settings["model"] == "mmssl":
        common |= {"heads": 2, "graph_topk": 3, "discriminator_hidden": 6, "omega": 0.2}
    data = toy_data()
    loop: TrainingLoop = make_loop(build_settings(common | settings), data, CPU)
    epochs = [loop.run_epoch() for _ in range(2)]
    losses = {
        f"{name} in epoch {number}": torch.tensor(value)
        for number, epoch in enumerate(epochs, 1)
        for name, value in epoch.items()
        if name != "train_seconds"
    }
    return losses | {f"weights {name}": value for name, value in loop.model.state_dict().items()}


CASES: dict[str, Callable[[], Answer]] = {
    "bpr": partial(_loss, bpr_loss, 3),
    "softmax": partial(_loss, _softmax, 2),
    "info-nce": partial(_loss, partial(info_nce, temperature=0.4), 2),
    "info-nce of chosen positives": partial(_loss, _to_chosen, 2),
    "contrast": partial(_loss, partial(_contrast, block_rows=2048), 3),
    "contrast in blocks": partial(_loss, partial(_contrast, block_rows=2), 3),
    "discriminator": partial(_discriminator, discriminator_dropout=0.4, discriminator_steps=1),
    "discriminator, w/o-GT": partial(_discriminator, variant="w/o-GT", gradient_penalty=0.0),
    "generator": _generator,
    "neighbours": _neighbours,
    "ranking": _ranking,
    **{f"evaluation of {model}": partial(_evaluation, model) for model in ("lightgcn", "mmssl", "lattice", "diffmm")},
    **{
        model: partial(_training, model=model)
        for model in MODELS
        if model != "hccf" and not model_class(model).has_fit()
    },
    "hccf": partial(_training, model="hccf", hyperedges=8),
    **{
        f"mmssl {variant}": partial(_training, model="mmssl", variant=variant)
        for variant in ("w/o-ASL", "w/o-CL", "w/o-GT", "r/p-GAE")
    },
    "mmssl, all users": partial(_training, model="mmssl", contrast_users="all", user_sampling="user"),
    "softmax and averages": partial(
        _training, model="lightgcn", loss="softmax", l2_weight=0.1, weight_averaging=0.9, negative_sampler="popularity"
    ),
    "slmrec with modules of mmssl": partial(_training, model="slmrec", cl=True, asl=True),
    "bfloat16": partial(_training, model="mmssl", precision="bfloat16"),
}


def _raised(action: Callable[[], None]) -> str:
    try:
        action()
    except MmsslError as problem:
        return f"{type(problem).__name__}: {problem}"
    return ""


def _fail_second() -> None:
    with fail_together():
        if dist.get_rank() == 1:
            raise MmsslError("no such file")


def _other_seeds() -> None:
    check_same({"seed": dist.get_rank()}, {}, CPU)


def take_part(rank: int, size: int, folder: Path) -> None:
    """Answer all cases as one of several processes, into ``<folder>/<rank>.pt``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    found: dict[str, Any] = {name: case() for name, case in CASES.items()}
    found["problems"] = all_gather([_raised(_fail_second), _raised(_other_seeds), device_name(CPU)])
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()
