"""Users in buckets of their training degree, and the mean of a metric in each (Table 4 and Fig. 1a of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmssl_cli.text import pluralize
from pipelines.errors import InputError, UsageError

#: The buckets of the paper's Table 4.
PAPER_EDGES: dict[str, tuple[int, ...]] = {
    "amazon-baby": (0, 4, 6, 9, 13, 100),
    "allrecipes": (0, 2, 3, 4, 5, 10),
}


@dataclass(frozen=True)
class Buckets:
    """Buckets of training degree: half-open, ``[0, 4)``, but for the last, which is closed, ``[13, 100]``.

    Attributes:
        edges: rising whole numbers, one more than there are buckets.
    """

    edges: tuple[int, ...]

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.edges[:-1], self.edges[1:], strict=True))
        if len(self.edges) < 2 or self.edges[0] < 0 or not rising:
            raise UsageError(
                f"The buckets {str(self) or 'without an edge'} are not valid: expected at least two whole numbers that "
                "rise, the first at least 0, such as 0,4,6,9,13,100."
            )

    def __len__(self) -> int:
        return len(self.edges) - 1

    def __str__(self) -> str:
        return ",".join(map(str, self.edges))

    @property
    def labels(self) -> tuple[str, ...]:
        """``[0, 4)`` and so on, the last one ``[13, 100]``."""
        last = len(self) - 1
        pairs = zip(self.edges[:-1], self.edges[1:], strict=True)
        return tuple(f"[{low}, {high}{']' if at == last else ')'}" for at, (low, high) in enumerate(pairs))

    def place(self, degrees: np.ndarray) -> np.ndarray:
        """Return the bucket of each degree, int64 from 0; -1 for one outside all buckets."""
        degrees = np.asarray(degrees)
        place = np.searchsorted(self.edges, degrees, side="right") - 1
        place[degrees == self.edges[-1]] = len(self) - 1
        place[degrees > self.edges[-1]] = -1
        return place

    def counts(self, degrees: np.ndarray) -> np.ndarray:
        """Return the number of users in each bucket, int64; users outside all buckets are not counted."""
        place = self.place(degrees)
        return np.bincount(place[place >= 0], minlength=len(self))

    def outside(self, degrees: np.ndarray) -> str:
        """Return a sentence on the users in none of the buckets; empty if there are none."""
        left = len(degrees) - int(self.counts(degrees).sum())
        verb = "is" if left == 1 else "are"
        return f"{left:,} of {pluralize(len(degrees), 'test user')} {verb} in none of the buckets." if left else ""

    def check_not_empty(self, degrees: np.ndarray, dataset: str) -> None:
        """Refuse buckets that hold none of the test users of a data set.

        Raises:
            InputError: there is no user in any of them.
        """
        if self.counts(degrees).any():
            return
        reach = (
            f"they have from {np.min(degrees)} to {np.max(degrees)} training items" if len(degrees) else "it has none"
        )
        raise InputError(f"No test user of data set {dataset!r} is in the buckets {self}: {reach}.")

    def means(self, degrees: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the mean of ``values`` (one per user) in each bucket, float64; NaN for a bucket without users."""
        place, values = self.place(degrees), np.asarray(values, dtype=np.float64)
        inside = place >= 0
        sums = np.bincount(place[inside], weights=values[inside], minlength=len(self))
        counts = self.counts(degrees)
        return np.divide(sums, counts, out=np.full(len(self), np.nan), where=counts > 0)


def parse_buckets(text: str) -> Buckets:
    """Parse the buckets of a flag such as ``0,4,6,9,13,100``.

    Raises:
        UsageError: they are not whole numbers, or do not rise.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= 9 for part in parts):
        raise UsageError(
            f"buckets cannot be {text!r}: expected whole numbers that rise, separated by commas, such as 0,4,6,9."
        )
    return Buckets(tuple(map(int, parts)))


def default_buckets(dataset: str, degrees: np.ndarray) -> Buckets:
    """Return the paper's buckets of a data set, or quantiles of the degrees if it has none."""
    edges = PAPER_EDGES.get(dataset)
    return Buckets(edges) if edges else quantile_buckets(degrees)


def quantile_buckets(degrees: np.ndarray, wanted: int = 5) -> Buckets:
    """Return at most ``wanted`` buckets of about equal numbers of users, none empty, from lowest degree to highest.

    An edge lies between two degrees that occur, where the share of users below it is nearest to j / ``wanted``. Users
    of one degree stay together, so that where many share one there are fewer buckets.

    Args:
        degrees: whole numbers of at least 0, one a user, at least one of them.
    """
    values, counts = np.unique(np.asarray(degrees), return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)[:-1]]) / counts.sum()  # share of users under each degree
    starts = {int(values[np.abs(below - part / wanted).argmin()]) for part in range(1, wanted)}
    lowest, highest = int(values[0]), int(values[-1])
    inner = sorted(start for start in starts if start > lowest)
    if inner and inner[-1] == highest:  # the highest degree alone: [d, d + 1] keeps the last bucket from vanishing
        return Buckets((lowest, *inner, highest + 1))
    return Buckets((lowest, *inner, max(highest, lowest + 1)))
