"""Forms of MMSSL's adversary, each against the same settings without it, and measures of what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mmssl_cli.config import MMSSLSettings, TrainSettings, build_settings
from mmssl_cli.reporting.document import Cell, Section, Table, mean_of, number, with_marks, word
from mmssl_cli.runs.results import Configuration, configuration_of
from mmssl_cli.studies.paired_tests import corrected, tests_table
from mmssl_cli.studies.provenance import settings_sentence
from mmssl_cli.text import companion, dashed, metric_label

_UNIT_ROWS = {"row_scaling": "l2", "discriminator_norm": "none", "zeta": 1.0, "gumbel_temperature": 0.2}
_WEIGHED = {**_UNIT_ROWS, "edge_weights": "cosine"}
#: Form -> its settings beside those given; all but the first take ``GENERATOR_LR`` as well, so that the graphs move.
FORMS: dict[str, dict[str, object]] = {
    "as given": {},
    "rows of length 1": _UNIT_ROWS,
    "rows of length 1, D knows the user": {**_UNIT_ROWS, "discriminator_input": "row-and-user"},
    "rows of length 1, collapse held off": {**_UNIT_ROWS, "vicreg_weight": 0.1},
    "weighted edges": _WEIGHED,
    "weighted edges, relative weight": {**_WEIGHED, "adversarial_scale": "relative", "adversarial_weight": 0.1},
}
GENERATOR_LR = 1e-3
#: Settings of a form that train the generator without an adversary too.
_WITHOUT = ("edge_weights", "vicreg_weight")
#: Measure of the last epoch -> the heading of its column.
_MEASURES = {
    "turnover since first": "Turnover",
    "D real": "D, real",
    "D generated scaled": "D, generated",
    "gumbel share": "Gumbel share",
    "gradient cosine": "Cosine",
}
_NOTE = (
    "With and without: the same settings and seeds, with the adversary and as the variant w/o-ASL; mean ± sample "
    "standard deviation."
)
_MEASURES_NOTE = (
    "Means over the seeds, of the last epoch. Turnover: share of the modality graphs' edges that the first epoch did "
    "not have; D, real and generated: its outputs on rows brought to one norm; Gumbel share: of the first term of "
    "Eq. 5 in the norm of a real row; Cosine: of the gradients of L_G and of the ranking loss at the projections, "
    "where both reach them."
)


@dataclass(frozen=True)
class Pair:
    """Settings of a form with the adversary, and without it; forms may share the latter."""

    adversary: TrainSettings
    without: TrainSettings


#: Finished runs of both.
Found = tuple[Configuration, Configuration]


def form_settings(given: TrainSettings) -> dict[str, Pair]:
    """Return the settings of each form."""
    assert isinstance(given, MMSSLSettings)
    pairs = {}
    for form, more in FORMS.items():
        moving = {"generator_lr": GENERATOR_LR} if more else {}
        adversary = build_settings({**given.model_dump(), **moving, **more})
        kept = {name: more[name] for name in _WITHOUT if name in more}
        if kept or given.omega or given.vicreg_weight:  # else nothing trains the generator without the adversary
            kept |= moving
        pairs[form] = Pair(adversary, build_settings({**given.model_dump(), **kept, "variant": "w/o-ASL"}))
    return pairs


def found_forms(given: TrainSettings, configurations: Sequence[Configuration]) -> dict[str, Found]:
    """Return form -> its finished runs among configurations, of the forms that have some with and without."""
    by_settings = {configuration_of(one.settings): one for one in configurations}
    found = {}
    for form, pair in form_settings(given).items():
        ours, without = (by_settings.get(configuration_of(each)) for each in (pair.adversary, pair.without))
        if ours is not None and without is not None:
            found[form] = ours, without
    return found


def adversary_section(given: TrainSettings, found: Mapping[str, Found]) -> Section:
    """Build the tables of the forms: accuracy, tests with Holm's correction, and measures.

    Args:
        found: form -> its finished runs with the adversary, and without.
    """
    dataset, metrics = given.dataset, (given.select_on, companion(given.select_on))
    name, title = f"adversary-{dashed(dataset)}", f"Forms of the adversary on {dataset}"
    if not found:
        return Section(name, title, ("No form has finished runs with the adversary and without it.",))
    entries = [(form, ours, without) for form, (ours, without) in found.items()]
    tables = (
        _accuracy(dataset, found, metrics),
        tests_table(
            f"adversary-tests-{dashed(dataset)}",
            f"With the adversary, against without, on {dataset}",
            "Form",
            entries,
            metrics,
        ),
        _measures(dataset, found),
    )
    first = next(iter(found.values()))[0]
    return Section(name, title, (*_findings(entries, metrics), settings_sentence(first)), tables)


def _accuracy(dataset: str, found: Mapping[str, Found], metrics: Sequence[str]) -> Table:
    rows = []
    for form, both in found.items():
        for kind, one in zip(("with", "without"), both, strict=True):
            found_on_test = (mean_of(one.test(each)) for each in metrics)
            scores = mean_of(one.validation(metrics[0]))
            rows.append([word(form), word(kind), word(one.seeds_text), *found_on_test, scores])
    columns = ("Form", "Adversary", "Seeds", *map(metric_label, metrics), "Validation")
    title = f"MMSSL on {dataset} with and without forms of the adversary"
    notes = (_NOTE, _settings_note(found))
    return Table(f"adversary-{dashed(dataset)}", title, columns, with_marks(rows, [3, 4]), labels=3, notes=notes)


def _settings_note(found: Mapping[str, Found]) -> str:
    common: dict[str, object] = {"generator_lr": GENERATOR_LR, **_UNIT_ROWS}
    own = {form: {k: v for k, v in FORMS[form].items() if k not in common} for form in found}
    texts = [f"{form}: {_listed(values)}" for form, values in own.items() if values]
    return "; ".join([f"Settings of all but the first form, beside those given: {_listed(common)}", *texts]) + "."


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{dashed(name)} {value}" for name, value in values.items())


def _measures(dataset: str, found: Mapping[str, Found]) -> Table:
    rows = tuple((word(form), *(_measure(ours, name) for name in _MEASURES)) for form, (ours, _) in found.items())
    title = f"What forms of the adversary do on {dataset}"
    columns = ("Form", *_MEASURES.values())
    return Table(f"adversary-measures-{dashed(dataset)}", title, columns, rows, notes=(_MEASURES_NOTE,))


def _measure(configuration: Configuration, name: str) -> Cell:
    column = f"diagnostics/{name}"
    values = [run.metrics[column].iloc[-1] for run in configuration.runs if column in run.metrics]
    return number(fmean(values) if values else None, ".3f")


def _findings(entries: Sequence[tuple[str, Configuration, Configuration]], metrics: Sequence[str]) -> tuple[str, ...]:
    texts = []
    for metric in metrics:
        tested = corrected([(ours, without) for _, ours, without in entries], metric)
        clear = [
            f"{form} {difference.text}"
            for (form, _, _), difference in zip(entries, tested, strict=True)
            if difference.is_clear
        ]
        says = "; ".join(clear) if clear else "no form is told apart from the same settings without the adversary"
        texts.append(f"{metric_label(metric)}: {says}.")
    return tuple(texts)
