"""Adversarial transferability between two functions of the same input, from their gradients: Eq. 16, 24 and 25.

The paper leaves its symbols open. Here x is an input, f_S and f_T have one value each, and the attack on f is a step
of unit norm in the direction in which f changes most, delta_f = grad f / |grad f|. So the attack on f_S changes f_S by
Delta_S = |grad f_S| and f_T by Delta_T = grad f_S . grad f_T / |grad f_S|.

For one x the second measure of Eq. 24 would be 1 whatever the functions are, since both changes are plain numbers. But
Eq. 25 takes it out of the mean over x together with one constant A for all x, and there it only holds where the inner
product of the two changes runs over the data. That is how it is computed here.
"""

from __future__ import annotations

import numpy as np


def rho_1(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Eq. 24: squared cosine between the gradients of f_S and f_T at each input, in [0, 1].

    Args:
        source, target: gradients of f_S and f_T at n inputs, [n, D].

    Returns:
        [n]; NaN where a gradient is zero.
    """
    source, target = _at_length_one(source), _at_length_one(target)
    return np.clip((source * target).sum(axis=1) ** 2, None, 1)


def rho_2(source: np.ndarray, target: np.ndarray) -> float:
    """Eq. 24: how nearly the attacks on f_S change f_T by a constant multiple of what they change f_S, in [0, 1].

    ``(sum Delta_S Delta_T)^2 / (sum Delta_S^2 sum Delta_T^2)``, sums over the inputs: 1 where one number A makes
    Delta_T = A Delta_S at all of them.

    Args:
        source, target: gradients of f_S and f_T at n inputs, [n, D]; those of f_S are not zero.
    """
    of_source, of_target = _changes(source, target)
    return float((of_source @ of_target) ** 2 / ((of_source @ of_source) * (of_target @ of_target)))


def transferred_share(source: np.ndarray, target: np.ndarray) -> float:
    """Eq. 25: the share of the target's gradients that A grad f_S explains with the best constant A, in [0, 1].

    ``sum rho_1 rho_2 |grad f_T|^2 / sum |grad f_T|^2``; what is left over is the paper's bound,
    ``(1 - rho_1 rho_2) |grad f_T|^2``, with equality.

    Args:
        source, target: gradients of f_S and f_T at n inputs, [n, D]; none is zero.
    """
    squares = (np.asarray(target, dtype=np.float64) ** 2).sum(axis=1)
    return float(rho_2(source, target) * (rho_1(source, target) @ squares) / squares.sum())


def transfer_bound(source: np.ndarray, target: np.ndarray) -> float:
    """Eq. 16: the bound (1 - rho_1 rho_2) L^2, with the mean rho_1 and L the largest ``|grad f_T|`` of the inputs.

    It is never below the mean of what Eq. 25 leaves over, (1 - rho_1 rho_2) |grad f_T|^2 at each input.

    Args:
        source, target: gradients of f_S and f_T at n inputs, [n, D]; none is zero.
    """
    largest = float((np.asarray(target, dtype=np.float64) ** 2).sum(axis=1).max())
    return (1 - float(rho_1(source, target).mean()) * min(rho_2(source, target), 1.0)) * largest


def _changes(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Delta_S and Delta_T of the attacks on f_S, [n] each."""
    lengths = np.linalg.norm(np.asarray(source, dtype=np.float64), axis=1)
    return lengths, (_at_length_one(source) * target).sum(axis=1)


def _at_length_one(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, np.nan)
