"""The headline of a report: the best model on a data set, its lead, and whether it is significant."""

from __future__ import annotations

from collections.abc import Sequence

from mmssl_cli.reporting.document import mean_of, p_equals, p_value, percent
from mmssl_cli.runs.results import Configuration
from mmssl_cli.studies.paired_tests import corrected, on_common_seeds
from mmssl_cli.studies.run_selection import validation
from mmssl_cli.text import metric_label, pluralize


def headline(dataset: str, models: Sequence[Configuration], metric: str) -> str:
    """Name the best model on validation, and its lead on test over the next, on the seeds that both have.

    The p-values are corrected (Holm) for the comparisons of the best with each of the others, for it was chosen among
    them.

    Returns:
        A few sentences; empty without a run that measured the metric.
    """
    measured = sorted((one for one in models if one.test(metric)), key=validation, reverse=True)
    shown = metric_label(metric)
    if not measured:
        return ""
    best, *rivals = measured
    if not rivals:
        score = mean_of(best.test(metric)).text
        return f"On {dataset} only {best.label} has finished runs, with a test {shown} of {score}: nothing to compare."
    pair = on_common_seeds(best, rivals[0])
    start = f"On {dataset} {best.label} is the best of {pluralize(len(measured), 'model')} on validation"
    if pair is None:
        return f"{start}; it shares no seed with the next, {rivals[0].label}: its lead is not measured."
    scores = [mean_of(each.test(metric)).text for each in pair]
    lead = corrected([(best, rival) for rival in rivals], metric)[0]
    users, seeds = lead.holm_users, lead.holm_seeds
    over_seeds = f"{p_value(seeds).text} over seeds" if seeds is not None else "seed variance untested"
    count = f", corrected for {len(rivals)} comparisons" if len(rivals) > 1 else ""
    text = (
        f"{start}: test {shown} {scores[0]} against {scores[1]} of the next, {rivals[0].label}, "
        f"{percent(lead.relative).text} (p {p_equals(users)} over users, {over_seeds}{count})."
    )
    sentences = (text, _sentence_on_lead(lead.relative, lead.is_clear), _seeds_left_out(pair[0], measured[:2]))
    return " ".join(filter(None, sentences))


def _sentence_on_lead(relative: float | None, is_clear: bool) -> str:
    if relative is not None and relative <= 0:
        return "On test it has no lead."
    return "" if is_clear else "This is not significant."


def _seeds_left_out(shared: Configuration, models: Sequence[Configuration]) -> str:
    """Describe the seeds that a comparison is on, and those that some lack; empty if all have the same.

    Args:
        shared: one of the models, restricted to the seeds of all.
    """
    every = {seed for one in models for seed in one.seeds}
    lacking = [(one.label, sorted(every - set(one.seeds))) for one in models if every - set(one.seeds)]
    return seeds_sentence(shared.seeds, lacking)


def seeds_sentence(common: Sequence[int], lacking: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Return a sentence such as ``Compared on seed 1, which all have; mf lacks 2, 3.``; empty if none lacks a seed."""
    if not lacking:
        return ""
    word = "seed" if len(common) == 1 else "seeds"
    missing = "; ".join(f"{name} lacks {', '.join(map(str, seeds))}" for name, seeds in lacking)
    return f"Compared on {word} {', '.join(map(str, common))}, which all have; {missing}."
