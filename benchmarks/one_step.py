"""One step of the full MMSSL model on the CPU and on a device, from the same weights and batch: what differs, seconds.

Dropout, Gumbel noise and the gradient penalty are off, whose random numbers no two kinds of device share.

Example: python -m benchmarks.one_step --device cuda
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.command import Report, add_numbers, parser_for, run
from benchmarks.timing import in_turn, quartiles
from benchmarks.workload import DATA_HELP, batches, sizes_of, training_loop
from mmssl_cli.data.sampling import Batch
from mmssl_cli.training.loop import TrainingLoop

STILL = {"dropout": 0, "discriminator_dropout": 0, "gumbel_scale": 0, "gradient_penalty": 0}
#: Relative difference of float32 sums in another order.
MOST = 1e-3


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print tables or JSON."""
    parser = parser_for(__doc__, "threads", "device")
    parser.add_argument("--data", type=Path, help=DATA_HELP)
    add_numbers(parser, repeats=5)
    run(parser, arguments, measure)


def measure(options: argparse.Namespace) -> Report:
    """Return the seconds of a step on both devices, and the relative differences of losses and gradient."""
    first, second = (training_loop(options.data, "mmssl", device, **STILL) for device in ("cpu", options.device))
    first.model.begin_epoch(1)
    second.model.load_state_dict(first.model.state_dict())
    batch, *rest = batches(first, 2 + options.repeats)
    (losses, gradient), (others, other_gradient) = _gradient(first, batch), _gradient(second, batch)
    differences = {
        "losses": max(abs(others[name] - value) / max(abs(value), 1e-3) for name, value in losses.items()),
        "gradient": float((other_gradient - gradient).norm() / gradient.norm()),
    }
    works = {"the CPU": _steps(first, rest), f"device {options.device}": _steps(second, rest)}
    taken = in_turn(works, options.repeats, options.device)
    return {
        "data": first.data.name,
        "sizes": sizes_of(first),
        "differences": differences,
        "agree": all(difference <= MOST for difference in differences.values()),
        "results": [{"a step on": name, "seconds": quartiles(seconds)} for name, seconds in taken.items()],
    }


def _gradient(loop: TrainingLoop, batch: Batch) -> tuple[dict[str, float], Tensor]:
    """The losses of a batch and their gradient at all parameters but the adversary's, on the CPU."""
    loop.model.train()
    terms = loop.model.training_step(_moved(batch, loop.device))
    torch.stack(list(terms.values())).sum().backward()
    gradients = [p.grad.flatten() for p in loop.model.main_parameters() if p.grad is not None]
    return {name: float(term.detach()) for name, term in terms.items()}, torch.cat(gradients).cpu()


def _steps(loop: TrainingLoop, of: Sequence[Batch]) -> Callable[[], object]:
    """A function that takes the next step at each call."""
    left = iter([_moved(batch, loop.device) for batch in of])
    return lambda: loop._step(next(left))


def _moved(batch: Batch, device: torch.device) -> Batch:
    parts: list[Any] = [None if part is None else part.to(device) for part in vars(batch).values()]
    return Batch(*parts)


if __name__ == "__main__":
    main()
