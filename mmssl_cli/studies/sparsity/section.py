"""Table 4 and Fig. 1 of the paper: accuracy by the number of training interactions of users and items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mmssl_cli.evaluation.significance import holm, t_test
from mmssl_cli.evaluation.sparsity import Buckets, default_buckets
from mmssl_cli.reporting.document import Cell, Plot, Section, Table, mean_of, number, p_value, percent, with_marks, word
from mmssl_cli.reporting.published import published_sparsity
from mmssl_cli.runs.results import Configuration
from mmssl_cli.studies.paired_tests import on_common_seeds
from mmssl_cli.studies.run_selection import is_full
from mmssl_cli.studies.sparsity.figures import Spread, draw_user_buckets
from mmssl_cli.studies.sparsity.items import item_side
from mmssl_cli.text import DEFAULT_METRIC, companion, dashed, metric_label
from pipelines.errors import InputError

PUBLISHED_REFERENCE = "MMSSL"


def sparsity(
    configurations: Sequence[Configuration],
    data_dir: Path,
    *,
    metric: str = companion(DEFAULT_METRIC),
    buckets: Buckets | None = None,
) -> Section:
    """Compare models by training degree of users and items, on one data set.

    Args:
        configurations: at least one, all of one data set; mmssl, or else the first, is compared with the others.
        data_dir: the prepared data sets; read for results on items that no run has stored yet.
        metric: as in result.json; its K applies to the items too.
        buckets: of the users' training degrees; by default the paper's, or quantiles.

    Raises:
        InputError: a run lacks the metric, two models were tested on different users, or no user is in a bucket.
    """
    reference = reference_of(configurations)
    dataset = reference.settings.dataset
    degrees = reference.degrees().to_numpy()
    users = _UserSide(
        dataset, metric, buckets or default_buckets(dataset, degrees), degrees, reference, tuple(configurations)
    )
    users.check()
    tables, plots = [users.table()], [users.plot()]
    if len(configurations) > 1:
        tables.append(users.improvements())
    items = item_side(configurations, reference, data_dir, int(metric.partition("@")[2]))
    return Section(
        f"sparsity-{dashed(dataset)}",
        f"Sparse users and items of {dataset} (the paper's Table 4 and Figure 1)",
        items.text,
        (*tables, *items.tables),
        (*plots, *items.plots),
    )


def bucket_means(configuration: Configuration, metric: str, buckets: Buckets) -> np.ndarray:
    """Return the mean of a test metric over the users of each bucket, float64 [runs, buckets]; NaN without users.

    Raises:
        InputError: a run did not measure the metric.
    """
    rows = []
    for run in configuration.runs:
        if metric not in run.per_user:
            raise InputError(f"Run {run.id} did not measure {metric}; train it with its K in --ks.")
        rows.append(buckets.means(run.per_user["train_degree"], run.per_user[metric]))
    return np.array(rows)


def reference_of(configurations: Sequence[Configuration]) -> Configuration:
    """Return the model that the others are compared with: mmssl, else a variant of it, else the first."""
    ours = [one for one in configurations if is_full(one.settings)]
    ours += [one for one in configurations if one.settings.model == "mmssl"]
    return (ours or list(configurations))[0]


@dataclass(frozen=True)
class _UserSide:
    """The part of a section about users in buckets; ``degrees`` are the training items of each test user."""

    dataset: str
    metric: str
    buckets: Buckets
    degrees: np.ndarray
    reference: Configuration
    configurations: tuple[Configuration, ...]

    def check(self) -> None:
        """Check that the models can be compared.

        Raises:
            InputError: see ``sparsity``.
        """
        tested = self.reference.degrees()
        for other in self.configurations:
            if not other.degrees().equals(tested):
                raise InputError(
                    f"{other.label} (run {other.runs[0].id}) and {self.reference.label} (run "
                    f"{self.reference.runs[0].id}) were tested on different users; train both on the same preparation "
                    f"of data set {self.dataset!r}."
                )
        self.buckets.check_not_empty(self.degrees, self.dataset)

    def values(self, configuration: Configuration) -> np.ndarray:
        """Return the mean of the metric per run and bucket, float64 [runs, buckets]."""
        return bucket_means(configuration, self.metric, self.buckets)

    def table(self) -> Table:
        """Build Table 4: one row per model, one column per bucket; the first row counts the users."""
        counts = self.buckets.counts(self.degrees)
        rows = [[word(c.label), *map(_mean, self.values(c).T)] for c in self.configurations]
        apart = [at for at in range(1, len(counts) + 1) if len({row[at].value for row in rows}) > 1]
        marked = with_marks(rows, apart)  # nothing is best where all are alike
        published = [(word(f"{model} (paper)"), *map(number, values)) for model, values in self.published().items()]
        return Table(
            f"table4-sparsity-{dashed(self.dataset)}",
            f"{metric_label(self.metric)} by training items of the users, on {self.dataset}",
            ("Model", *self.buckets.labels),
            ((word("test users"), *(number(float(count), ",.0f") for count in counts)), *marked, *published),
            notes=(*self.notes(), *self.notes_on_published()),
        )

    def published(self) -> dict[str, list[float]]:
        """Return the paper's values for this data set, these buckets and this metric, if it has any."""
        return published_sparsity(self.dataset, self.buckets.edges, self.metric)

    def notes(self) -> tuple[str, ...]:
        """Return notes on the averages and on users outside the buckets."""
        runs = ", ".join(f"{c.label} {len(c.runs)}" for c in self.configurations)
        notes = [
            "Buckets of the number of training items of a user; [a, b) holds those with a to b - 1, the last one its "
            "upper end too.",
            f"Mean over the users of a bucket, then over runs with different seeds ({runs}); ± is the sample standard "
            "deviation over seeds.",
        ]
        return tuple(filter(None, (*notes, self.buckets.outside(self.degrees))))

    def notes_on_published(self) -> tuple[str, ...]:
        """Return a note on the paper's rows."""
        if not self.published():
            return ()
        return ("The paper writes its buckets with both ends, [0,4] and [4,6]; its numbers are as printed there.",)

    def improvements(self) -> Table:
        """Build the table of relative improvements of the reference per bucket, with p-values."""
        rows: list[tuple[Cell, ...]] = []
        others = [other for other in self.configurations if other is not self.reference]
        pairs = [on_common_seeds(self.reference, other) for other in others]
        tested = [self.p_values(pair) for pair in pairs]
        holms = iter(holm([p for p_values in tested for p in p_values]))
        for other, pair, p_values in zip(others, pairs, tested, strict=True):
            means = [self.values(one).mean(0) for one in pair] if pair else [np.full(len(self.buckets), np.nan)] * 2
            gains = map(percent, relative(*means))
            compared = word(f"{self.reference.label} over {other.label}")
            rows.append((compared, word("improvement"), *gains))
            rows.append((compared, word("p"), *map(p_value, p_values)))
            rows.append((compared, word("p, Holm"), *(p_value(next(holms)) for _ in p_values)))
        published = self.published()
        best = published.pop(PUBLISHED_REFERENCE, None)
        for model, values in published.items() if best else ():
            gains = map(percent, relative(np.array(best), np.array(values)))
            rows.append((word(f"{PUBLISHED_REFERENCE} over {model} (paper)"), word("improvement"), *gains))
        return Table(
            f"table4-improvement-{dashed(self.dataset)}",
            f"Improvement in {metric_label(self.metric)} by training items of the users, on {self.dataset}",
            ("Compared", "Measure", *self.buckets.labels),
            tuple(rows),
            labels=2,
            notes=(
                "Improvement: difference of the means of a bucket, relative to the second model, over the seeds that "
                "both have.",
                "p: two-sided paired t-test over the users of the bucket, each with the mean over those seeds; Holm: "
                "corrected for the number of tests in this table.",
            ),
        )

    def p_values(self, pair: tuple[Configuration, Configuration] | None) -> list[float | None]:
        """Return p of the paired test over the users of each bucket; None with fewer than two users, or no pair."""
        if pair is None:
            return [None] * len(self.buckets)
        first, second = (one.per_user(self.metric).to_numpy() for one in pair)
        place = self.buckets.place(self.degrees)
        chosen = [place == at for at in range(len(self.buckets))]
        return [t_test(first[users], second[users]) if users.sum() > 1 else None for users in chosen]

    def plot(self) -> Plot:
        """Build Fig. 1a."""
        counts = self.buckets.counts(self.degrees)
        lines = {c.label: Spread.over_seeds(self.values(c)) for c in self.configurations}
        name = metric_label(self.metric)
        return Plot(
            f"figure1a-users-{dashed(self.dataset)}",
            f"{name} by training items of the users, on {self.dataset}",
            f"Bars: test users in each bucket of training items (left axis). Lines: {name} of each model, the "
            "mean over the users of a bucket (right axis); bands: one standard deviation over several seeds.",
            partial(draw_user_buckets, self.buckets.labels, counts.tolist(), lines, name),
            self._data(counts),
        )

    def _data(self, counts: np.ndarray) -> pd.DataFrame:
        columns: dict[str, object] = {"bucket": self.buckets.labels, "test users": counts}
        return pd.DataFrame(columns | {c.label: self.values(c).mean(0) for c in self.configurations})


def relative(ours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (ours - others) / others elementwise; NaN if the other is zero or either is NaN."""
    return np.divide(ours - others, others, out=np.full(len(ours), np.nan), where=others > 0)


def _mean(values: np.ndarray) -> Cell:
    return mean_of([float(value) for value in values if np.isfinite(value)])
